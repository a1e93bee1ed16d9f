#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pratique_fuzz::targets::archive_members(bytes);
});
