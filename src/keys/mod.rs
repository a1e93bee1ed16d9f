//! Where keys are kept, and how to get at them: passphrases, and PKCS #11 tokens.
//!
//! What is signed, and whether it may be, is decided elsewhere. This room opens what holds a key and gives a
//! [`Signer`](crate::sign::Signer).

mod bounded;
mod passphrase;
mod terminal;
pub mod token;

pub use passphrase::{Passphrase, PassphraseError, PassphraseSource, is_exposed};
