//! Names and numbers of the OCI specifications: references, digests, descriptors, manifests.
//!
//! Everything here is form alone: parsing says that a text is a reference or that bytes are a manifest, never that
//! anybody vouches for it. Bytes become a [`Blob`] only when they hash to the digest they were asked for by.

mod descriptor;
mod digest;
mod json;
mod links;
mod location;
mod manifest;
pub mod media_type;
mod platform;
mod reference;

pub use descriptor::{Blob, BlobMismatch, Descriptor};
pub use digest::{Digest, DigestAlgorithm, Hasher, InvalidDigest};
pub use json::{InvalidJson, MAX_DEPTH, Members as JsonMembers, check_depth, parse as parse_json};
pub use links::Links;
pub use location::{ContainerdName, InvalidLocation, LayoutName, Location};
pub use manifest::{Index, InvalidManifest, MAX_MANIFEST_SIZE, Manifest, SignatureManifest, media_type_of};
pub use platform::{InvalidPlatform, Platform, PlatformError};
pub use reference::{InvalidReference, Reference, Repository, Tag};
