//! Any bytes as a picture's file: `cargo +nightly fuzz run metadata fuzz/corpus/metadata tests/fixtures/metadata`.
//!
//! The same entry point runs over mutated fixtures in the test suite (`tests/tintype/metadata/hostile.rs`).
#![no_main]

use libfuzzer_sys::fuzz_target;
use tintype::gallery::metadata;

fuzz_target!(|bytes: &[u8]| {
    let _ = metadata::read_bytes(bytes, &|name| Some(name.to_owned()));
});
