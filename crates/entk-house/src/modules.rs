//! The modules of a target, and where a path leads.
//!
//! [`Target::of`] follows `mod name;` from a root file; [`Target::lookup`] takes a path as some
//! module writes it and returns the files that define what it names.

use std::collections::BTreeSet;

use crate::{
    imports::{Import, Scope},
    tokens::{tokens, without_tests},
    tree::Tree,
};

/// A module with the file it is written in.
#[derive(Debug)]
pub struct Module {
    /// Its path from the root of the target.
    pub path: Vec<String>,
    /// Its file.
    pub file: String,
    /// What it imports and defines.
    pub scope: Scope,
}

/// A library, a program or a test: all modules that its root file leads to.
#[derive(Debug)]
pub struct Target {
    /// Its modules, the root first. One path may have several, by conditional compilation.
    pub modules: Vec<Module>,
}

/// Where a path leads.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The files that define what it names.
    pub files: BTreeSet<String>,
    /// Modules that only hand the name on, by path.
    pub through: Vec<Vec<String>>,
}

/// The roots of targets: `lib.rs`, `main.rs`, files directly in `tests`, `benches` or `examples`,
/// and what a manifest's `path` names.
pub fn roots(tree: &Tree) -> Vec<&str> {
    let named: BTreeSet<String> = tree.files().iter().flat_map(manifest_paths).collect();
    let is_root = |path: &str| {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let place = folder.rsplit('/').next();
        let is_flat =
            matches!(place, Some("tests" | "benches")) || folder.ends_with("benches/examples");
        name == "lib.rs" || name == "main.rs" || is_flat || named.contains(path)
    };
    tree.rust().map(|file| file.path.as_str()).filter(|path| is_root(path)).collect()
}

fn manifest_paths(file: &crate::tree::File) -> Vec<String> {
    if !file.path.ends_with("Cargo.toml") {
        return Vec::new();
    }
    let values = file.text.lines().filter_map(|line| line.strip_prefix("path = "));
    values.map(|value| format!("{}/{}", file.folder(), value.trim_matches('"'))).collect()
}

impl Target {
    /// The target of this root file.
    pub fn of(tree: &Tree, root: &str) -> Self {
        let mut target = Self { modules: Vec::new() };
        target.add(tree, root, &[]);
        target
    }

    fn add(&mut self, tree: &Tree, file: &str, path: &[String]) {
        let Some(source) = tree.get(file) else { return };
        for scope in Scope::of(&without_tests(&tokens(&source.text))) {
            let module = [path, &scope.path].concat();
            for declared in &scope.declared {
                let inner = [&module[..], std::slice::from_ref(&declared.name)].concat();
                for candidate in candidates(file, path, &scope.path, declared) {
                    self.add(tree, &candidate, &inner);
                }
            }
            self.modules.push(Module { path: module, file: file.to_owned(), scope });
        }
    }

    fn at<'a>(&'a self, path: &'a [String]) -> impl Iterator<Item = &'a Module> {
        self.modules.iter().filter(move |module| module.path == path)
    }

    fn exists(&self, path: &[String]) -> bool {
        self.at(path).next().is_some()
    }

    /// Where `import`, written in `module`, leads; `None` outside of this target.
    pub fn lookup(&self, module: &Module, import: &Import) -> Option<Found> {
        let path = self.absolute(module, &import.path)?;
        let mut found = Found::default();
        self.follow(&path, &mut found, 0);
        Some(found)
    }

