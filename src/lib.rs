//! pratique admits container images to a node only when their signatures satisfy the node's policy.

#[cfg(feature = "host")]
pub mod client;
#[cfg(feature = "host")]
pub mod clock;
#[cfg(feature = "host")]
pub mod config;
#[cfg(feature = "host")]
pub mod daemon;
pub mod envelope;
#[cfg(feature = "host")]
pub mod hook;
#[cfg(feature = "host")]
pub mod install;
#[cfg(feature = "host")]
pub mod judge;
pub mod oci;
pub mod pki;
pub mod policy;
#[cfg(feature = "host")]
pub mod proto;
pub mod remedy;
pub mod sign;
#[cfg(feature = "host")]
pub mod source;
pub mod verify;
