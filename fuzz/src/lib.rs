//! The fuzz targets. `tests/fuzz.rs` of the crate above runs the same for a moment, and writes what they begin with.

pub mod targets;
