//! The page as HTML: finished runs come in, one document goes out, with an overview and a section a
//! run. Called by the main of `report`.

use std::fmt::Write;

use entk_cli::Record;

use super::{
    finished::{Finished, ResultTable},
    paper::{Difference, item, text},
    verdict::{ClaimPart, Verdict, judge},
};

/// Tables of more rows than this are named, not shown.
const MOST_ROWS: usize = 60;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;color:#202020;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h2{margin-top:3rem;border-top:1px solid #ccc;padding-top:1.5rem}svg{max-width:100%;height:auto}\
table{border-collapse:collapse;font-size:.8rem;margin:.5rem 0}td,th{border:1px solid #ddd;padding:.15rem .5rem;text-align:left}\
td.number{text-align:right;font-variant-numeric:tabular-nums}code{font-size:.85rem;overflow-wrap:anywhere}\
details{margin:.5rem 0}h2,p{break-after:avoid}figure,tr{break-inside:avoid}.scroll{overflow-x:auto}.claim{font-style:italic}";

/// The whole page.
pub fn html(runs: &[Finished]) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>entk: results</title>\
         <style>{STYLE}</style></head><body>\n<h1>entk: results</h1>\n<p>Results of {}. \
         Those of figures and tables reproduce <cite>What can linearized neural networks actually say \
         about generalization?</cite> (NeurIPS 2021).</p>\n",
        counted(runs.len())
    );
    page += &overview(runs);
    for (at, run) in runs.iter().enumerate() {
        page += &section(at, run);
    }
    page + "</body></html>\n"
}

/// A number of runs in words.
pub fn counted(runs: usize) -> String {
    if runs == 1 { "1 run".to_owned() } else { format!("{runs} runs") }
}

fn overview(runs: &[Finished]) -> String {
    let line = |(at, run): (usize, &Finished)| {
        let record = &run.record;
        let setting = |name: &str| record.settings.get(name).map_or_else(String::new, text);
        let link = format!("<a href=\"#run{at}\">{}</a>", escape(&title(run)));
        let data = match record.results["origin"].as_str() {
            Some("synthetic") => Some("synthetic".to_owned()),
            // Files of a user's own take the place of a data set.
            _ => ["inputs", "gram", "data"].map(setting).into_iter().find(|name| !name.is_empty()),
        };
        let data = data.unwrap_or_default();
        let train = match (setting("train"), record.results["train"].as_u64()) {
            (given, Some(found)) if given.is_empty() => found.to_string(),
            (given, _) => given,
        };
        let seconds = format!("{:.0}", record.total.wall_s);
        let reused = record.cache.reused;
        let reused = format!("{reused} of {}", reused + record.cache.computed);
        let is_paper = item(&record.program).is_some_and(|item| !item.is_beyond());
        let verdict = judge(&record.program, &run.tables).verdict();
        let claim = if is_paper { verdict.to_string() } else { String::new() };
        let cells = [setting("model"), data, train, setting("epochs"), claim, seconds, reused];
        let cells: String = cells.iter().map(|cell| cell_of(cell)).collect();
        format!("<tr><td>{link}</td>{cells}</tr>")
    };
    let lines: String = runs.iter().enumerate().map(line).collect();
    let header = "<tr><th>item</th><th>model</th><th>data</th><th>training images</th>\
                  <th>epochs</th><th>claim</th><th>seconds</th><th>from the cache</th></tr>";
    scrolling(header, &lines) + "\n"
}

/// A table that is moved to the side where it is wider than the page.
fn scrolling(header: &str, lines: &str) -> String {
    format!("<div class=\"scroll\"><table>{header}{lines}</table></div>")
}

fn title(run: &Finished) -> String {
    let record = &run.record;
    let name =
        item(&record.program).map_or(record.program.as_str(), |item| item.title(&record.settings));
    if run.folder == record.program { name.to_owned() } else { format!("{name}: {}", run.folder) }
}

fn section(at: usize, run: &Finished) -> String {
    let record = &run.record;
    let mut html = format!("<h2 id=\"run{at}\">{}</h2>\n", escape(&title(run)));
    if let Some(item) = item(&record.program) {
        let whose = if item.is_beyond() { "Beyond the paper" } else { "The paper" };
        html += &format!("<p class=\"claim\">{whose}: {}</p>\n", escape(item.claim));
    }
    html += &judged(run);
    for (file, svg) in &run.figures {
        html += &format!("<figure aria-label=\"{}\">{svg}</figure>\n", escape(file));
    }
    html += &differences(record);
    for table in &run.tables {
        html += &table_of(table);
    }
    html += &format!("<p><code>{}</code></p>\n", escape(&record.command.join(" ")));
    html + &details(record)
}

