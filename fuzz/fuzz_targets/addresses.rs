//! What must hold is said where the entry is: `adce_gateway::fuzz::addresses`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| adce_gateway::fuzz::addresses(bytes));
