//! libFuzzer's way in; the property is in `fuzz/src/engine_ops.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sameseed_fuzz::engine_ops::check(data));
