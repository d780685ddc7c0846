//! libFuzzer's way in; the property is in `fuzz/src/peer_session.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sameseed_fuzz::peer_session::check(data));