    /// The path from the root of the target.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Vec<String>> {
        let first = path.first()?.as_str();
        let above = path.iter().take_while(|segment| *segment == "super").count();
        let child = [&module.path[..], std::slice::from_ref(&path[0])].concat();
        match first {
            "crate" => Some(path[1..].to_vec()),
            "super" => {
                let base = &module.path[..module.path.len().saturating_sub(above)];
                Some([base, &path[above..]].concat())
            }
            "self" => self.absolute_in_self(module, &path[1..]),
            _ if self.exists(&child) => Some([&module.path[..], path].concat()),
            _ => self.by_imported_module(module, path),
        }
    }

    fn absolute_in_self(&self, module: &Module, path: &[String]) -> Option<Vec<String>> {
        match path.first().map(String::as_str) {
            Some("super") => self.absolute(module, path),
            _ => Some([&module.path[..], path].concat()),
        }
    }

    /// The absolute path of `name::rest` where `name` is a module that a `use` brings in.
    fn by_imported_module(&self, module: &Module, path: &[String]) -> Option<Vec<String>> {
        let brings = |import: &&Import| import.name == path[0] && import.path[0] != path[0];
        let import = module.scope.uses.iter().find(brings)?;
        let base = self.absolute(module, &import.path)?;
        self.exists(&base).then(|| [&base, &path[1..]].concat())
    }

    /// Walks down an absolute path to the module that defines its name, over re-exports.
    fn follow(&self, path: &[String], found: &mut Found, depth: usize) {
        let known = (0..=path.len()).rev().find(|&length| self.exists(&path[..length]));
        let (base, rest) = path.split_at(known.unwrap_or(0));
        let defines = |module: &Module| match rest.first() {
            Some(name) => name == "*" || module.scope.items.contains(name),
            None => true,
        };
        let here: Vec<_> = self.at(base).collect();
        let handed_on = match here.iter().any(|module| defines(module)) || depth > 8 {
            true => Vec::new(),
            false => here.iter().flat_map(|module| self.handed_on(module, &rest[0])).collect(),
        };
        if handed_on.is_empty() {
            return found.files.extend(here.iter().map(|module| module.file.clone()));
        }
        found.through.push(base.to_vec());
        for inner in handed_on {
            self.follow(&[&inner, &rest[1..]].concat(), found, depth + 1);
        }
    }

    /// The absolute paths by which `module` has `name` without defining it.
    fn handed_on(&self, module: &Module, name: &str) -> Vec<Vec<String>> {
        let exact = module.scope.uses.iter().filter(|import| import.name == name);
        let exact: Vec<_> =
            exact.filter_map(|import| self.absolute(module, &import.path)).collect();
        if !exact.is_empty() {
            return exact;
        }
        let globs = module.scope.uses.iter().filter(|import| import.name == "*");
        let bases = globs.filter_map(|import| self.absolute(module, &import.path));
        bases
            .map(|base| [&base[..base.len() - 1], &[name.to_owned()]].concat())
            .filter(|path| self.defines(path))
            .collect()
    }

    fn defines(&self, path: &[String]) -> bool {
        let (name, base) = path.split_last().unwrap_or((&path[0], path));
        self.at(base).any(|module| module.scope.items.contains(name))
    }
}

/// The files in which a declared module may lie.
fn candidates(
    file: &str,
    module: &[String],
    within: &[String],
    declared: &crate::imports::Declared,
) -> Vec<String> {
    let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
    if let Some(other) = &declared.file {
        return vec![format!("{folder}/{other}")];
    }
    let is_root = module.is_empty() || name == "mod.rs";
    let stem = if is_root { "" } else { name.trim_end_matches(".rs") };
    let parts =
        [&[folder, stem], &within.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat();
    let base: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let base = format!("{}/{}", base.join("/"), declared.name);
    vec![format!("{base}.rs"), format!("{base}/mod.rs")]
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

    fn lookup(files: &[(&str, &str)], from: &str, path: &str) -> Option<(Vec<String>, usize)> {
        let target = Target::of(&tree(files), "crates/x/src/lib.rs");
        let module = target.modules.iter().find(|module| module.file.ends_with(from))?;
        let path = path.split("::").map(str::to_owned).collect();
        let import = Import { path, name: String::new(), public: false, line: 1 };
        let found = target.lookup(module, &import)?;
        let strip = |file: String| file.trim_start_matches("crates/x/src/").to_owned();
        Some((found.files.into_iter().map(strip).collect(), found.through.len()))
    }

    const FILES: [(&str, &str); 6] = [
        (
            "lib.rs",
            "mod a; mod b; #[cfg(x)] mod c; #[cfg(y)] #[path = \"d.rs\"] mod c; pub use a::A;",
        ),
        ("a.rs", "mod inner; pub struct A; pub use self::inner::*;"),
        ("a/inner.rs", "pub struct I;"),
        ("b/mod.rs", "use crate::a::{self, A};"),
        ("c.rs", "pub struct C;"),
        ("d.rs", "pub struct C;"),
    ];

    fn one(file: &str, through: usize) -> Option<(Vec<String>, usize)> {
        Some((vec![file.to_owned()], through))
    }

    #[test]
    fn paths_lead_to_the_file_that_defines_the_name() {
        assert_eq!(lookup(&FILES, "b/mod.rs", "crate::a::A::new"), one("a.rs", 0));
        assert_eq!(lookup(&FILES, "b/mod.rs", "super::a::inner::I"), one("a/inner.rs", 0));
        assert_eq!(lookup(&FILES, "b/mod.rs", "a::inner::I"), one("a/inner.rs", 0));
        assert_eq!(lookup(&FILES, "a/inner.rs", "super::super::b"), one("b/mod.rs", 0));
        assert_eq!(lookup(&FILES, "lib.rs", "self::a::A"), one("a.rs", 0));
        assert_eq!(lookup(&FILES, "lib.rs", "std::fmt"), None);
    }

    #[test]
    fn names_that_are_handed_on_are_followed_and_noted() {
        assert_eq!(lookup(&FILES, "b/mod.rs", "crate::A"), one("a.rs", 1));
        assert_eq!(lookup(&FILES, "b/mod.rs", "crate::a::I"), one("a/inner.rs", 1));
        assert_eq!(lookup(&FILES, "a/inner.rs", "crate::b::A"), one("a.rs", 1));
    }

    #[test]
    fn a_module_may_have_two_files() {
        let files = vec!["c.rs".to_owned(), "d.rs".to_owned()];
        assert_eq!(lookup(&FILES, "b/mod.rs", "crate::c::C"), Some((files, 0)));
    }
}
