//! Sets of names in words: lists of names go in, a few lines that a person can read come out.
//! Called by the messages of errors.

use crate::params::likely;

/// Groups of names that one line lists.
const GROUPS: usize = 6;
/// Names of wrong shape that are listed, one a line.
const SHAPES: usize = 3;
/// Suggestions for one message.
const SUGGESTIONS: usize = 3;

/// What a set of names lacks and has too much, in at most eleven lines.
pub(crate) fn misfit(missing: &[String], unexpected: &[String], misshaped: &[String]) -> String {
    let mut lines = vec!["the parameters do not fit the model:".to_owned()];
    for (what, names) in [("missing", missing), ("unexpected", unexpected)] {
        if !names.is_empty() {
            lines.push(format!("{} {what}: {}", names.len(), grouped(names)));
        }
    }
    if !misshaped.is_empty() {
        lines.push(format!("{} of wrong shape:", misshaped.len()));
        lines.extend(misshaped.iter().take(SHAPES).map(|line| format!("  {line}")));
        if misshaped.len() > SHAPES {
            lines.push("  ...".to_owned());
        }
    }
    lines.extend(hint(missing, unexpected));
    lines.extend(likely::network(unexpected).map(|network| format!("these look like {network}")));
    lines.join("\n  ")
}

/// That no name is `name`, those that are near, and those there are.
pub(crate) fn unknown(name: &str, known: &[String]) -> String {
    let mut text = format!("no parameter is named {name:?}");
    let near = nearest(name, known);
    if !near.is_empty() {
        text += &format!("; did you mean {}?", near.join(" or "));
    }
    if !known.is_empty() {
        let stop = if near.is_empty() { "." } else { "" };
        text += &format!("{stop} There are {}", grouped(known));
    }
    text
}

/// A few names as they are; more of them by their first part, `layer1.* (12)`.
fn grouped(names: &[String]) -> String {
    if names.len() <= GROUPS {
        return names.join(", ");
    }
    let depth = names.iter().map(|name| name.matches('.').count()).max().unwrap_or(0);
    // The prefix of all names says nothing: groups begin after it.
    let mut groups = by_prefix(names, 1);
    for parts in 2..=depth {
        if groups.len() > 1 {
            break;
        }
        groups = by_prefix(names, parts);
    }
    let mut shown: Vec<String> = groups.iter().take(GROUPS).map(in_words).collect();
    if groups.len() > GROUPS {
        let rest: usize = groups[GROUPS..].iter().map(|(_, members)| members.len()).sum();
        shown.push(format!("and {rest} more"));
    }
    shown.join(", ")
}

type NameGroup<'n> = (&'n str, Vec<&'n str>);

fn in_words((prefix, members): &NameGroup<'_>) -> String {
    match members.as_slice() {
        [one] => (*one).to_owned(),
        _ => format!("{prefix}.* ({})", members.len()),
    }
}

/// Names by their first so many parts, in the order in which these occur.
fn by_prefix(names: &[String], parts: usize) -> Vec<NameGroup<'_>> {
    let mut groups: Vec<NameGroup<'_>> = Vec::new();
    for name in names {
        let prefix = match name.match_indices('.').nth(parts - 1) {
            Some((at, _)) => &name[..at],
            None => name.as_str(),
        };
        match groups.iter_mut().find(|(other, _)| *other == prefix) {
            Some((_, members)) => members.push(name),
            None => groups.push((prefix, vec![name])),
        }
    }
    groups
}

/// What renaming would help, if one does.
fn hint(missing: &[String], unexpected: &[String]) -> Option<String> {
    if let Some(prefix) = common_prefix(missing, unexpected) {
        let why = match prefix {
            "module." => ", which DataParallel adds",
            "_orig_mod." => ", which torch.compile adds",
            _ => "",
        };
        return Some(format!("remove {prefix:?} from the front of the unexpected names{why}"));
    }
    if let Some(prefix) = common_prefix(unexpected, missing) {
        return Some(format!("add {prefix:?} to the front of the unexpected names"));
    }
    let pairs = unexpected.iter().filter_map(|name| {
        let near = missing.iter().filter(|other| is_near(name, other));
        near.min_by_key(|other| distance(name, other)).map(|near| format!("{near} for {name}"))
    });
    let pairs: Vec<String> = pairs.take(SUGGESTIONS).collect();
    (!pairs.is_empty()).then(|| format!("did you mean {}?", pairs.join(", ")))
}

