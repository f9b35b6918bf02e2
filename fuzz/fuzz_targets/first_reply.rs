#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::first_reply::run(data));
