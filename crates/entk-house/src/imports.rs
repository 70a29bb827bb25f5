//! What one file imports, declares and defines.
//!
//! [`Scope::of`] takes the tokens of a file; the modules of a crate are put together from these
//! scopes, one for the file and one for each module written within it.

use std::collections::BTreeSet;

use crate::tokens::{Token, end_of_group, matches};

/// A path of a `use`, or one written where a name is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Segments as written, with those of the braces around them.
    pub path: Vec<String>,
    /// The name it has here; `*` of a glob, nothing for a path that is no `use`.
    pub name: String,
    /// Whether it is `pub`, to anybody.
    pub public: bool,
    /// The line.
    pub line: usize,
}

/// A module declared by `mod name;`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// The file that `#[path = ".."]` names.
    pub file: Option<String>,
}

/// A module that is written in a file: the file itself, or `mod name { .. }`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Its path from the file's own module.
    pub path: Vec<String>,
    /// Modules in files of their own.
    pub declared: Vec<Declared>,
    /// Names of the items it defines.
    pub items: BTreeSet<String>,
    /// Its imports, those in function bodies included.
    pub uses: Vec<Import>,
    /// Paths of two segments or more outside of imports.
    pub paths: Vec<Import>,
}

const ITEMS: [&str; 9] =
    ["fn", "struct", "enum", "trait", "type", "const", "static", "union", "macro_rules"];

