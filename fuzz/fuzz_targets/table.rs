//! libFuzzer's entry to the target `table`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entk_fuzz::run("table", data));
