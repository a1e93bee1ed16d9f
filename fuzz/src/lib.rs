//! Fuzz targets and their seeds. `tests/fuzz.rs` of the crate above runs the same for a moment.

pub mod seeds;
pub mod targets;
