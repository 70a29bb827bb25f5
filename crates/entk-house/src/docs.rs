//! Documents and comments: paths that they name must exist, and sentences begin with what they are
//! about.

pub mod book;

use crate::tree::{File, Finding, Tree};

/// Paths in `README.md` and `docs/*.md` that no file or folder has.
pub fn missing_paths(tree: &Tree) -> Vec<Finding> {
    let is_document =
        |file: &&File| file.path.ends_with(".md") && matches!(file.package(), "docs" | "README.md");
    tree.files().iter().filter(is_document).flat_map(|file| missing_of(tree, file)).collect()
}

/// Comments of documentation that begin with one of `openings`, which point at something else.
pub fn pointing_docs(tree: &Tree, openings: &[&str]) -> Vec<Finding> {
    tree.rust().flat_map(|file| pointing_docs_of(file, openings)).collect()
}

fn pointing_docs_of(file: &File, openings: &[&str]) -> Vec<Finding> {
    let (mut findings, mut inside) = (Vec::new(), false);
    for (line, text) in (1..).zip(file.text.lines().map(str::trim)) {
        let comment = text.strip_prefix("///").or_else(|| text.strip_prefix("//!"));
        let begins =
            |opening: &&&str| comment.is_some_and(|text| text.trim().starts_with(**opening));
        let hit = openings.iter().find(begins).filter(|_| !inside);
        let what = |opening| format!("`{opening}` of what? Say what this is");
        findings.extend(hit.map(|opening| Finding::new(&file.path, line, what(opening))));
        inside = comment.is_some();
    }
    findings
}

fn missing_of(tree: &Tree, file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, text) in (1..).zip(file.text.lines()) {
        let quoted = text.split('`').skip(1).step_by(2).filter(|path| is_path(tree, path));
        let linked = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        let linked = linked.filter(|path| !path.is_empty() && !path.contains(':'));
        let missing = quoted.chain(linked).filter(|path| !exists(tree, file.folder(), path));
        let finding = |path| Finding::new(&file.path, line, format!("no file or folder `{path}`"));
        findings.extend(missing.map(finding));
    }
    findings
}

/// Whether this text means a path of the workspace: source, or below a folder at its root or a
/// crate.
fn is_path(tree: &Tree, text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let first = text.split('/').next().unwrap_or(text);
    let is_known =
        |file: &File| file.package() == first || file.path.starts_with(&format!("{first}/"));
    text.chars().all(plain)
        && (text.ends_with(".rs") || text.contains('/') && tree.files().iter().any(is_known))
}

/// Whether `path` is there: from the root, from `crates`, from the document's folder, or, for a
/// file name alone, anywhere.
fn exists(tree: &Tree, folder: &str, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let bases = ["", "crates", folder].map(|base| from(base, path));
    let below = bases.each_ref().map(|base| format!("{base}/"));
    let ending = format!("/{path}");
    tree.files().iter().any(|file| {
        bases.contains(&file.path)
            || below.iter().any(|base| file.path.starts_with(base))
            || (!path.contains('/') && file.path.ends_with(&ending))
    })
}

/// `path` as seen from `folder`, without `..`.
pub(crate) fn from(folder: &str, path: &str) -> String {
    let mut segments: Vec<_> = folder.split('/').filter(|segment| !segment.is_empty()).collect();
    for segment in path.split('/') {
        match segment {
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    segments.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documentation_begins_with_what_it_is_about() {
        let text = "/// The same.\nfn a() {}\n/// As b.\n/// The same.\nfn c() {}";
        let file = File { path: "a.rs".to_owned(), text: text.to_owned() };
        let found = pointing_docs(&Tree::of(vec![file]), &["The same"]);
        assert_eq!(found.iter().map(|finding| finding.line).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn paths_exist_from_the_root_the_crates_or_the_document() {
        let text = "`entk-x/src/a.rs`, `a.rs`, `crates/entk-x/`, [b](docs/b.md#c), `x/y`, `f::g`\n\
                    `entk-x/src/b.rs` and `b.rs`, [c](docs/c.md), [d](https://x.y/z)";
        let files = [
            ("README.md", text),
            ("crates/entk-x/src/a.rs", ""),
            ("docs/b.md", "[r](../README.md)"),
        ];
        let file =
            |(path, text): (&str, &str)| File { path: path.to_owned(), text: text.to_owned() };
        let tree = Tree::of(files.map(file).into());
        let lines: Vec<_> = missing_paths(&tree)
            .iter()
            .map(|finding| (finding.line, finding.path.clone()))
            .collect();
        let readme = |line| (line, "README.md".to_owned());
        assert_eq!(lines, [readme(2), readme(2), readme(2)]);
    }
}
