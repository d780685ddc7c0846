//! libFuzzer's way in; the property is in `fuzz/src/sha_lanes.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sameseed_fuzz::sha_lanes::check(data));
