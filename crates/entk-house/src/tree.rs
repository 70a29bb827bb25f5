//! The text of a workspace, and what checks say about it.
//!
//! Every check takes a [`Tree`], read from a folder or given in tests, and returns [`Finding`]s.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

/// A file of the workspace.
#[derive(Debug)]
pub struct File {
    /// Path from the root of the workspace, with `/`.
    pub path: String,
    /// Its text; empty for files that are neither Rust, Markdown nor TOML.
    pub text: String,
}

impl File {
    /// The crate it belongs to: the folder below `crates`, or `examples`, `benches`, `docs`.
    pub fn package(&self) -> &str {
        let path = self.path.strip_prefix("crates/").unwrap_or(&self.path);
        path.split('/').next().unwrap_or(path)
    }

    /// Whether it is Rust source.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether it is source of a library: `crates/NAME/src`.
    pub fn is_library(&self) -> bool {
        self.is_rust() && self.path.starts_with("crates/") && self.path.contains("/src/")
    }

    /// The folder it lies in.
    pub fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

/// What a check has against a line of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file's path from the root of the workspace.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what to do.
    pub what: String,
}

impl Finding {
    /// `what` about a line of a file.
    pub fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// All files of a workspace, by path in ascending order.
#[derive(Debug)]
pub struct Tree {
    files: Vec<File>,
}

impl Tree {
    /// The files below `root`, without hidden folders other than `.ci`, build outputs and results.
    ///
    /// # Errors
    /// Whatever reading a folder or a file returns.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut paths = Vec::new();
        collect(root, &mut paths)?;
        let files = paths.iter().map(|path| read(root, path)).collect::<io::Result<Vec<_>>>()?;
        Ok(Self::of(files))
    }

    /// A tree of the given files.
    pub fn of(mut files: Vec<File>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { files }
    }

    /// All files.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// Rust source.
    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }

    /// Source of libraries.
    pub fn libraries(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_library())
    }

    /// Whether the manifest of this crate lets it be published.
    pub fn is_published(&self, package: &str) -> bool {
        let manifest = self.get(&format!("crates/{package}/Cargo.toml"));
        !manifest.is_some_and(|file| file.text.contains("publish = false"))
    }

    /// The file of this path.
    pub fn get(&self, path: &str) -> Option<&File> {
        let found = self.files.binary_search_by(|file| file.path.as_str().cmp(path));
        found.ok().map(|index| &self.files[index])
    }
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or(".");
        if path.is_dir() {
            if name == ".ci" || !(name.starts_with('.') || ["target", "results"].contains(&name)) {
                collect(&path, paths)?;
            }
        } else {
            paths.push(path);
        }
    }
    Ok(())
}

fn read(root: &Path, path: &Path) -> io::Result<File> {
    let kind = path.extension().and_then(|extension| extension.to_str());
    let is_text = matches!(kind, Some("rs" | "md" | "toml"));
    let text = if is_text { fs::read_to_string(path)? } else { String::new() };
    let path = path.strip_prefix(root).unwrap_or(path);
    Ok(File { path: path.to_string_lossy().replace('\\', "/"), text })
}
