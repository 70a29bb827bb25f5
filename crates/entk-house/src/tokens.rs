//! Rust source as tokens with their lines.
//!
//! The checks of imports, functions and words read these: comments are left out, a string is one
//! token, and braces in either are none.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An identifier or a keyword.
    Word,
    /// `::`, or one character of punctuation.
    Mark,
    /// A string literal with its quotes.
    Text,
    /// A number, a character or a lifetime.
    Other,
}

/// One token of a source file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its characters.
    pub text: &'a str,
    /// Offset of its first byte.
    pub start: usize,
    /// The line it begins on, from 1.
    pub line: usize,
}

impl Token<'_> {
    /// Whether it is this word or punctuation.
    pub fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Mark) && self.text == text
    }

    /// Whether it is an identifier or a keyword.
    pub fn is_word(&self) -> bool {
        self.kind == Kind::Word
    }
}

/// All tokens of `source`.
pub fn tokens(source: &str) -> Vec<Token<'_>> {
    let (mut found, mut start, mut line) = (Vec::new(), 0, 1);
    while start < source.len() {
        let (kind, length) = scan(&source[start..]);
        let text = &source[start..start + length];
        found.extend(kind.map(|kind| Token { kind, text, start, line }));
        line += text.matches('\n').count();
        start += length;
    }
    found
}

/// The tokens outside of items marked `#[cfg(test)]`.
pub fn without_tests<'a>(all: &[Token<'a>]) -> Vec<Token<'a>> {
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < all.len() {
        if matches(&all[at..], &["#", "[", "cfg", "(", "test", ")", "]"]) {
            at = end_of_item(all, at + 7);
        } else {
            kept.push(all[at]);
            at += 1;
        }
    }
    kept
}

/// Whether the tokens begin with these words and marks.
pub fn matches(tokens: &[Token<'_>], pattern: &[&str]) -> bool {
    tokens.len() >= pattern.len() && tokens.iter().zip(pattern).all(|(token, text)| token.is(text))
}

/// The index after the group that opens at `at`, which holds `(`, `[` or `{`.
pub fn end_of_group(tokens: &[Token<'_>], at: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(at) {
        if token.is("(") || token.is("[") || token.is("{") {
            depth += 1;
        } else if token.is(")") || token.is("]") || token.is("}") {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return index + 1;
            }
        }
    }
    tokens.len()
}

/// The index after the item that begins at `at`: its `;`, or its block.
fn end_of_item(tokens: &[Token<'_>], mut at: usize) -> usize {
    let mut ends_with_block = true;
    while at < tokens.len() {
        let token = tokens[at];
        ends_with_block &= !["use", "const", "static", "type"].iter().any(|word| token.is(word));
        if token.is(";") {
            return at + 1;
        } else if token.is("{") && ends_with_block {
            return end_of_group(tokens, at);
        }
        let opens = token.is("(") || token.is("[") || token.is("{");
        at = if opens { end_of_group(tokens, at) } else { at + 1 };
    }
    at
}

/// Kind and length in bytes of what `rest` begins with; no kind for spaces and comments.
fn scan(rest: &str) -> (Option<Kind>, usize) {
    let first = rest.chars().next().unwrap_or(' ');
    if first.is_whitespace() {
        (None, first.len_utf8())
    } else if let Some(length) = comment(rest) {
        (None, length)
    } else if let Some(length) = string(rest) {
        (Some(Kind::Text), length)
    } else if first == '\'' {
        (Some(Kind::Other), character_or_lifetime(rest))
    } else if first.is_ascii_digit() {
        (Some(Kind::Other), number(rest))
    } else if is_word(first) {
        (Some(Kind::Word), rest.find(|c| !is_word(c)).unwrap_or(rest.len()))
    } else if rest.starts_with("::") {
        (Some(Kind::Mark), 2)
    } else {
        (Some(Kind::Mark), first.len_utf8())
    }
}

fn is_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    rest.strip_prefix("/*")?;
    let (mut depth, mut at) = (1, 2);
    while depth > 0 && at < rest.len() {
        let two = &rest.as_bytes()[at..(at + 2).min(rest.len())];
        depth = match two {
            b"/*" => depth + 1,
            b"*/" => depth - 1,
            _ => depth,
        };
        at += if two == b"/*" || two == b"*/" { 2 } else { 1 };
    }
    Some(at)
}

fn string(rest: &str) -> Option<usize> {
    let prefix = rest.find(|c| !matches!(c, 'b' | 'c' | 'r'))?;
    let hashes = rest[prefix..].bytes().take_while(|&byte| byte == b'#').count();
    let body = rest[prefix + hashes..].strip_prefix('"')?;
    let length = match rest[..prefix].contains('r') {
        true => {
            let end = format!("\"{}", "#".repeat(hashes));
            body.find(&end).map(|at| at + end.len())
        }
        false if hashes == 0 => closing_quote(body, b'"'),
        false => return None,
    };
    Some(length.map_or(rest.len(), |length| prefix + hashes + 1 + length))
}

/// The offset after the first `quote` that no backslash escapes.
fn closing_quote(body: &str, quote: u8) -> Option<usize> {
    let mut escaped = false;
    body.bytes()
        .position(|byte| {
            let closes = byte == quote && !escaped;
            escaped = byte == b'\\' && !escaped;
            closes
        })
        .map(|at| at + 1)
}

fn character_or_lifetime(rest: &str) -> usize {
    let body = &rest[1..];
    let first = body.chars().next().unwrap_or('\'');
    if first == '\\' || body[first.len_utf8()..].starts_with('\'') {
        1 + closing_quote(body, b'\'').unwrap_or(body.len())
    } else {
        1 + body.find(|c| !is_word(c)).unwrap_or(body.len())
    }
}

/// The length of a number; `0..n` is the number 0 and two points.
fn number(rest: &str) -> usize {
    let whole = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    let digits = rest[whole..]
        .strip_prefix('.')
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    digits.map_or(whole, |rest| whole + 1 + rest.find(|c| !is_word(c)).unwrap_or(rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<&str> {
        tokens(source).iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_are_left_out_and_strings_are_one_token() {
        let source =
            "a /* { /* nested */ } */ \"}{\\\"\" // {\n r#\"\"}\"# b\"x\" 'c' '\\'' '}' &'a x";
        let expected =
            ["a", "\"}{\\\"\"", "r#\"\"}\"#", "b\"x\"", "'c'", "'\\''", "'}'", "&", "'a", "x"];
        assert_eq!(texts(source), expected);
    }

    #[test]
    fn numbers_do_not_swallow_ranges() {
        assert_eq!(texts("0..n 1.5e3 x.0"), ["0", ".", ".", "n", "1.5e3", "x", ".", "0"]);
    }

    #[test]
    fn lines_count_those_in_strings() {
        let lines: Vec<_> = tokens("a\n\"\n\n\" b").iter().map(|token| token.line).collect();
        assert_eq!(lines, [1, 2, 4]);
    }

    #[test]
    fn test_items_are_left_out() {
        let source = "a; #[cfg(test)] mod tests { fn x() {} } b; #[cfg(test)] use c::{d, e}; f \
                      #[cfg(test)] #[allow(x)] fn g(y: [u8; 2]) {} h #[cfg(test)] mod i; j";
        let kept: Vec<_> = without_tests(&tokens(source)).iter().map(|token| token.text).collect();
        assert_eq!(kept, ["a", ";", "b", ";", "f", "h", "j"]);
    }
}
