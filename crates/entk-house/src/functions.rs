//! Lengths of functions, from `fn` to the closing brace.

use crate::{
    tokens::{Token, end_of_group, tokens, without_tests},
    tree::{File, Finding},
};

/// A function with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its file.
    pub path: String,
    /// The line of `fn`.
    pub line: usize,
    /// The number of lines, of `fn` and the brace included.
    pub length: usize,
}

/// The functions of a file, without unit tests.
pub fn functions(file: &File) -> Vec<Function> {
    let tokens = without_tests(&tokens(&file.text));
    let starts = (0..tokens.len()).filter(|&at| tokens[at].is("fn"));
    starts.filter_map(|at| function(file, &tokens, at)).collect()
}

fn function(file: &File, tokens: &[Token<'_>], at: usize) -> Option<Function> {
    let name = tokens.get(at + 1).filter(|token| token.is_word())?;
    let open = body(tokens, at + 2)?;
    let last = tokens[end_of_group(tokens, open) - 1].line;
    let (line, path) = (tokens[at].line, file.path.clone());
    Some(Function { name: name.text.to_owned(), path, line, length: last - line + 1 })
}

/// The index of the brace that opens the body; none for a declaration.
fn body(tokens: &[Token<'_>], mut at: usize) -> Option<usize> {
    loop {
        let token = tokens.get(at)?;
        if token.is("{") {
            return Some(at);
        } else if token.is(";") {
            return None;
        }
        at = if token.is("(") || token.is("[") { end_of_group(tokens, at) } else { at + 1 };
    }
}

/// A finding for each length that is over its limit: of the median, of nine in ten functions.
pub fn long(mut functions: Vec<Function>, median: usize, nine_in_ten: usize) -> Vec<Finding> {
    functions.sort_by(|a, b| b.length.cmp(&a.length).then_with(|| a.path.cmp(&b.path)));
    let at = |share: usize| functions.get(functions.len() * share / 100).map_or(0, |f| f.length);
    if at(50) <= median && at(10) <= nine_in_ten {
        return Vec::new();
    }
    let longest = functions.iter().take(10).map(|f| {
        let what = format!("`{}` has {} lines", f.name, f.length);
        Finding::new(&f.path, f.line, what)
    });
    let what = format!(
        "median {} of at most {median} lines, nine in ten {} of at most {nine_in_ten}",
        at(50),
        at(10)
    );
    std::iter::once(Finding::new("crates", 0, what)).chain(longest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        File { path: "crates/x/src/a.rs".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn lengths_count_from_fn_to_the_brace() {
        let source = "#[inline]\npub fn a() {\n    \"}\"\n    // }\n}\ntrait T { fn b(x: [u8; 2]); \
                      fn c() -> fn(u8) { d }\n}\n#[cfg(test)]\nmod tests { fn e() {} }";
        let found: Vec<_> =
            functions(&file(source)).into_iter().map(|f| (f.name, f.line, f.length)).collect();
        assert_eq!(found, [("a".to_owned(), 2, 4), ("c".to_owned(), 6, 1)]);
    }

    #[test]
    fn limits_are_of_the_median_and_of_nine_in_ten() {
        let of = |length| Function { name: "f".to_owned(), path: String::new(), line: 1, length };
        let lengths =
            |long: usize| (0..20).map(move |i| of(if i < long { 30 } else { 3 })).collect();
        assert_eq!(long(lengths(2), 6, 20), []);
        assert_eq!(long(lengths(3), 6, 20).len(), 11);
        assert_eq!(long(lengths(3), 6, 30), []);
    }
}
