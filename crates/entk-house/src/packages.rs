//! What a registry asks of the manifests of published crates, which building does not check.
//!
//! A tree comes in; keys that are missing, keywords and categories that would be refused and files
//! that a package lacks go out. The script that prepares releases checks the packages themselves.

use crate::tree::{File, Finding, Tree};

/// Limits of the registry.
const MOST: usize = 5;
const LONGEST_KEYWORD: usize = 20;

/// Keys of `[package]` that every published crate has.
const KEYS: [&str; 9] = [
    "description",
    "rust-version",
    "license",
    "categories",
    "keywords",
    "repository",
    "documentation",
    "readme",
    "edition",
];

/// Files beside the manifest: the page of the registry and the texts of both licences.
const FILES: [&str; 3] = ["README.md", "LICENSE-MIT", "LICENSE-APACHE"];

/// What the manifests of published crates lack, with the categories that exist.
pub fn unpublishable(tree: &Tree, categories: &[&str]) -> Vec<Finding> {
    let is_crate = |file: &&File| {
        file.path.starts_with("crates/")
            && file.path.ends_with("/Cargo.toml")
            && tree.is_published(file.package())
    };
    let crates = tree.files().iter().filter(is_crate);
    crates.flat_map(|file| unpublishable_of(tree, file, categories)).collect()
}

fn unpublishable_of(tree: &Tree, file: &File, categories: &[&str]) -> Vec<Finding> {
    let missing = KEYS.iter().filter(|key| line_of(file, key).is_none());
    let is_absent = |name: &&&str| tree.get(&format!("{}/{name}", file.folder())).is_none();
    let absent = FILES.iter().filter(is_absent);
    let whole = missing.map(|key| (1, format!("`{key}` is missing")));
    let beside = absent.map(|name| (1, format!("there is no {name} beside it")));
    let keywords = refused(file, "keywords", is_keyword);
    let categories = refused(file, "categories", |name| categories.contains(&name));
    let all = whole.chain(beside).chain(keywords).chain(categories);
    all.map(|(line, what)| Finding::new(&file.path, line, what)).collect()
}

/// What is wrong with a list of words, by lines.
fn refused(file: &File, key: &str, fits: impl Fn(&str) -> bool) -> Vec<(usize, String)> {
    let Some((line, values)) = line_of(file, key) else { return Vec::new() };
    let values = strings(values);
    let count = format!("{} {key}, 1 to {MOST} are allowed", values.len());
    let count = (!(1..=MOST).contains(&values.len())).then_some(count);
    let bad = values.iter().filter(|value| !fits(value));
    let bad = bad.map(|value| format!("`{value}` is refused as one of {key}"));
    count.into_iter().chain(bad).map(|what| (line, what)).collect()
}

/// The line of a key of `[package]`, from 1, and what follows the key.
fn line_of<'a>(file: &'a File, key: &str) -> Option<(usize, &'a str)> {
    let package =
        (1..).zip(file.text.lines()).skip(1).take_while(|(_, text)| !text.starts_with('['));
    let mut found = package.filter_map(|(line, text)| Some((line, text.strip_prefix(key)?)));
    found.find(|(_, rest)| rest.starts_with([' ', '.', '=']))
}

/// The quoted parts of a line.
fn strings(line: &str) -> Vec<&str> {
    line.split('"').skip(1).step_by(2).collect()
}

fn is_keyword(word: &str) -> bool {
    word.len() <= LONGEST_KEYWORD
        && word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_+".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "[package]\ndescription = \"x\"\nrust-version.workspace = true\n\
                         license.workspace = true\nedition.workspace = true\n\
                         repository.workspace = true\ndocumentation = \"x\"\nreadme = \"x\"\n";

    fn found(lists: &str, files: &[&str]) -> Vec<String> {
        let manifest = File {
            path: "crates/a/Cargo.toml".to_owned(),
            text: format!("{WHOLE}{lists}\n[dependencies]\n"),
        };
        let beside = |name: &&str| File { path: format!("crates/a/{name}"), text: String::new() };
        let files = files.iter().map(beside).chain([manifest]).collect();
        let findings = unpublishable(&Tree::of(files), &["science"]);
        findings.iter().map(|finding| format!("{} {}", finding.line, finding.what)).collect()
    }

    #[test]
    fn a_whole_manifest_passes() {
        assert_eq!(found("keywords = [\"ntk\"]\ncategories = [\"science\"]", &FILES), [""; 0]);
    }

    #[test]
    fn what_the_registry_refuses_is_found() {
        let lists = "keywords = [\"neural-tangent-kernel\", \"3d\", \"ok\", \"b\", \"c\", \"d\"]\n\
                     categories = [\"magic\"]";
        let expected = [
            "1 there is no LICENSE-APACHE beside it",
            "9 6 keywords, 1 to 5 are allowed",
            "9 `neural-tangent-kernel` is refused as one of keywords",
            "9 `3d` is refused as one of keywords",
            "10 `magic` is refused as one of categories",
        ];
        assert_eq!(found(lists, &FILES[..2]), expected);
        assert_eq!(found("keywords = [\"a\"]", &FILES), ["1 `categories` is missing"]);
    }
}
