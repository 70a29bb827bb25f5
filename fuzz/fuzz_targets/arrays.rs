//! libFuzzer's entry to the target `arrays`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entk_fuzz::run("arrays", data));
