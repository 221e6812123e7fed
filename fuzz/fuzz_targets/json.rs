#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| milescale_fuzzed::json_text(bytes));
