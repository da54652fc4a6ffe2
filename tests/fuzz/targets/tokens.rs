//! A text of words and signs that the language has: each byte chooses one.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| cdcql_fuzz::read(&cdcql_fuzz::tokens::text_of(bytes)));
