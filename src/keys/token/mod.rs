//! Keys on PKCS #11 tokens: smart cards, HSMs, and `SoftHSM`.
//!
//! A module is foreign code: whatever it does is done on a thread of its own and has an end. What it signs is
//! checked by whoever makes an envelope of it, as for every [`Signer`].

mod choose;
mod error;
mod find;
mod mechanism;

use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use jiff::Timestamp;

pub use error::TokenError;
use find::Found;
use mechanism::Way;

use super::Passphrase;
use super::bounded::Bounded;
use crate::pki::{Certificate, Chain, SignatureAlgorithm, TokenUri};
use crate::sign::{HolderError, SignError, Signer};

/// How long a module may take for one piece of work. A network HSM answers within a second; a person who has to touch a
/// device needs longer.
pub const DEFAULT_TIME: Duration = Duration::from_secs(30);

/// A token that fits a URI, with a session.
pub struct Token {
    work: Bounded<Opened>,
    uri: TokenUri,
    label: String,
    login: Login,
}

/// What a token asks for before it shows its private keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// Nothing.
    None,
    /// Its PIN.
    Pin,
    /// Its PIN, at a keypad of its own.
    AtDevice,
}

/// What lives on the module's thread.
struct Opened {
    context: Pkcs11,
    session: Session,
    slot: Slot,
}

impl Token {
    /// Loads the module and finds the one token that fits. Each call into the module may take `time`.
    pub fn open(uri: &TokenUri, time: Duration) -> Result<Self, TokenError> {
        let wanted = uri.clone();
        let work = Bounded::start(time, move || Opened::new(&wanted))?;
        let info = work.ask(|opened| opened.info())??;
        let login = match (info.login_required(), info.protected_authentication_path()) {
            (false, _) => Login::None,
            (true, false) => Login::Pin,
            (true, true) => Login::AtDevice,
        };
        Ok(Self { work, uri: uri.clone(), label: info.label().to_owned(), login })
    }

    /// The token's label.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What it asks for.
    pub fn login(&self) -> Login {
        self.login
    }

    /// Logs in. One try: a wrong PIN is counted by the token.
    pub fn log_in(&self, pin: Option<&Passphrase>) -> Result<(), TokenError> {
        let pin = match (self.login, pin) {
            (Login::None, _) => return Ok(()),
            (Login::AtDevice, _) => None,
            (Login::Pin, None) => return Err(TokenError::NoPin(self.label.clone())),
            (Login::Pin, Some(pin)) => Some(AuthPin::new(pin.expose().into())),
        };
        let label = self.label.clone();
        self.work.ask(move |opened| opened.log_in(&label, pin.as_ref()))?
    }

    /// The key that fits the URI, with its chain: from a file where certificates are given, otherwise from the token. Of several
    /// keys the one with the newest certificate is taken.
    pub fn into_key(self, certificates: Option<Vec<Certificate>>, now: Timestamp) -> Result<TokenKey, TokenError> {
        let (uri, label) = (self.uri.clone(), self.label.clone());
        let found = self.work.ask(move |opened| find::key(&opened.session, &uri, &label, certificates, now))??;
        let Found { key, certificates } = found;
        let chain = Chain::code_signing(certificates).map_err(TokenError::Chain)?;
        let spec = chain.leaf_key().spec();
        let available = self.work.ask(|opened| opened.context.get_mechanism_list(opened.slot))??;
        let Some(way) = Way::of(spec, &available) else {
            return Err(TokenError::NoMechanism { token: self.label, mechanism: Way::wanted(spec) });
        };
        Ok(TokenKey { work: self.work, key, chain, way })
    }
}

impl Opened {
    fn new(uri: &TokenUri) -> Result<Self, TokenError> {
        let context = find::module(uri)?;
        match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            // A second key of the same module.
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(error.into()),
        }
        let slot = find::slot(&context, uri)?;
        let session = context.open_ro_session(slot)?;
        Ok(Self { context, session, slot })
    }

    fn info(&self) -> Result<TokenInfo, TokenError> {
        Ok(self.context.get_token_info(self.slot)?)
    }

    fn log_in(&self, label: &str, pin: Option<&AuthPin>) -> Result<(), TokenError> {
        // A try would be counted for nothing.
        if self.info()?.user_pin_locked() {
            return Err(TokenError::PinLocked(label.to_owned()));
        }
        let Err(error) = self.session.login(UserType::User, pin) else { return Ok(()) };
        let label = label.to_owned();
        Err(match error {
            Error::Pkcs11(RvError::UserAlreadyLoggedIn, _) => return Ok(()),
            Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _) => {
                TokenError::WrongPin { token: label, warning: warning(&self.info()?) }
            }
            Error::Pkcs11(RvError::PinLocked, _) => TokenError::PinLocked(label),
            Error::Pkcs11(RvError::PinExpired | RvError::UserPinNotInitialized, _) => TokenError::PinExpired(label),
            error => error.into(),
        })
    }
}

/// How much is left before the token locks, as far as it says.
fn warning(info: &TokenInfo) -> &'static str {
    if info.user_pin_locked() {
        "it is locked now"
    } else if info.user_pin_final_try() {
        "one more wrong PIN locks it"
    } else if info.user_pin_count_low() {
        "it locks after some more"
    } else {
        "tokens lock after a few"
    }
}

/// A key that never leaves its token.
pub struct TokenKey {
    work: Bounded<Opened>,
    key: ObjectHandle,
    chain: Chain,
    way: Way,
}

impl Signer for TokenKey {
    fn chain(&self) -> &[Certificate] {
        self.chain.certificates()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.chain.leaf_key().spec().signature_algorithm()
    }

    fn sign(&self, to_be_signed: &[u8]) -> Result<Vec<u8>, SignError> {
        let (way, key, input) = (self.way, self.key, self.way.input(to_be_signed));
        let signature = self.work.ask(move |opened| opened.session.sign(&way.mechanism(), key, &input));
        let signature = signature.map_err(TokenError::from).and_then(|signature| Ok(signature?));
        signature.map_err(|error| {
            SignError::Holder(match error {
                TokenError::Pending => HolderError::pending(error),
                error => HolderError::new(error),
            })
        })
    }

    fn check_validity(&self, at: Timestamp) -> Result<(), SignError> {
        self.chain.check_validity(at).map_err(|error| SignError::NotValidNow(error.to_string()))
    }
}
