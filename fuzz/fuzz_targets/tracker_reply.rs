//! libFuzzer's way in; the property is in `fuzz/src/tracker_reply.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sameseed_fuzz::tracker_reply::check(data));