/// Whether the claim holds, part by part with the numbers; nothing beyond the paper.
fn judged(run: &Finished) -> String {
    if item(&run.record.program).is_none_or(|item| item.is_beyond()) {
        return String::new();
    }
    let judged = judge(&run.record.program, &run.tables);
    let line = |part: &ClaimPart| {
        let sign = if part.holds { "yes" } else { "no" };
        let cells: String = [part.claim, &part.found, sign].map(cell_of).concat();
        format!("<tr>{cells}</tr>")
    };
    let lines: String = judged.parts.iter().map(line).collect();
    let table = match lines.is_empty() {
        true => lines,
        false => scrolling("", &lines),
    };
    let unseen = match judged.unseen {
        0 => String::new(),
        count => format!(" The run does not show {count} of its parts."),
    };
    let verdict = verb(judged.verdict());
    format!("<p>In this run the claim <b>{verdict}</b>.{unseen}</p>\n{table}\n")
}

/// A verdict behind its claim.
fn verb(verdict: Verdict) -> String {
    match verdict {
        Verdict::NotShown => "is not judged by numbers".to_owned(),
        verdict => verdict.to_string(),
    }
}

fn differences(record: &Record) -> String {
    let Some(item) = item(&record.program).filter(|item| !item.is_beyond()) else {
        return String::new();
    };
    let differences = item.differences(&record.settings);
    if differences.is_empty() {
        return "<p>At the paper's settings.</p>\n".to_owned();
    }
    let line = |d: &Difference| {
        let cells: String =
            [d.setting, &d.here, d.paper, d.why].iter().map(|c| cell_of(c)).collect();
        format!("<tr>{cells}</tr>")
    };
    let lines: String = differences.iter().map(line).collect();
    let header = "<tr><th>differs in</th><th>here</th><th>paper</th><th>why</th></tr>";
    scrolling(header, &lines) + "\n"
}

fn table_of(table: &ResultTable) -> String {
    let rows = table.lines.len().saturating_sub(1);
    let file = escape(&table.file);
    let Some((header, lines)) = table.lines.split_first().filter(|_| rows <= MOST_ROWS) else {
        return format!("<p>{file}: {rows} rows, beside this page.</p>\n");
    };
    let header: String = header.iter().map(|name| format!("<th>{}</th>", escape(name))).collect();
    let line = |line: &Vec<String>| {
        let cells: String = line.iter().map(|cell| cell_of(&rounded(cell))).collect();
        format!("<tr>{cells}</tr>")
    };
    let lines: String = lines.iter().map(line).collect();
    let table = scrolling(&format!("<tr>{header}</tr>"), &lines);
    format!("<details><summary>{file} ({rows} rows, rounded)</summary>{table}</details>\n")
}

/// Settings, times and what the machine was.
fn details(record: &Record) -> String {
    let mut lines = String::new();
    let mut add = |name: &str, value: &str| {
        let _ = write!(lines, "<tr><td>{}</td>{}</tr>", escape(name), cell_of(value));
    };
    for (name, value) in record.settings.as_object().into_iter().flatten() {
        add(name, &text(value));
    }
    for stage in &record.stages {
        add(&format!("time: {}", stage.stage), &format!("{:.1} s", stage.elapsed.wall_s));
    }
    add("time: all", &format!("{:.1} s", record.total.wall_s));
    let reused = record.cache.reused;
    add("from the cache", &format!("{reused} of {} entries", reused + record.cache.computed));
    add("threads", &record.threads.to_string());
    if let Some(memory) = record.peak_rss_mb {
        add("peak memory", &format!("{memory:.0} MB"));
    }
    add("version", &record.version);
    format!("<details><summary>settings and times</summary><table>{lines}</table></details>\n")
}

fn cell_of(text: &str) -> String {
    let class = if text.parse::<f64>().is_ok() { " class=\"number\"" } else { "" };
    format!("<td{class}>{}</td>", escape(text))
}

/// A long number with four significant digits; anything else as it is.
fn rounded(cell: &str) -> String {
    match cell.parse::<f64>() {
        Ok(number) if cell.len() > 6 && number.fract() != 0.0 => {
            let magnitude = number.abs();
            if (1e-3..1e4).contains(&magnitude) {
                let digits = 3 - magnitude.log10().floor() as i32;
                format!("{number:.*}", digits.max(0) as usize)
            } else {
                format!("{number:.3e}")
            }
        }
        _ => cell.to_owned(),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_and_words_are_not() {
        assert_eq!(rounded("0.12345678"), "0.1235");
        assert_eq!(rounded("123.456789"), "123.5");
        assert_eq!(rounded("0.000012345678"), "1.235e-5");
        assert_eq!(rounded("network"), "network");
        assert_eq!(rounded("100000000"), "100000000");
        assert_eq!(escape("a<b & \"c\""), "a&lt;b &amp; &quot;c&quot;");
    }
}