/// The text in front of which most of `names` are among `longer`.
fn common_prefix<'n>(names: &[String], longer: &'n [String]) -> Option<&'n str> {
    let first = names.first()?;
    longer.iter().filter_map(|name| name.strip_suffix(first.as_str())).find(|prefix| {
        let has = |name: &&String| longer.iter().any(|l| l.strip_prefix(prefix) == Some(*name));
        !prefix.is_empty() && 2 * names.iter().filter(has).count() > names.len()
    })
}

/// The names below `name`, or those that few changes of a letter make of it.
fn nearest<'n>(name: &str, known: &'n [String]) -> Vec<&'n str> {
    let is_below = |known: &&String| known.strip_prefix(name).is_some_and(|r| r.starts_with('.'));
    let mut near: Vec<&String> = known.iter().filter(is_below).collect();
    if near.is_empty() {
        near = known.iter().filter(|known| is_near(name, known)).collect();
        near.sort_by_key(|known| distance(name, known));
    }
    near.into_iter().take(SUGGESTIONS).map(String::as_str).collect()
}

/// Whether a third of a name or less differs.
fn is_near(a: &str, b: &str) -> bool {
    3 * distance(a, b) <= a.chars().count().max(b.chars().count())
}

/// Insertions, deletions and replacements of letters that make `b` of `a` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn many_names_are_short() {
        let blocks: Vec<String> = (0..40)
            .flat_map(|stage| (0..9).map(move |at| format!("layer{stage}.{at}.weight")))
            .collect();
        let shapes: Vec<String> = blocks.iter().map(|name| format!("{name}: wrong")).collect();
        let text = misfit(&blocks, &blocks[..8], &shapes);
        assert!(text.lines().count() <= 10 && text.len() <= 800, "{text}");
        assert!(text.contains("360 missing: layer0.* (9), "), "{text}");
        assert!(text.contains("and 306 more"), "{text}");
        assert!(text.contains("layer0.0.weight, layer0.1.weight"), "{text}");
    }

    #[test]
    fn groups_begin_where_names_part() {
        let all: Vec<String> = (0..4)
            .flat_map(|at| ["a", "b"].map(|end| format!("model.body.{at}.{end}")))
            .chain(names(&["model.head"]))
            .collect();
        let expected = "model.body.* (8), model.head";
        assert_eq!(grouped(&all), expected);
        let expected =
            "model.body.0.* (2), model.body.1.* (2), model.body.2.* (2), model.body.3.* (2)";
        assert_eq!(grouped(&all[..8]), expected);
        assert_eq!(grouped(&names(&["x"; 9])), "x.* (9)");
    }

    #[test]
    fn what_helps_is_said() {
        let (short, long) =
            (names(&["conv.weight", "fc.bias"]), names(&["module.fc.bias", "module.conv.weight"]));
        assert!(misfit(&short, &long, &[]).contains("remove \"module.\" from the front"));
        assert!(misfit(&long, &short, &[]).contains("add \"module.\" to the front"));
        let text = misfit(&names(&["fc1.weight"]), &names(&["fc_1.weight", "scale"]), &[]);
        assert!(text.contains("did you mean fc1.weight for fc_1.weight?"), "{text}");
        let known = names(&["conv1.weight", "conv1.bias", "fc.weight"]);
        assert_eq!(
            unknown("conv1", &known),
            "no parameter is named \"conv1\"; did you mean conv1.weight or conv1.bias? There are \
             conv1.weight, conv1.bias, fc.weight"
        );
        assert!(unknown("fc.wieght", &known).contains("did you mean fc.weight?"));
        assert_eq!(unknown("x", &[]), "no parameter is named \"x\"");
        assert_eq!(unknown("x", &known[2..]), "no parameter is named \"x\". There are fc.weight");
    }

    #[test]
    fn distances_count_changed_letters() {
        for (a, b, expected) in [
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("ab", "ba", 2),
            ("é", "e", 1),
            ("a", "a", 0),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{a} {b}");
        }
    }
}
