#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sameseed_fuzz::tracker_reply::check(data));
