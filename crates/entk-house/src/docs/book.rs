//! The book: every chapter is in its table of contents, and links inside of it lead somewhere.
//!
//! In comes the tree, out go findings; the tests of the layout call it. mdBook is not needed: what
//! it does with `{{#include}}`, headings and files beside chapters is done here in a few lines.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    docs::from,
    tree::{File, Finding, Tree},
};

const SUMMARY: &str = "SUMMARY.md";
const INCLUDE: &str = "{{#include ";

/// Chapters below `source` that its `SUMMARY.md` lacks, or names in vain; includes and links of
/// chapters to what is not there, and to headings that are not there.
///
/// A link may lead to a chapter or to another file below `source`, which is all that mdBook copies.
pub fn broken(tree: &Tree, source: &str) -> Vec<Finding> {
    let Some(summary) = tree.get(&from(source, SUMMARY)) else {
        return vec![Finding::new(source, 0, "no SUMMARY.md")];
    };
    let listed: BTreeSet<_> =
        links(&summary.text).map(|(_, target)| from(source, target)).collect();
    let mut findings = unlisted(tree, source, &listed);
    let mut chapters = BTreeMap::new();
    for path in listed {
        match tree.get(&path) {
            Some(file) => drop(chapters.insert(path, expanded(tree, file, &mut findings))),
            None => findings.push(Finding::new(&summary.path, 0, format!("no chapter `{path}`"))),
        }
    }
    let astray = chapters.iter().flat_map(|(path, text)| {
        let lost = links(text).filter(|(_, target)| !leads(tree, source, &chapters, path, target));
        lost.map(|(line, target)| {
            Finding::new(path, line, format!("`{target}` is not in the book"))
        })
    });
    findings.extend(astray);
    findings
}

/// Chapters that are not in the table of contents.
fn unlisted(tree: &Tree, source: &str, listed: &BTreeSet<String>) -> Vec<Finding> {
    let below = format!("{source}/");
    let is_chapter = |file: &&File| {
        file.path.starts_with(&below)
            && file.path.ends_with(".md")
            && file.path != from(source, SUMMARY)
    };
    let chapters = tree.files().iter().filter(is_chapter);
    let missing = chapters.filter(|file| !listed.contains(&file.path));
    missing.map(|file| Finding::new(&file.path, 1, "is not in SUMMARY.md")).collect()
}

/// The text of a chapter with what it includes.
fn expanded(tree: &Tree, file: &File, findings: &mut Vec<Finding>) -> String {
    let mut text = String::new();
    for (line, row) in (1..).zip(file.text.lines()) {
        let included = row.trim().strip_prefix(INCLUDE).and_then(|rest| rest.strip_suffix("}}"));
        let found = included.map(|path| (path, tree.get(&from(file.folder(), path))));
        match found {
            None => text.push_str(row),
            Some((_, Some(other))) => text.push_str(&other.text),
            Some((path, None)) => {
                findings.push(Finding::new(&file.path, line, format!("no file `{path}`")));
            }
        }
        text.push('\n');
    }
    text
}

/// Whether a link of a chapter leads to a heading, a chapter or a file of the book.
fn leads(
    tree: &Tree,
    source: &str,
    chapters: &BTreeMap<String, String>,
    chapter: &str,
    target: &str,
) -> bool {
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let folder = chapter.rsplit_once('/').map_or("", |(folder, _)| folder);
    let path = if path.is_empty() { chapter.to_owned() } else { from(folder, path) };
    match chapters.get(&path) {
        Some(text) => heading.is_empty() || headings(text).contains(heading),
        None => {
            let inside = path.starts_with(&format!("{source}/")) && !path.ends_with(".md");
            inside && tree.get(&path).is_some()
        }
    }
}

/// Targets of links with their lines, but for addresses and what stands in code.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    prose(text).flat_map(|(line, row)| {
        let targets = row.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        targets.filter(|target| !target.contains(':')).map(move |target| (line, target))
    })
}

/// The ids that mdBook gives to headings.
fn headings(text: &str) -> BTreeSet<String> {
    let mut ids = BTreeMap::<String, usize>::new();
    let mut found = BTreeSet::new();
    for (_, row) in prose(text).filter(|(_, row)| row.starts_with('#')) {
        let id = id_of(row.trim_start_matches('#').trim());
        let count = ids.entry(id.clone()).or_default();
        found.insert(if *count == 0 { id } else { format!("{id}-{count}") });
        *count += 1;
    }
    found
}

fn id_of(heading: &str) -> String {
    let kept = heading.chars().filter_map(|c| match c {
        c if c.is_alphanumeric() || c == '_' || c == '-' => Some(c.to_ascii_lowercase()),
        c if c.is_whitespace() => Some('-'),
        _ => None,
    });
    kept.collect()
}

/// Lines outside of fenced code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut code = false;
    (1..).zip(text.lines()).filter(move |(_, row)| {
        let fence = row.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<(String, usize)> {
        let file = |&(path, text): &(&str, &str)| File { path: path.into(), text: text.to_owned() };
        let findings = broken(&Tree::of(files.iter().map(file).collect()), "b");
        findings.into_iter().map(|finding| (finding.path, finding.line)).collect()
    }

    #[test]
    fn a_whole_book_has_no_findings() {
        let text = "# One & two\n[a](#one--two) [b](g/b.md#same-1) ![c](i.png) [d](https://x.y)\n\
                    ```\n[e](nowhere.md)\n# not a heading\n```";
        let files = [
            ("b/SUMMARY.md", "[A](a.md)\n- [B](g/b.md)"),
            ("b/a.md", text),
            ("b/g/b.md", "{{#include ../../c.md}}"),
            ("b/i.png", ""),
            ("c.md", "# Same\n# Same\n[a](../a.md)"),
        ];
        assert_eq!(found(&files), []);
    }

    #[test]
    fn what_leads_nowhere_is_found() {
        let files = [
            ("b/SUMMARY.md", "[A](a.md) [N](n.md)"),
            ("b/a.md", "[a](#none)\n[u](u.md)\n![i](../i.png)\n{{#include no.md}}"),
            ("b/u.md", ""),
            ("i.png", ""),
        ];
        let at = |path: &str, line| (path.to_owned(), line);
        let expected = [at("b/u.md", 1), at("b/a.md", 4), at("b/SUMMARY.md", 0)]
            .into_iter()
            .chain([1, 2, 3].map(|line| at("b/a.md", line)));
        assert_eq!(found(&files), expected.collect::<Vec<_>>());
        assert_eq!(found(&[]).len(), 1);
    }
}
