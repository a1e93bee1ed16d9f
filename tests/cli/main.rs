//! The command line, held by what it prints and by its exit status: the real binary, a notation directory of its own for
//! each test, and a registry that does as it is told.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may end in a panic, and says what cannot be repeated without being told"
)]

#[path = "../support/registry.rs"]
mod registry;
#[path = "../support/responders.rs"]
mod responders;

#[path = "../support/vectors.rs"]
mod cases;

#[path = "../support/authority.rs"]
mod authority;
#[path = "../support/soft_hsm.rs"]
mod soft_hsm;

mod mirrors;
mod node;
mod service;

mod approval;
mod approval_files;
mod archives;
mod attach;
mod attach_many;
mod attach_trust;
mod bad_input;
mod blob;
mod bounds;
mod cert;
mod completion;
mod copy;
mod detached;
mod doctor;
mod hints;
mod hostile;
mod inspect;
mod key;
mod ls;
mod notation_blob;
mod passphrase;
mod payload;
mod places;
mod plugin;
mod plugin_install;
mod plugin_signing;
mod prune;
mod push_sign;
mod recursive;
mod revocation;
mod rm;
mod sign;
mod templates;
mod timestamp;
mod tls;
mod token;
mod usage;
mod vectors;
mod verify;
