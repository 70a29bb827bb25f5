//! Sizes of folders, files and lines, and the heads of files.

use std::collections::BTreeMap;

use crate::{
    tokens::{Kind, tokens},
    tree::{File, Finding, Tree},
};

/// Folders with more than `most` source files.
pub fn full_folders(tree: &Tree, most: usize) -> Vec<Finding> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for file in tree.rust() {
        *counts.entry(file.folder()).or_default() += 1;
    }
    let full = counts.into_iter().filter(|&(_, count)| count > most);
    full.map(|(folder, count)| Finding::new(folder, 0, format!("{count} files, at most {most}")))
        .collect()
}

/// Source files with more than `most` lines.
pub fn long_files(tree: &Tree, most: usize) -> Vec<Finding> {
    let lengths = tree.rust().map(|file| (file, file.text.lines().count()));
    let long = lengths.filter(|&(_, lines)| lines > most);
    long.map(|(file, lines)| {
        Finding::new(&file.path, most + 1, format!("{lines} lines, at most {most}"))
    })
    .collect()
}

/// Library files that do not open with a `//!` head.
pub fn headless(tree: &Tree) -> Vec<Finding> {
    let without = tree.libraries().filter(|file| !file.text.starts_with("//! "));
    let what = "no head: say in `//!` what comes in, what goes out and who calls it";
    without.map(|file| Finding::new(&file.path, 1, what)).collect()
}

/// Lines of more than `most` columns, but for strings in source and tables in documents.
pub fn wide_lines(tree: &Tree, most: usize) -> Vec<Finding> {
    tree.files().iter().flat_map(|file| wide_lines_of(file, most)).collect()
}

fn wide_lines_of(file: &File, most: usize) -> Vec<Finding> {
    let wide: Vec<_> =
        (1..).zip(file.text.lines()).filter(|(_, text)| text.chars().count() > most).collect();
    if wide.is_empty() || file.path.ends_with(".toml") {
        return Vec::new();
    }
    let strings = strings(file);
    let excused = |line: usize, text: &str| match file.is_rust() {
        true => strings.iter().any(|&(first, last)| (first..=last).contains(&line)),
        false => text.starts_with('|'),
    };
    let wide = wide.into_iter().filter(|&(line, text)| !excused(line, text));
    wide.map(|(line, _)| Finding::new(&file.path, line, format!("over {most} columns"))).collect()
}

/// First and last lines of string literals.
fn strings(file: &File) -> Vec<(usize, usize)> {
    let strings = tokens(&file.text).into_iter().filter(|token| token.kind == Kind::Text);
    strings.map(|token| (token.line, token.line + token.text.matches('\n').count())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(path: &str, text: &str) -> Tree {
        Tree::of(vec![File { path: path.to_owned(), text: text.to_owned() }])
    }

    fn lines(found: &[Finding]) -> Vec<usize> {
        found.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn wide_lines_but_for_strings_and_tables() {
        let source = tree("a.rs", "let abcdefgh = 1;\nf(\"abcdefgh\");\n// abcdefghi\nlet a;");
        assert_eq!(lines(&wide_lines(&source, 10)), [1, 3]);
        let document = tree("docs/a.md", "| abcdefghij |\nabcdefghijklm\nabc");
        assert_eq!(lines(&wide_lines(&document, 10)), [2]);
    }

    #[test]
    fn folders_files_and_heads() {
        let source = tree("crates/x/src/a.rs", "use a;\nb");
        assert_eq!(headless(&source).len(), 1);
        assert_eq!(lines(&long_files(&source, 1)), [2]);
        assert!(long_files(&source, 2).is_empty());
        assert_eq!(full_folders(&source, 0).len(), 1);
        assert_eq!(full_folders(&source, 1), []);
    }
}
