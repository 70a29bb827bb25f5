//! Words that are not used in code, and names that two crates define.

use std::collections::BTreeMap;

use crate::{
    tokens::{Token, matches, tokens, without_tests},
    tree::{File, Finding, Tree},
};

/// What a banned word is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Words anywhere, in comments and documents too; identifiers are split at `_` and capitals, so
    /// that `apple` is in `first_apple`.
    Word,
    /// Words of identifiers, but for those of five words or more, which are sentences.
    Noun,
    /// Whole identifiers.
    Name,
    /// Names of types: `struct`, `enum`, `trait`, `type`.
    Type,
    /// Names of modules.
    Module,
}

/// A word that is not used.
#[derive(Debug, Clone, Copy)]
pub struct Banned {
    /// The word.
    pub word: &'static str,
    /// Where it is looked for.
    pub scope: Scope,
    /// The crate it is banned in; all if empty.
    pub package: &'static str,
    /// What to say instead.
    pub instead: &'static str,
}

/// Uses of banned words in source and documents.
pub fn banned_words(tree: &Tree, banned: &[Banned]) -> Vec<Finding> {
    let read = tree.files().iter().filter(|file| !file.text.is_empty());
    read.flat_map(|file| {
        let here = |entry: &&Banned| ["", file.package()].contains(&entry.package);
        let banned: Vec<_> = banned.iter().filter(here).collect();
        [in_text(file, &banned), in_code(file, &banned)].concat()
    })
    .collect()
}

fn in_text(file: &File, banned: &[&Banned]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let anywhere = banned.iter().filter(|entry| entry.scope == Scope::Word);
    for (entry, (line, text)) in
        anywhere.flat_map(|entry| (1..).zip(file.text.lines()).map(move |line| (entry, line)))
    {
        let identifiers = text.split(|c: char| c != '_' && !c.is_alphanumeric());
        let hit = identifiers.into_iter().find(|found| words(found).any(|word| word == entry.word));
        findings.extend(hit.map(|found| entry.finding(file, line, found)));
    }
    findings
}

fn in_code(file: &File, banned: &[&Banned]) -> Vec<Finding> {
    let tokens = if file.is_rust() { tokens(&file.text) } else { Vec::new() };
    let mut findings = Vec::new();
    for (at, token) in tokens.iter().enumerate().filter(|(_, token)| token.is_word()) {
        let before = at.checked_sub(1).map_or("", |before| tokens[before].text);
        let hits = banned.iter().filter(|entry| entry.matches(token.text, before));
        findings.extend(hits.map(|entry| entry.finding(file, token.line, token.text)));
    }
    findings
}

impl Banned {
    fn matches(&self, identifier: &str, before: &str) -> bool {
        match self.scope {
            Scope::Word => false,
            Scope::Noun => {
                let words: Vec<_> = words(identifier).collect();
                words.len() < 5 && words.iter().any(|word| word == self.word)
            }
            Scope::Name => identifier == self.word,
            Scope::Type => identifier == self.word && TYPES.contains(&before),
            Scope::Module => identifier == self.word && before == "mod",
        }
    }

    fn finding(&self, file: &File, line: usize, found: &str) -> Finding {
        let what = format!("`{found}`: not {} but {}", self.word, self.instead);
        Finding::new(&file.path, line, what)
    }
}

const TYPES: [&str; 4] = ["struct", "enum", "trait", "type"];

