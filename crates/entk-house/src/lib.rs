//! How the workspace is laid out, as checks that its tests run.
//!
//! A [`Tree`](tree::Tree) is the text of all files. Each check takes one and returns
//! [`Finding`](tree::Finding)s with file and line; what is allowed (the order of crates, the words
//! to avoid) is data in `tests/house.rs`. Source is read as [`tokens`](tokens::tokens), without a
//! compiler and without dependencies.
#![forbid(unsafe_code)]

pub mod circles;
pub mod docs;
pub mod file_calls;
pub mod functions;
pub mod imports;
pub mod manifests;
pub mod modules;
pub mod packages;
pub mod sizes;
pub mod tokens;
pub mod tree;
pub mod words;
