//! Folders of images and tables in Parquet, which need the features of their names.

mod folders;
mod parquet_files;
