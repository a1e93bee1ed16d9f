//! The doors at which a runtime asks: each translates its protocol's question and its protocol's answer, and holds no
//! rule of its own. An error comes out as the protocol's "no".

pub mod diff;
pub mod image_verifier;
pub mod runtime;
