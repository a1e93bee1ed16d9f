//! What another program or device says about why it did not sign.

use std::error::Error;
use std::fmt;

use crate::remedy::{Code, Remedy};

/// The error of whatever holds a key that is not in memory. Only the holder's own module knows its kinds.
#[derive(Debug)]
pub struct HolderError(Box<dyn Remedy + Send + Sync>);

impl HolderError {
    /// The error as its holder states it.
    pub fn new(error: impl Remedy + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for HolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for HolderError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl Remedy for HolderError {
    fn code(&self) -> Code {
        self.0.code()
    }

    fn remedy(&self) -> Option<String> {
        self.0.remedy()
    }
}
