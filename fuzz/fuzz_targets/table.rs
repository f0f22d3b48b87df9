//! What must hold is said where the entry is: `adce_inventory::fuzz::table`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| adce_inventory::fuzz::table(bytes));
