//! libFuzzer's way in; the property is in `fuzz/src/bencode.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sameseed_fuzz::bencode::check(data));
