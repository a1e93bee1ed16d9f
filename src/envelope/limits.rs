//! How much of an envelope is read.

/// The largest envelope that may be configured, in bytes. The reference implementation's documentation speaks of 10 MiB,
/// and a chain of sixteen certificates with a time-stamp token stays below 100 KiB.
pub const MAX_ENVELOPE_SIZE: u64 = 10 * 1024 * 1024;

/// The largest envelope that is read unless the operator says otherwise, in bytes.
pub const DEFAULT_ENVELOPE_SIZE: u64 = 1024 * 1024;

/// How many attributes a signed header may have. Notary defines seven; the rest is room for plugins.
pub const MAX_ATTRIBUTES: usize = 64;
