//! Who may sign what: the trust policy file, and the trust anchors that it names, as values.
//!
//! Nothing here reads a file or a clock. [`Policy::parse`] turns the bytes of a `trustpolicy.json` into statements that
//! hold every rule of the specification, and one bad statement makes the whole document invalid: half a policy must never
//! be in force. [`Trust`] joins a policy with its trust anchors into the one immutable snapshot that a verdict is made
//! against.
//!
//! Follows the Notary trust store and trust policy specification, version 1.0. Where the reference implementation is
//! laxer, the specification decides: a `skip` statement for every repository is refused, and so is anything but white
//! space after the document.

mod beginning;
mod document;
mod fault;
mod identity;
mod level;
mod members;
mod mode;
mod scope;
mod selection;
mod statement;
mod trust;

pub use beginning::FirstStatement;
pub use document::{MAX_POLICY_SIZE, Policy};
pub use fault::{InvalidPolicy, PolicyFault};
pub use identity::{Identities, Identity, InvalidIdentity};
pub use level::{Action, InvalidOverride, Level, LevelName, Validation, VerifyTimestamp};
pub use mode::{ImageVolumes, Mode, OrphanLayers, Reconcile, SandboxImage, WithoutImage};
pub use scope::{InvalidScope, Scope};
pub use statement::{MAX_IDENTITIES, Statement};
pub use trust::{InvalidTrustStore, StoreKind, StoreProblem, Trust, TrustStore, is_safe_name};
