//! Dependencies between the crates of the workspace, against the order of its crates.

use std::collections::BTreeMap;

use crate::tree::{File, Finding, Tree};

/// Dependencies of a crate on one that is not below it in `order`, lowest first.
///
/// Those in one row do not know each other. Crates in `testing` are for development: any crate may
/// use them there, none elsewhere.
pub fn upward(tree: &Tree, order: &[&[&str]], testing: &[&str]) -> Vec<Finding> {
    let rows = order.iter().enumerate();
    let ranks: BTreeMap<_, _> =
        rows.flat_map(|(rank, names)| names.iter().map(move |&name| (name, rank))).collect();
    // One with a workspace of its own is no crate of this one.
    let is_ours =
        |file: &&File| file.path.ends_with("/Cargo.toml") && !file.text.contains("\n[workspace]\n");
    let manifests = tree.files().iter().filter(is_ours);
    manifests.flat_map(|file| upward_of(file, &ranks, testing)).collect()
}

fn upward_of(file: &File, ranks: &BTreeMap<&str, usize>, testing: &[&str]) -> Vec<Finding> {
    if testing.contains(&file.package()) {
        return Vec::new();
    }
    let Some(own) = ranks.get(file.package()) else {
        return vec![Finding::new(&file.path, 1, "a crate without a place in the order")];
    };
    let is_bad = |dependency: &&Dependency<'_>| match testing.contains(&dependency.name) {
        true => !dependency.development,
        false => ranks.get(dependency.name).is_none_or(|rank| rank >= own),
    };
    let found = dependencies(&file.text);
    let bad = found.iter().filter(is_bad);
    bad.map(|dependency| {
        let what = format!("{} may not depend on {}", file.package(), dependency.name);
        Finding::new(&file.path, dependency.line, what)
    })
    .collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Dependency<'a> {
    name: &'a str,
    development: bool,
    line: usize,
}

/// The crates of this family in all tables of dependencies.
fn dependencies(manifest: &str) -> Vec<Dependency<'_>> {
    let (mut found, mut table) = (Vec::new(), "");
    for (line, text) in (1..).zip(manifest.lines()) {
        if text.starts_with('[') {
            table = text.trim_matches(['[', ']']);
        } else if table.ends_with("dependencies") {
            let name = text.split([' ', '.', '=']).next().unwrap_or_default();
            let development = table.ends_with("dev-dependencies");
            let is_ours = name == "entk" || name.starts_with("entk-");
            found.extend(is_ours.then_some(Dependency { name, development, line }));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(package: &str, manifest: &str) -> Vec<usize> {
        let path = format!("crates/{package}/Cargo.toml");
        let tree = Tree::of(vec![File { path, text: manifest.to_owned() }]);
        let order: [&[&str]; 2] = [&["entk-a", "entk-b"], &["entk-c"]];
        upward(&tree, &order, &["entk-testing"]).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn only_lower_crates_are_allowed() {
        let manifest = "[features]\nx = [\"entk-c/x\"]\n[dependencies]\nentk-a.workspace = true\n\
                        entk-c = { path = \"x\" }\nserde.workspace = true\n[dev-dependencies]\n\
                        entk-testing.workspace = true\nentk-c.workspace = true";
        assert_eq!(found("entk-c", manifest), [5, 9]);
        assert_eq!(found("entk-b", "[dependencies]\nentk-a.workspace = true"), [2]);
    }

    #[test]
    fn testing_is_for_development() {
        assert_eq!(found("entk-c", "[dependencies]\nentk-testing.workspace = true"), [2]);
        assert_eq!(found("entk-testing", "[dependencies]\nentk-c.workspace = true"), [0; 0]);
        assert_eq!(found("entk-new", ""), [1]);
    }
}
