//! What must hold is said where the entry is: `adce_gateway::fuzz::proxy_credentials`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| adce_gateway::fuzz::proxy_credentials(bytes));
