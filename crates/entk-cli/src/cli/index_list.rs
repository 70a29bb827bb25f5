//! Lists of indices on the command line, as `1,2,10..50:10`: text comes in, ascending indices from
//! 1 go out, none of them beyond what there is. Used by the flags of the figures.

use std::{fmt, str::FromStr};

use anyhow::{Context, Result};
use clap::Args;
use serde::{Serialize, Serializer};

use crate::cli::refused::{ensure_input, refused};

/// Eigenfunctions that a figure shows by default.
const SHOWN: [usize; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

/// More indices than this in one list are taken for a slip of the pen.
const MOST: usize = 1_000_000;

/// Indices of eigenfunctions or directions, counted from 1, ascending and without repetition.
///
/// Written as numbers and ranges between commas. A range `a..b` runs from `a` to `b`, both
/// included, and `a..b:step` goes in steps.
///
/// ```
/// use entk_cli::IndexList;
///
/// let list: IndexList = "1,2,5,10..50:10".parse()?;
/// assert_eq!(list.as_slice(), [1, 2, 5, 10, 20, 30, 40, 50]);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexList(Vec<usize>);

impl IndexList {
    /// The indices, ascending.
    pub fn as_slice(&self) -> &[usize] {
        &self.0
    }

    /// The largest index.
    pub fn max(&self) -> usize {
        self.0.last().copied().unwrap_or(0)
    }

    /// Checks that every index is at most `limit`.
    ///
    /// # Errors
    ///
    /// When one is not; `what` names in the message what is counted, as in `"eigenfunctions"`.
    pub fn check_at_most(&self, limit: usize, what: &str) -> Result<()> {
        let max = self.max();
        ensure_input(max <= limit, || {
            format!("index {max} is out of range: there are {limit} {what}; use 1..{limit}")
        })?;
        Ok(())
    }
}

impl FromStr for IndexList {
    /// All that is wrong, in one line: what reads flags prints no causes.
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let mut indices = Vec::new();
        for item in text.split(',').map(str::trim) {
            let added = extend(&mut indices, item);
            added.map_err(|error| format!("in the index list {text:?}: {error:#}"))?;
        }
        indices.sort_unstable();
        indices.dedup();
        Ok(Self(indices))
    }
}

/// The flag of the eigenfunctions that a figure shows, to be flattened into a program's own.
#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IndexFlags {
    /// Eigenfunctions, counted from 1, by falling eigenvalue [default:
    /// 1,2,5,10,20,50,100,200,500,1000, as far as there are]
    #[arg(long, value_name = "LIST")]
    pub indices: Option<IndexList>,
}

impl IndexFlags {
    /// The indices asked for, or the default ones that are at most `limit`.
    ///
    /// # Errors
    /// An index beyond the limit.
    pub fn up_to(&self, limit: usize) -> Result<Vec<usize>> {
        indices(self.indices.as_ref(), &SHOWN, limit)
    }
}

/// The indices asked for, or those of `usual` that are at most `limit`.
///
/// # Errors
/// An index beyond the limit.
pub fn indices(asked: Option<&IndexList>, usual: &[usize], limit: usize) -> Result<Vec<usize>> {
    match asked {
        None => Ok(usual.iter().copied().filter(|index| *index <= limit).collect()),
        Some(list) => {
            list.check_at_most(limit, "eigenfunctions")?;
            Ok(list.as_slice().to_vec())
        }
    }
}

fn extend(indices: &mut Vec<usize>, item: &str) -> Result<()> {
    let Some((first, rest)) = item.split_once("..") else {
        indices.push(parse_index(item)?);
        return Ok(());
    };
    let (last, step) = rest.split_once(':').unwrap_or((rest, "1"));
    let (first, last) = (parse_index(first)?, parse_index(last)?);
    let step = parse_index(step).with_context(|| format!("the step of {item:?}"))?;
    ensure_input(first <= last, || {
        format!("the range {item:?} runs backwards; write {last}..{first}")
    })?;
    let count = (last - first) / step + 1;
    ensure_input(indices.len().saturating_add(count) <= MOST, || {
        format!("more than {MOST} indices; use a larger step")
    })?;
    indices.extend((first..=last).step_by(step));
    Ok(())
}

fn parse_index(text: &str) -> Result<usize> {
    match text.trim().parse::<usize>() {
        Ok(0) => Err(refused("found 0, but counting starts at 1")),
        Ok(index) => Ok(index),
        Err(_) => Err(refused(format!(
            "expected a number like 5 or a range like 10..50:10, found {:?}",
            text.trim()
        ))),
    }
}

impl fmt::Display for IndexList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, index) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { "," };
            write!(f, "{separator}{index}")?;
        }
        Ok(())
    }
}

impl Serialize for IndexList {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> std::result::Result<Vec<usize>, String> {
        text.parse::<IndexList>().map(|list| list.0)
    }

    #[test]
    fn numbers_ranges_and_steps() {
        assert_eq!(parse("1"), Ok(vec![1]));
        assert_eq!(parse("3..6"), Ok(vec![3, 4, 5, 6]));
        assert_eq!(parse("1..10:4"), Ok(vec![1, 5, 9]));
        assert_eq!(parse(" 7, 2 ,2..3 "), Ok(vec![2, 3, 7]));
        assert_eq!(parse("5..5"), Ok(vec![5]));
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            ("", "expected a number"),
            ("1,,2", "expected a number"),
            ("0", "counting starts at 1"),
            ("-1", "found \"-1\""),
            ("1.5", "found \"1.5\""),
            ("9..3", "runs backwards; write 3..9"),
            ("1..9:0", "the step of \"1..9:0\": found 0"),
            ("1..", "found \"\""),
            ("1..99999999999", "more than 1000000 indices"),
            ("x..5", "in the index list \"x..5\""),
        ];
        for (text, expected) in cases {
            let error = parse(text).expect_err(text);
            assert!(error.contains(expected), "{text:?} gave {error:?}");
        }
    }

    #[test]
    fn limits_name_what_is_counted() -> std::result::Result<(), String> {
        let list: IndexList = "1,500".parse()?;
        assert!(list.check_at_most(500, "eigenfunctions").is_ok());
        let error = list.check_at_most(400, "eigenfunctions").map_err(|e| e.to_string());
        assert_eq!(
            error,
            Err("index 500 is out of range: there are 400 eigenfunctions; use 1..400".into())
        );
        Ok(())
    }

    #[test]
    fn display_parses_back() -> std::result::Result<(), String> {
        let list: IndexList = "1,2,10..30:10".parse()?;
        assert_eq!(list.to_string(), "1,2,10,20,30");
        assert_eq!(list.to_string().parse::<IndexList>()?, list);
        Ok(())
    }
}
