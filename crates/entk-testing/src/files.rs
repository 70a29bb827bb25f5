//! Files that tests look for or compare: built programs, and tables of documents that are made from
//! the code. Called by tests of programs and of guides.

use std::{io, path::PathBuf};

/// A file of the profile in which the test was built, such as `entk` or `examples/fig02`.
///
/// # Errors
/// Where it has not been built, as when one test of one package was built alone.
pub fn built(path: &str) -> io::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let found = test.ancestors().nth(2).map(|profile| profile.join(path));
    found.filter(|found| found.exists()).ok_or_else(|| {
        let message = format!("{path} is not built: run the tests of the whole workspace");
        io::Error::new(io::ErrorKind::NotFound, message)
    })
}

/// Compares the part of a document between two marks with what it has to be; with `UPDATE_DOCS` in
/// the environment it is written.
///
/// # Panics
/// Where it differs, and on a document without the marks.
pub fn check_document(path: &str, [begin, end]: [&str; 2], expected: &str) {
    let document = std::fs::read_to_string(path).expect("the document");
    let (before, rest) = document.split_once(begin).expect("the begin of the part");
    let (found, after) = rest.split_once(end).expect("the end of the part");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let document = format!("{before}{begin}\n{expected}{end}{after}");
        std::fs::write(path, document).expect("the document");
    } else {
        assert_eq!(found.trim(), expected.trim(), "set UPDATE_DOCS=1 to write {path}");
    }
}
