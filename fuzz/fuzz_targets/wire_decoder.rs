//! libFuzzer's way in; the property is in `fuzz/src/wire_decoder.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sameseed_fuzz::wire_decoder::check(data));