impl Scope {
    /// The scopes of a file: its own, then those of the modules within it.
    pub fn of(tokens: &[Token<'_>]) -> Vec<Self> {
        let mut found = Vec::new();
        read(tokens, Vec::new(), &mut found);
        found
    }

    /// Notes what begins at `at`, and returns the index to go on from.
    fn note(&mut self, tokens: &[Token<'_>], at: usize, is_item: bool) -> usize {
        let next = tokens.get(at + 1);
        if tokens[at].is("use") {
            return self.note_use(tokens, at);
        } else if tokens[at].is("mod") && is_item {
            let name = next.map_or_else(String::new, |token| token.text.to_owned());
            self.declared.push(Declared { name, file: path_attribute(&tokens[..at]) });
        } else if is_item && ITEMS.iter().any(|word| tokens[at].is(word)) {
            let name = tokens[at + 1..].iter().find(|token| token.is_word());
            self.items.extend(name.map(|token| token.text.to_owned()));
        } else if tokens[at].is_word() && next.is_some_and(|token| token.is("::")) {
            return self.note_path(tokens, at);
        }
        at + 1
    }

    fn note_use(&mut self, tokens: &[Token<'_>], at: usize) -> usize {
        let public = at > 0 && (tokens[at - 1].is("pub") || tokens[at - 1].is(")"));
        let mut end = at + 1;
        use_tree(tokens, &mut end, &[], &mut self.uses, public);
        end
    }

    fn note_path(&mut self, tokens: &[Token<'_>], at: usize) -> usize {
        let mut path = vec![tokens[at].text.to_owned()];
        let mut end = at + 1;
        while end + 1 < tokens.len() && tokens[end].is("::") && tokens[end + 1].is_word() {
            path.push(tokens[end + 1].text.to_owned());
            end += 2;
        }
        self.paths.push(Import { path, name: String::new(), public: false, line: tokens[at].line });
        end
    }
}

/// Reads a module's tokens into a scope, and the modules within it into scopes after it.
fn read(tokens: &[Token<'_>], path: Vec<String>, found: &mut Vec<Scope>) {
    let index = found.len();
    found.push(Scope { path: path.clone(), ..Scope::default() });
    let (mut at, mut depth) = (0, 0_usize);
    while at < tokens.len() {
        if tokens[at].is("mod") && tokens.get(at + 2).is_some_and(|token| token.is("{")) {
            let end = end_of_group(tokens, at + 2);
            let inner = [path.clone(), vec![tokens[at + 1].text.to_owned()]].concat();
            read(&tokens[at + 3..end - 1], inner, found);
            at = end;
            continue;
        }
        depth += usize::from(tokens[at].is("{"));
        depth -= usize::from(tokens[at].is("}") && depth > 0);
        at = found[index].note(tokens, at, depth == 0);
    }
}

/// The value of a `#[path = ".."]` among the attributes that end these tokens.
fn path_attribute(before: &[Token<'_>]) -> Option<String> {
    let start =
        before.iter().rposition(|token| token.is(";") || token.is("}")).map_or(0, |at| at + 1);
    let at = (start..before.len()).find(|&at| matches(&before[at..], &["#", "[", "path", "="]))?;
    before.get(at + 4).map(|token| token.text.trim_matches('"').to_owned())
}

/// Reads the tree at `at` and leaves `at` behind it.
fn use_tree(
    tokens: &[Token<'_>],
    at: &mut usize,
    prefix: &[String],
    found: &mut Vec<Import>,
    public: bool,
) {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(*at) {
        *at += 1;
        if token.is("{") {
            return use_group(tokens, at, &path, found, public);
        } else if token.is("::") {
            continue;
        }
        path.push(token.text.to_owned());
        if !tokens.get(*at).is_some_and(|next| next.is("::")) {
            let import = Import { name: String::new(), path, public, line: token.line };
            return found.push(named(import, tokens, at));
        }
    }
}

fn use_group(
    tokens: &[Token<'_>],
    at: &mut usize,
    prefix: &[String],
    found: &mut Vec<Import>,
    public: bool,
) {
    while tokens.get(*at).is_some_and(|token| !token.is("}")) {
        use_tree(tokens, at, prefix, found, public);
        *at += usize::from(tokens.get(*at).is_some_and(|token| token.is(",")));
    }
    *at += 1;
}

/// `import` with its name: after `as`, or its last segment; `a::self` is `a`.
fn named(mut import: Import, tokens: &[Token<'_>], at: &mut usize) -> Import {
    if import.path.len() > 1 && import.path.last().is_some_and(|last| last == "self") {
        import.path.pop();
    }
    let last = import.path.last().cloned().unwrap_or_default();
    let renamed = tokens.get(*at).is_some_and(|token| token.is("as"));
    let name = tokens.get(*at + 1).filter(|_| renamed).map(|token| token.text.to_owned());
    *at += if renamed { 2 } else { 0 };
    import.name = name.unwrap_or(last);
    import
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::tokens;

    fn scopes(source: &str) -> Vec<Scope> {
        Scope::of(&tokens(source))
    }

    fn imports(source: &str) -> Vec<(String, String, usize)> {
        let uses = scopes(source).remove(0).uses;
        uses.into_iter().map(|import| (import.path.join("::"), import.name, import.line)).collect()
    }

    fn expected(rows: &[(&str, &str, usize)]) -> Vec<(String, String, usize)> {
        rows.iter().map(|&(path, name, line)| (path.to_owned(), name.to_owned(), line)).collect()
    }

    #[test]
    fn nested_trees_of_several_lines() {
        let source =
            "use crate::{\n    a::{self, B, c::{D as E, *}},\n    f::G,\n};\nuse super::h;";
        let rows = [
            ("crate::a", "a", 2),
            ("crate::a::B", "B", 2),
            ("crate::a::c::D", "E", 2),
            ("crate::a::c::*", "*", 2),
            ("crate::f::G", "G", 3),
            ("super::h", "h", 5),
        ];
        assert_eq!(imports(source), expected(&rows));
    }

    #[test]
    fn imports_know_whether_they_are_public() {
        let source = "pub use a::B; pub(crate) use c::D; use e::F as _; fn x() { use g::H; }";
        let uses = scopes(source).remove(0).uses;
        let public: Vec<_> = uses.iter().map(|import| import.public).collect();
        assert_eq!(public, [true, true, false, false]);
        assert_eq!(uses[2].name, "_");
    }

    #[test]
    fn items_are_those_of_the_module_alone() {
        let source = "pub struct A<T>(T); impl A<u8> { fn hidden() {} } const fn b() {} \
                      macro_rules! c { () => {} } mod d { enum E {} } pub const F: u8 = 0;";
        let scopes = scopes(source);
        assert_eq!(
            scopes[0].items.iter().map(String::as_str).collect::<Vec<_>>(),
            ["A", "F", "b", "c", "fn"]
        );
        assert_eq!(scopes[1].path, ["d"]);
        assert!(scopes[1].items.contains("E"));
    }

    #[test]
    fn declared_modules_name_their_files() {
        let source = "mod a; #[cfg(x)]\n#[path = \"other.rs\"]\npub mod b;";
        let declared = scopes(source).remove(0).declared;
        let files: Vec<_> = declared.iter().map(|module| module.file.as_deref()).collect();
        assert_eq!(files, [None, Some("other.rs")]);
        assert_eq!(declared[1].name, "b");
    }

    #[test]
    fn paths_where_names_are_used() {
        let paths =
            scopes("fn f() { crate::a::b::<u8>(x); let y: super::C = D::new(); }").remove(0).paths;
        let found: Vec<_> = paths.iter().map(|import| import.path.join("::")).collect();
        assert_eq!(found, ["crate::a::b", "super::C", "D::new"]);
    }
}
