//! What issuers say about their certificates by now, as far as somebody brought it.
//!
//! Whoever decides says what it needs, somebody else goes there, and what came of it lies here when it is decided. That
//! nobody answered is evidence, too: it is told apart from an answer that was never asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::outcome::Problem;
use super::plugin::{PluginAnswer, PluginQuestion};
use crate::pki::revocation::{MAX_CRL_SIZE, MAX_OCSP_RESPONSE_SIZE};

/// Something to be fetched before a verdict can be reached. The address comes out of a certificate whose chain leads to a
/// trust anchor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// The answer of an OCSP responder.
    Ocsp {
        /// The responder's address.
        url: String,
        /// The DER of the request.
        request: Vec<u8>,
    },
    /// A certificate revocation list.
    Crl {
        /// Its address.
        url: String,
    },
}

impl Need {
    /// The address.
    pub fn url(&self) -> &str {
        match self {
            Self::Ocsp { url, .. } | Self::Crl { url } => url,
        }
    }

    /// How many bytes of an answer are read.
    pub fn size_limit(&self) -> usize {
        match self {
            Self::Ocsp { .. } => MAX_OCSP_RESPONSE_SIZE,
            Self::Crl { .. } => MAX_CRL_SIZE,
        }
    }

    /// What is asked there, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ocsp { .. } => "OCSP",
            Self::Crl { .. } => "CRL",
        }
    }
}

/// Revocation lists, each in DER.
pub type Lists = Arc<[Arc<[u8]>]>;

/// What was brought. Nothing in it is believed before it has been looked at.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    lists: Lists,
    lists_problem: Option<Problem>,
    asks_everybody: bool,
    remembered: BTreeMap<Need, Arc<[u8]>>,
    answers: BTreeMap<Need, Result<Arc<[u8]>, Problem>>,
    consulted: Vec<Consultation>,
}

/// A plugin's answer, and the first instant at which it is too old, if there is one.
#[derive(Clone, Debug)]
struct Consultation {
    question: PluginQuestion,
    answer: Result<PluginAnswer, Problem>,
    until: Option<Timestamp>,
}

impl Evidence {
    /// With the revocation lists that an operator has put there, which are asked before anybody else; or with what stands
    /// in the way of reading them: then what they would say is unknown, of a certificate that names nobody, too.
    pub fn with_lists(lists: Result<Lists, Problem>) -> Self {
        match lists {
            Ok(lists) => Self { lists, ..Self::default() },
            Err(problem) => Self { lists_problem: Some(problem), ..Self::default() },
        }
    }

    /// The same, for whoever wants to know about every certificate, also once one of them is known to be revoked.
    #[must_use]
    pub fn asking_everybody(self, asks_everybody: bool) -> Self {
        Self { asks_everybody, ..self }
    }

    /// Whether everybody is asked, also when one answer has decided.
    pub(super) fn asks_everybody(&self) -> bool {
        self.asks_everybody
    }

    /// Adds an answer to an earlier question. It counts while it is good; otherwise it is as if it were not there.
    pub fn remember(&mut self, need: Need, bytes: Arc<[u8]>) {
        self.remembered.insert(need, bytes);
    }

    /// Adds what came of asking: bytes, or why there are none.
    pub fn answer(&mut self, need: Need, answer: Result<Arc<[u8]>, Problem>) {
        self.answers.insert(need, answer);
    }

    /// Adds what came of asking a plugin: its answer, or why there is none. It is good until that instant, if there is one.
    pub fn consult(
        &mut self,
        question: PluginQuestion,
        answer: Result<PluginAnswer, Problem>,
        until: Option<Timestamp>,
    ) {
        self.consulted.push(Consultation { question, answer, until });
    }

    /// The bytes by which a need was met.
    pub fn bytes(&self, need: &Need) -> Option<&Arc<[u8]>> {
        self.answers.get(need).and_then(|answer| answer.as_ref().ok()).or_else(|| self.remembered.get(need))
    }

    pub(super) fn lists(&self) -> impl Iterator<Item = &[u8]> {
        self.lists.iter().map(AsRef::as_ref)
    }

    pub(super) fn lists_problem(&self) -> Option<&Problem> {
        self.lists_problem.as_ref()
    }

    pub(super) fn remembered(&self, need: &Need) -> Option<&[u8]> {
        self.remembered.get(need).map(AsRef::as_ref)
    }

    pub(super) fn answered(&self, need: &Need) -> Option<Result<&[u8], &Problem>> {
        Some(self.answers.get(need)?.as_ref().map(AsRef::as_ref))
    }

    pub(super) fn consulted(
        &self,
        question: &PluginQuestion,
    ) -> Option<(Result<&PluginAnswer, &Problem>, Option<Timestamp>)> {
        let consultation = self.consulted.iter().find(|consultation| consultation.question == *question)?;
        Some((consultation.answer.as_ref(), consultation.until))
    }
}
