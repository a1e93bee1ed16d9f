//! Does a real containerd refuse what the policy refuses, and pull what it admits?
//!
//! Every test has a node of its own: containerd and a registry from `tests/env`, pratique's image verifier in front of
//! its pulls, and a `pratiqued` beside it. Images are pulled as `ctr` and as the kubelet do it, and a refused one must
//! leave nothing behind. Signatures come from `pratique sign` and from the Notary Project's own tool.
//!
//! Needs root and `.tools` (fetched by the first test where it is missing). Without them the tests fail and say why: a
//! gate that nobody tried must not look like one that holds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "all of this crate is test, also what stands outside of `#[test]` functions"
)]

#[path = "../support/authority.rs"]
mod authority;
#[path = "../support/issuer.rs"]
mod issuer;
#[path = "../support/responders.rs"]
#[allow(dead_code, reason = "servers that misbehave are for the tests of the command line")]
mod responders;

mod archive;
mod containerd;
mod cri;
mod faults;
mod node;
mod notation;
mod pratiqued;
mod scene;
mod signature;
mod tools;

mod bounds;
mod copying;
mod doctor;
mod enroll;
mod envelopes;
mod external_signing;
mod install;
mod interop;
mod layers;
mod local_images;
mod matrix;
mod notation_command;
mod outages;
mod pushing;
mod reconcile;
mod reload;
mod revocation;
mod round_trips;
mod run;
mod saved_images;
mod signers;
