//! Tests of the readers of files: one module for each family of formats.

mod arrays;
mod examples;
mod matlab_files;
mod tables;
mod zip_files;
