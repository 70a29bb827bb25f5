//! What is kept: results as files and settings as JSON.

mod results;
mod settings;
