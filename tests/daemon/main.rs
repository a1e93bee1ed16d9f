//! The daemon as systemd starts it, and the verifier as containerd starts it: real processes, asked over real sockets.
//!
//! Nothing here waits by the clock: the daemon tells when it is ready, as it tells systemd.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may end in a panic"
)]

#[path = "../support/registry.rs"]
mod registry;

#[path = "../support/issuer.rs"]
mod issuer;
#[path = "../support/responders.rs"]
#[allow(dead_code, reason = "servers that misbehave are for the tests of the command line")]
mod responders;

mod api;
mod ending;
mod hooks;
mod layers;
mod metrics;
mod node;
mod plugins;
mod reloading;
mod revocation;
mod runtime;
mod starting;
