#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sameseed_fuzz::wire_decoder::check(data));
