//! What another program or device says about why it did not sign.

use std::error::Error;
use std::fmt;

use crate::remedy::{Code, Remedy};

/// The error of whatever holds a key that is not in memory. Only the holder's own module knows its kinds.
#[derive(Debug)]
pub struct HolderError {
    error: Box<dyn Remedy + Send + Sync>,
    is_pending: bool,
}

impl HolderError {
    /// The error as its holder states it.
    pub fn new(error: impl Remedy + Send + Sync + 'static) -> Self {
        Self { error: Box::new(error), is_pending: false }
    }

    /// The same, where the holder may give the signature to whoever asks again for the very same one.
    pub fn pending(error: impl Remedy + Send + Sync + 'static) -> Self {
        Self { is_pending: true, ..Self::new(error) }
    }

    /// The error itself, where it is of this kind.
    pub fn of_kind<E: Error + 'static>(&self) -> Option<&E> {
        let error: &(dyn Error + 'static) = self.error.as_ref();
        error.downcast_ref()
    }

    /// Whether it is worth while to ask again.
    pub fn is_pending(&self) -> bool {
        self.is_pending
    }
}

impl fmt::Display for HolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for HolderError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

impl Remedy for HolderError {
    fn code(&self) -> Code {
        self.error.code()
    }

    fn remedy(&self) -> Option<String> {
        self.error.remedy()
    }
}