/// The words of an identifier in small letters.
pub fn words(identifier: &str) -> impl Iterator<Item = String> {
    let mut split = String::new();
    let mut last_is_small = false;
    for character in identifier.chars() {
        if character.is_uppercase() && last_is_small {
            split.push('_');
        }
        last_is_small = character.is_lowercase() || character.is_numeric();
        split.extend(character.to_lowercase());
    }
    split.split('_').map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// Arguments `theta: &Params`, which are called `params`.
pub fn theta_arguments(tree: &Tree) -> Vec<Finding> {
    tree.rust().flat_map(theta_arguments_of).collect()
}

fn theta_arguments_of(file: &File) -> Vec<Finding> {
    let tokens: Vec<_> =
        tokens(&file.text).into_iter().filter(|token| !token.text.starts_with('\'')).collect();
    let is_argument = |at: &usize| {
        ["theta", "theta0"].iter().any(|name| matches(&tokens[*at..], &[name, ":", "&", "Params"]))
    };
    let found = (0..tokens.len()).filter(is_argument);
    found
        .map(|at| Finding::new(&file.path, tokens[at].line, "the argument is `params: &Params`"))
        .collect()
}

/// Public types of one name in two published libraries, without those of `allowed`.
pub fn doubled_types(tree: &Tree, allowed: &[&str]) -> Vec<Finding> {
    let mut places: BTreeMap<String, BTreeMap<&str, (&File, usize)>> = BTreeMap::new();
    for file in tree.libraries().filter(|file| tree.is_published(file.package())) {
        for (name, line) in public_types(file) {
            places.entry(name).or_default().entry(file.package()).or_insert((file, line));
        }
    }
    places.retain(|name, places| places.len() > 1 && !allowed.contains(&name.as_str()));
    let findings = places.into_iter().flat_map(|(name, places)| {
        let crates = places.keys().copied().collect::<Vec<_>>().join(" and ");
        let what = format!("a public `{name}` is in {crates}");
        places.into_values().map(move |(file, line)| Finding::new(&file.path, line, what.clone()))
    });
    findings.collect()
}

fn public_types(file: &File) -> Vec<(String, usize)> {
    let tokens = without_tests(&tokens(&file.text));
    let is_type = |window: &[Token<'_>]| window[0].is("pub") && TYPES.contains(&window[1].text);
    let types = tokens.windows(3).filter(|window| is_type(window));
    types.map(|window| (window[2].text.to_owned(), window[2].line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let file =
            |&(path, text): &(&str, &str)| File { path: path.to_owned(), text: text.to_owned() };
        Tree::of(files.iter().map(file).collect())
    }

    const fn banned(word: &'static str, scope: Scope) -> Banned {
        Banned { word, scope, package: "", instead: "another" }
    }

    fn lines(source: &str, entry: Banned) -> Vec<usize> {
        let found = banned_words(&tree(&[("crates/x/src/a.rs", source)]), &[entry]);
        found.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn identifiers_split_at_underscores_and_capitals() {
        let split = |name| words(name).collect::<Vec<_>>();
        assert_eq!(split("FirstApple_of2Trees"), ["first", "apple", "of2", "trees"]);
        assert_eq!(split("PROBE_EDGE"), ["probe", "edge"]);
    }

    #[test]
    fn words_names_types_and_modules() {
        let source =
            "let first_apple = 1;\nstruct Apple;\n// apple \"apple\"\nlet applet;\nmod apple;";
        assert_eq!(lines(source, banned("apple", Scope::Word)), [1, 2, 3, 5]);
        assert_eq!(lines(source, banned("apple", Scope::Noun)), [1, 2, 5]);
        assert_eq!(lines("fn a_tree_has_one_apple() {}", banned("apple", Scope::Noun)), [0; 0]);
        assert_eq!(lines(source, banned("apple", Scope::Name)), [5]);
        assert_eq!(lines(source, banned("Apple", Scope::Type)), [2]);
        assert_eq!(lines(source, banned("apple", Scope::Module)), [5]);
        assert_eq!(lines(source, Banned { package: "y", ..banned("apple", Scope::Word) }), [0; 0]);
    }

    #[test]
    fn arguments_are_called_params() {
        let source =
            "fn f(theta: &Params) {}\nfn g<'a>(theta0: &'a Params) {}\nfn h(params: &Params) {}";
        assert_eq!(theta_arguments(&tree(&[("a.rs", source)])).len(), 2);
    }

    #[test]
    fn a_public_type_has_one_crate() {
        let files = [
            ("crates/x/src/a.rs", "pub struct A; pub type R = u8; pub(crate) struct B;"),
            ("crates/x/src/b.rs", "pub struct A;"),
            ("crates/y/src/a.rs", "pub enum A {} pub type R = u8; pub struct B;"),
        ];
        assert_eq!(doubled_types(&tree(&files), &["R"]).len(), 2);
        assert_eq!(doubled_types(&tree(&files), &["R", "A"]), []);
    }
}
