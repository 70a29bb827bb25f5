//! Circles of imports between the files of a target, and names not imported where they are defined.
//!
//! A file depends on another when a `use` or a path in it leads there. Unit tests are left out,
//! `mod name;` is no dependency, nor is what a file re-exports from the modules below it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    imports::Import,
    modules::{Found, Module, Target, roots},
    tree::{Finding, Tree},
};

/// A file, the file it needs, and the line that says so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    from: String,
    to: String,
    line: usize,
}

/// One finding for each set of files that import each other in a circle: a shortest one.
pub fn circles(tree: &Tree) -> Vec<Finding> {
    let targets = roots(tree).into_iter().map(|root| Target::of(tree, root));
    targets.flat_map(|target| circles_of(&edges(&target))).collect()
}

/// Imports through a module that only hands the name on: of the root of a target, or above.
pub fn detours(tree: &Tree) -> Vec<Finding> {
    let targets = roots(tree).into_iter().map(|root| Target::of(tree, root));
    let found: BTreeSet<_> = targets.flat_map(|target| detours_of(&target)).collect();
    found.into_iter().collect()
}

fn imports(module: &Module) -> impl Iterator<Item = &Import> {
    module.scope.uses.iter().chain(&module.scope.paths)
}

fn edges(target: &Target) -> BTreeSet<Edge> {
    let mut edges = BTreeSet::new();
    for module in &target.modules {
        for import in imports(module) {
            let Some(found) = target.lookup(module, import) else { continue };
            let others = found.files.iter().filter(|file| **file != module.file);
            let others = others.filter(|file| !(import.public && is_below(file, &module.file)));
            edges.extend(others.map(|file| Edge {
                from: module.file.clone(),
                to: file.clone(),
                line: import.line,
            }));
        }
    }
    edges
}

/// Whether `file` lies in the folder of modules that `parent` declares.
fn is_below(file: &str, parent: &str) -> bool {
    let folder = match parent.rsplit_once('/') {
        Some((folder, "lib.rs" | "mod.rs" | "main.rs")) => folder,
        _ => parent.trim_end_matches(".rs"),
    };
    file.starts_with(&format!("{folder}/"))
}

fn detours_of(target: &Target) -> Vec<Finding> {
    let mut findings = Vec::new();
    for module in &target.modules {
        for import in imports(module).filter(|import| !import.public) {
            let found = target.lookup(module, import).unwrap_or_default();
            findings.extend(detour(module, import, &found));
        }
    }
    findings
}

fn detour(module: &Module, import: &Import, found: &Found) -> Option<Finding> {
    let is_above = |path: &Vec<String>| module.path.starts_with(path) && *path != module.path;
    found.through.iter().find(|path| is_above(path))?;
    let files: Vec<_> = found.files.iter().map(String::as_str).collect();
    let files = files.join(", ");
    let what = format!("`{}` is defined in {files}: name that module", import.path.join("::"));
    Some(Finding::new(&module.file, import.line, what))
}

fn circles_of(edges: &BTreeSet<Edge>) -> Vec<Finding> {
    let mut next: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for edge in edges {
        next.entry(&edge.from).or_default().entry(&edge.to).or_insert(edge.line);
    }
    let (mut findings, mut done) = (Vec::new(), BTreeSet::new());
    for &file in next.keys() {
        if let Some(circle) = shortest(&next, file).filter(|_| !done.contains(file)) {
            done.extend(component(&next, file));
            findings.push(describe(&next, &circle));
        }
    }
    findings
}

type Graph<'a> = BTreeMap<&'a str, BTreeMap<&'a str, usize>>;

/// For each file that `from` leads to, the file before it on a shortest way.
fn reached<'a>(next: &Graph<'a>, from: &'a str) -> BTreeMap<&'a str, &'a str> {
    let (mut before, mut front) = (BTreeMap::new(), vec![from]);
    while !front.is_empty() {
        let mut further = Vec::new();
        for file in front {
            for &to in next.get(file).into_iter().flat_map(BTreeMap::keys) {
                before.entry(to).or_insert_with(|| {
                    further.push(to);
                    file
                });
            }
        }
        front = further;
    }
    before
}

/// The files of a shortest circle through `file`, which comes first and last.
fn shortest<'a>(next: &Graph<'a>, file: &'a str) -> Option<Vec<&'a str>> {
    let before = reached(next, file);
    let mut circle = vec![file, *before.get(file)?];
    while circle[circle.len() - 1] != file {
        circle.push(before[circle[circle.len() - 1]]);
    }
    circle.reverse();
    Some(circle)
}

fn component<'a>(next: &Graph<'a>, file: &'a str) -> Vec<&'a str> {
    let there = reached(next, file);
    there.into_keys().filter(|other| reached(next, other).contains_key(file)).collect()
}

fn describe(next: &Graph<'_>, circle: &[&str]) -> Finding {
    let size = component(next, circle[0]).len();
    let steps: Vec<_> = circle
        .windows(2)
        .map(|pair| format!("{}:{} -> {}", pair[0], next[pair[0]][pair[1]], pair[1]))
        .collect();
    let line = next[circle[0]][circle[1]];
    let what = format!("{size} files import each other in a circle: {}", steps.join(", "));
    Finding::new(circle[0], line, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::File;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let file = |&(path, text): &(&str, &str)| File {
            path: format!("crates/x/src/{path}"),
            text: text.to_owned(),
        };
        Tree::of(files.iter().map(file).collect())
    }

    #[test]
    fn a_circle_of_three_is_found_with_its_lines() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c; mod d; pub use a::A;"),
            ("a.rs", "\nuse crate::b::B;\npub struct A;"),
            ("b.rs", "pub struct B; fn f() { crate::c::g(); }"),
            ("c.rs", "use super::a; pub fn g() {}"),
            ("d.rs", "use crate::{a::A, b::B};"),
        ];
        let found = circles(&tree(&files));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].path.as_str(), found[0].line), ("crates/x/src/a.rs", 2));
        assert!(found[0].what.starts_with("3 files"), "{}", found[0].what);
    }

    #[test]
    fn unit_tests_declarations_and_reexports_make_no_circle() {
        let files = [
            ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
            ("a.rs", "use crate::b::B; pub struct A;"),
            ("b.rs", "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }"),
        ];
        assert_eq!(circles(&tree(&files)), []);
        assert_eq!(detours(&tree(&files)), []);
    }

    #[test]
    fn an_import_through_the_root_is_a_detour_and_a_circle_when_it_closes_one() {
        let files = [
            ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
            ("a.rs", "use crate::B; pub struct A;"),
            ("b.rs", "use crate::A; pub struct B;"),
        ];
        assert_eq!(circles(&tree(&files)).len(), 1);
        let found = detours(&tree(&files));
        assert_eq!(found.len(), 2);
        assert!(found[0].what.contains("src/b.rs"), "{}", found[0].what);
    }

    #[test]
    fn a_folder_may_be_used_by_its_face_from_outside_only() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "mod one; mod two; pub(crate) use one::One;"),
            ("a/one.rs", "pub struct One;"),
            ("a/two.rs", "use super::One;"),
            ("b.rs", "use crate::a::One;"),
        ];
        let found = detours(&tree(&files));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].path, "crates/x/src/a/two.rs");
    }
}
