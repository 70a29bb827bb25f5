//! libFuzzer's entry to the target `pairs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entk_fuzz::run("pairs", data));
