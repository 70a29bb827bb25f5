//! Which array of a file is meant: `FILE:NAME` comes in, a path and a name go out, and the one of
//! the file's arrays that has it. Called by the readers of files of several arrays.

use std::path::Path;

use crate::error::{DataError, Result};

/// Names in a message at most.
const NAMED: usize = 20;

/// The file and the name behind it. What is a file as a whole has no name; otherwise the file ends
/// before the first colon before which there is one.
pub(crate) fn split(path: &Path) -> (&Path, Option<&str>) {
    let Some(text) = path.to_str().filter(|_| !path.exists()) else { return (path, None) };
    let parts = text.match_indices(':').map(|(at, _)| (Path::new(&text[..at]), &text[at + 1..]));
    let mut named = parts.filter(|(file, name)| !name.is_empty() && file.is_file());
    named.next().map_or((path, None), |(file, name)| (file, Some(name)))
}

/// The index of the wanted name among those of the file's arrays; of a single one without a name.
pub(super) fn choose(names: &[&str], wanted: Option<&str>, file: &str) -> Result<usize> {
    let found = match wanted {
        None => (names.len() == 1).then_some(0),
        Some(wanted) => names.iter().position(|name| *name == wanted),
    };
    found.ok_or_else(|| DataError::ArrayName {
        file: file.to_owned(),
        asked: wanted.map_or("no name says which".to_owned(), |name| format!("{name:?} is none")),
        names: list(names),
    })
}

/// Refuses a name for a file of one array without a name.
pub(super) fn refuse_name(file: &str, wanted: Option<&str>) -> Result<()> {
    if wanted.is_some() { choose(&[], wanted, file).map(|_| ()) } else { Ok(()) }
}

fn list(names: &[&str]) -> String {
    let mut names: Vec<&str> = names.to_vec();
    names.sort_unstable();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    match (names.as_slice(), more) {
        ([], _) => "one array without a name; leave the name out".to_owned(),
        (names, 0) => names.join(", "),
        (names, more) => format!("{} and {more} more", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_follows_the_first_colon_behind_a_file() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("a.npz"), "")?;
        assert_eq!(split(&path("a.npz")), (path("a.npz").as_path(), None));
        let named = path("a.npz:x:0");
        assert_eq!(split(&named), (path("a.npz").as_path(), Some("x:0")));
        // A file of that very name goes before.
        #[cfg(unix)]
        {
            std::fs::write(&named, "")?;
            assert_eq!(split(&named), (named.as_path(), None));
        }
        for whole in ["b.npz:x", "a.npz:", "b"] {
            assert_eq!(split(&path(whole)), (path(whole).as_path(), None));
        }
        Ok(())
    }

    #[test]
    fn names_are_listed_where_none_or_another_is_given() {
        let message = |names: &[&str], wanted| {
            choose(names, wanted, "f").map_or_else(|error| error.to_string(), |at| at.to_string())
        };
        assert_eq!(message(&["b", "a"], Some("a")), "1");
        assert_eq!(message(&["b"], None), "0");
        assert!(message(&["b", "a"], None).contains("a, b"));
        assert!(message(&["b"], Some("c")).contains("\"c\" is none"));
        let many: Vec<String> = (0..30).map(|i| format!("n{i}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(message(&many, None).contains("and 10 more"));
        assert!(refuse_name("f", None).is_ok() && refuse_name("f", Some("x")).is_err());
    }
}
