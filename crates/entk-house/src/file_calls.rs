//! Calls of the file system past the one module that all go through.
//!
//! A tree and the paths where such calls belong come in; calls elsewhere go out.

use crate::{
    tokens::{Token, matches, tokens, without_tests},
    tree::{File, Finding, Tree},
};

/// Operations on files outside of tests in published libraries and in programs, but for paths that
/// begin with one of `allowed`.
pub fn direct_file_calls(tree: &Tree, allowed: &[&str]) -> Vec<Finding> {
    let is_program = |file: &&File| {
        file.is_rust() && file.package() == "examples" && !file.path.starts_with("examples/tests/")
    };
    let is_published = |file: &&File| tree.is_published(file.package());
    let files = tree.libraries().filter(is_published).chain(tree.rust().filter(is_program));
    let checked = files.filter(|file| !allowed.iter().any(|path| file.path.starts_with(path)));
    checked.flat_map(calls).collect()
}

fn calls(file: &File) -> Vec<Finding> {
    let tokens = without_tests(&tokens(&file.text));
    let found = (0..tokens.len()).filter(|at| is_call(&tokens[*at..]));
    let what = "use a function of `entk_device::files`, where tests inject faults";
    found.map(|at| Finding::new(&file.path, tokens[at].line, what)).collect()
}

fn is_call(tokens: &[Token<'_>]) -> bool {
    let is_function = |token: &Token<'_>| token.text.starts_with(|c: char| c.is_lowercase());
    let of_module = matches(tokens, &["fs", "::"]) && tokens.get(2).is_some_and(is_function);
    let of_file = matches(tokens, &["File", "::"]) && tokens.get(2).is_some_and(is_function);
    of_module || of_file && !tokens[2].text.contains("lock") || tokens[0].is("OpenOptions")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_outside_of_tests() {
        let text = "use std::fs::File;\nlet a = std::fs::read(p)?;\nlet b = File::open(p)?;\n\
                    let c = File::try_lock;\n#[cfg(test)]\nmod tests { fn f() { fs::write(p, q); } }\n";
        let file = |path: &str| File { path: path.to_owned(), text: text.to_owned() };
        let paths = ["examples/src/a.rs", "examples/tests/a.rs", "crates/a/src/b.rs"];
        let tree = Tree::of(paths.map(file).into());
        let lines: Vec<_> =
            direct_file_calls(&tree, &["crates/a"]).iter().map(|f| f.line).collect();
        assert_eq!(lines, [2, 3]);
        assert_eq!(direct_file_calls(&tree, &[]).len(), 4);
    }
}
