//! What goes wrong with tokens, told apart: a wrong PIN must not be tried again, and a missing token is not a missing key.

use std::time::Duration;

use cryptoki::error::{Error, RvError};

use super::super::bounded::NoAnswer;
use crate::pki::InvalidChain;
use crate::remedy::{Code, Remedy};

/// "Not yet" (PKCS #11 3.2, general return values), which the bindings do not know by name.
const CKR_PENDING: u64 = 0x204;

/// Why a token did not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The URI names no module.
    #[error("the URI of the key names no PKCS #11 module")]
    NoModule,
    /// The module cannot be loaded.
    #[error("the PKCS #11 module {module} cannot be used: {fault}")]
    Module {
        /// The file.
        module: String,
        /// What the linker or the module says.
        fault: String,
    },
    /// The module is another than the URI asks for.
    #[error("the PKCS #11 module is another than the URI names: {0}")]
    OtherModule(String),
    /// The module did not answer in time, or its thread is gone.
    #[error("the PKCS #11 module gave no answer within {} seconds", .0.as_secs())]
    TimedOut(Duration),
    /// The module brought its thread to an end.
    #[error("the PKCS #11 module failed")]
    Crashed,
    /// No slot has such a token.
    #[error("no token fits the URI of the key; there are: {0}")]
    NoToken(String),
    /// More than one slot has.
    #[error("more than one token fits the URI of the key: {0}")]
    Tokens(String),
    /// The token asks for a PIN, and none was given.
    #[error("the token `{0}` asks for its PIN")]
    NoPin(String),
    /// It is wrong.
    #[error("the PIN is not that of the token `{token}`; {warning}")]
    WrongPin {
        /// The token's label.
        token: String,
        /// What the token says about further tries.
        warning: &'static str,
    },
    /// After too many wrong ones.
    #[error("the PIN of the token `{0}` is locked")]
    PinLocked(String),
    /// It is not set, or its time is over.
    #[error("the PIN of the token `{0}` must be set anew")]
    PinExpired(String),
    /// No private key of the token fits.
    #[error("no private key of the token `{0}` fits the URI")]
    NoKey(String),
    /// Several do, and nothing says which is meant.
    #[error("{count} private keys of the token fit, and {fault}")]
    Keys {
        /// How many.
        count: usize,
        /// Why none of them can be preferred.
        fault: &'static str,
    },
    /// More objects than are looked at.
    #[error("more than {0} objects of the token fit")]
    TooMany(usize),
    /// No certificate belongs to the key.
    #[error("the token has no certificate that belongs to the key")]
    NoCertificate,
    /// The certificate in the file is another key's.
    #[error("the certificate `{0}` belongs to none of the token's keys that fit the URI")]
    OtherCertificate(String),
    /// The token cannot sign as Notary demands.
    #[error("the token `{token}` cannot sign with {mechanism}")]
    NoMechanism {
        /// The token's label.
        token: String,
        /// What it would need.
        mechanism: &'static str,
    },
    /// The key wants its PIN before each signature, or may not sign.
    #[error("the token does not let the key sign: {0}")]
    KeyRefused(&'static str),
    /// Somebody has to agree first, at the token.
    #[error("the token has not signed yet: it waits for somebody to approve (CKR_PENDING)")]
    Pending,
    /// Somebody has not agreed, at the token.
    #[error("the signature was rejected at the token (CKR_FUNCTION_REJECTED)")]
    Rejected,
    /// The certificates are not a chain of Notary's profile.
    #[error("the certificates cannot be used for signing")]
    Chain(#[source] InvalidChain),
    /// Anything else.
    #[error("the token failed: {0}")]
    Failed(String),
}

impl Remedy for TokenError {
    fn code(&self) -> Code {
        Code(match self {
            Self::NoModule => "token-module-missing",
            Self::Module { .. } | Self::OtherModule(_) => "token-module-unusable",
            Self::TimedOut(_) => "token-timeout",
            Self::NoToken(_) => "token-missing",
            Self::Tokens(_) => "token-ambiguous",
            Self::NoPin(_) => "token-pin-missing",
            Self::WrongPin { .. } => "token-pin-wrong",
            Self::PinLocked(_) => "token-pin-locked",
            Self::PinExpired(_) => "token-pin-expired",
            Self::NoKey(_) => "token-key-missing",
            Self::Keys { .. } => "token-key-ambiguous",
            Self::TooMany(_) => "token-objects-too-many",
            Self::NoCertificate => "token-certificate-missing",
            Self::OtherCertificate(_) => "token-certificate-mismatch",
            Self::NoMechanism { .. } => "token-mechanism-missing",
            Self::KeyRefused(_) => "token-key-refused",
            Self::Pending => "token-pending",
            Self::Rejected => "token-rejected",
            Self::Chain(error) => return error.code(),
            Self::Crashed | Self::Failed(_) => "token-failed",
        })
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::NoModule => "add `?module-path=/path/to/module.so` to the URI".into(),
            Self::Module { .. } | Self::OtherModule(_) => "see `module-path` in the URI of the key".into(),
            Self::TimedOut(_) => "see whether the device answers; `--token-timeout` gives it longer".into(),
            Self::NoToken(_) => "plug the token in, or see `token`, `serial` and `slot-id` in the URI of the key".into(),
            Self::Tokens(_) => "add `serial` or `slot-id` to the URI of the key".into(),
            Self::NoPin(_) => {
                "give it with `--passphrase-env`, `--passphrase-fd` or `--passphrase-file`, or as `pin-source` in the URI"
                    .into()
            }
            Self::WrongPin { .. } => "do not try again before you are sure: tokens lock".into(),
            Self::PinLocked(_) => "have the token's security officer unlock it".into(),
            Self::PinExpired(_) => "set it with the tool of the token's manufacturer".into(),
            Self::NoKey(_) => "see `object` and `id` in the URI of the key".into(),
            Self::Keys { .. } => "add `id` to the URI of the key".into(),
            Self::NoCertificate => "put the certificate on the token with the key's `CKA_ID`, or name a file with it".into(),
            Self::OtherCertificate(_) => "put the leaf certificate of this key first in the certificate file".into(),
            Self::Pending => "have it approved there; `--approval-timeout` waits for that".into(),
            Self::Rejected => "ask whoever guards the token".into(),
            Self::KeyRefused(_) => "see with which rights the key was made".into(),
            Self::Chain(error) => return error.remedy(),
            Self::TooMany(_) | Self::NoMechanism { .. } | Self::Crashed | Self::Failed(_) => return None,
        })
    }
}

impl From<NoAnswer> for TokenError {
    fn from(error: NoAnswer) -> Self {
        match error {
            NoAnswer::TimedOut(time) => Self::TimedOut(time),
            NoAnswer::Gone => Self::Crashed,
        }
    }
}

impl From<Error> for TokenError {
    fn from(error: Error) -> Self {
        match error {
            Error::Pkcs11(RvError::UserNotLoggedIn, _) => {
                Self::KeyRefused("it asks for the PIN before each signature, which is not supported")
            }
            Error::Pkcs11(RvError::KeyFunctionNotPermitted, _) => Self::KeyRefused("it is not a key for signing"),
            Error::Pkcs11(RvError::FunctionRejected, _) => Self::Rejected,
            Error::Pkcs11(RvError::UnknownErrorCode(CKR_PENDING), _) => Self::Pending,
            // The long texts of the standard say less than its names.
            Error::Pkcs11(error, function) => Self::Failed(format!("{function}: {}", name(error))),
            error => Self::Failed(error.to_string()),
        }
    }
}

fn name(error: RvError) -> String {
    match error {
        RvError::VendorDefined(code) => format!("the manufacturer's code {code:#x}"),
        error => format!("{error:?}"),
    }
}
