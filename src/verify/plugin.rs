//! What the verification plugin that a signer demands is asked, and what its answers come to.
//!
//! Nothing is run here: a [`PluginQuestion`] says what is to be asked, somebody else asks, and the answer is evidence like
//! any other. A plugin never says that a signature is good. It says that it has understood what only it understands, and
//! it may take over two checks: whether the signer is trusted, and whether its certificates were revoked.
//!
//! Follows the Notary plugin specification, "Verification workflow using plugin".

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use semver::Version;

use super::evidence::Evidence;
use super::outcome::{Problem, State};
use crate::envelope::{ExtendedAttribute, PluginDemand, SignedAttributes, SigningScheme};
use crate::pki::Chain;
use crate::policy::{Action, Identities, Statement, Validation, is_safe_name};
use crate::remedy::{cut, excerpt};

/// How many characters of a plugin's reason are told: a sentence or two.
const MAX_REASON: usize = 200;

/// A check that a plugin may take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PluginCheck {
    /// Whether the signer is one that the statement trusts, once its chain leads to an anchor.
    TrustedIdentity,
    /// Whether a certificate of the chain was revoked.
    Revocation,
}

impl PluginCheck {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::TrustedIdentity, Self::Revocation];

    /// The capability that a plugin has for it.
    pub fn capability(self) -> &'static str {
        match self {
            Self::TrustedIdentity => "SIGNATURE_VERIFIER.TRUSTED_IDENTITY",
            Self::Revocation => "SIGNATURE_VERIFIER.REVOCATION_CHECK",
        }
    }
}

/// What a plugin is to be asked before a verdict can be reached. Its name is safe as the name of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginQuestion {
    /// What it is, and which checks it takes over.
    Metadata {
        /// The plugin.
        plugin: String,
    },
    /// What it says about a signature whose chain leads to a trust anchor.
    Signature(Box<SignatureQuestion>),
}

impl PluginQuestion {
    /// The name of the plugin.
    pub fn plugin(&self) -> &str {
        match self {
            Self::Metadata { plugin } => plugin,
            Self::Signature(question) => &question.plugin,
        }
    }
}

/// What a plugin is told about a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureQuestion {
    /// The plugin.
    pub plugin: String,
    /// The lowest version of it that the signer accepts.
    pub minimum_version: Option<Version>,
    /// The signing scheme.
    pub scheme: SigningScheme,
    /// From when the signature is no longer good.
    pub expiry: Option<Timestamp>,
    /// When it was made, where somebody vouches for that.
    pub authentic_signing_time: Option<Timestamp>,
    /// The attributes that are not Notary's own, each with its value as JSON.
    pub extended: BTreeMap<String, String>,
    /// The names of those that it must process.
    pub unprocessed: Vec<String>,
    /// The certificates as DER, leaf first.
    pub certificates: Vec<Vec<u8>>,
    /// The statement's trusted identities, as written.
    pub trusted_identities: Vec<String>,
    /// What it is asked to check.
    pub checks: Vec<PluginCheck>,
}

/// What came of asking a plugin. Well formed, and no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginAnswer {
    /// There is no such plugin, or none is run here.
    NotInstalled,
    /// To [`PluginQuestion::Metadata`].
    Metadata {
        /// Its version, as it says.
        version: String,
        /// The checks that it takes over.
        checks: BTreeSet<PluginCheck>,
    },
    /// To [`PluginQuestion::Signature`].
    Signature {
        /// What it says about each check that it was asked for.
        results: BTreeMap<PluginCheck, PluginResult>,
        /// The names of the attributes that it has processed.
        processed: BTreeSet<String>,
    },
}

/// What a plugin says about one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginResult {
    /// Whether the check holds.
    pub success: bool,
    /// Why, in the plugin's words.
    pub reason: String,
}

/// What the plugin comes to, with this much at hand.
#[derive(Debug)]
pub(super) struct Consulted {
    /// Whether everything was asked and processed that had to be.
    pub(super) state: State,
    /// In the place of our own check of the signer's identity.
    pub(super) identity: Option<State>,
    /// In the place of our own check of revocation.
    pub(super) revocation: Option<State>,
    /// What is to be asked next.
    pub(super) question: Option<PluginQuestion>,
    /// The first instant at which an answer is too old.
    pub(super) until: Option<Timestamp>,
    /// What the plugin has said so far, where one is demanded.
    pub(super) report: Option<PluginReport>,
}

/// What is demanded of a plugin, and what it has said of itself and of the signature: beside the findings, for whoever
/// tells of them in other words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginReport {
    /// The plugin.
    pub name: String,
    /// The lowest version of it that the signer accepts.
    pub minimum_version: Option<Version>,
    /// Its version, as it says.
    pub version: String,
    /// The checks that it says do not hold, and why, in its words.
    pub refusals: BTreeMap<PluginCheck, String>,
}

impl Consulted {
    /// For a signature whose chain leads to an anchor.
    pub(super) fn about(
        chain: &Chain,
        attributes: &SignedAttributes,
        statement: &Statement,
        evidence: &Evidence,
    ) -> Self {
        let mut consulted =
            Self { state: State::Passed, identity: None, revocation: None, question: None, until: None, report: None };
        if let Some(demand) = &attributes.plugin {
            let settled = Consultation { demand, chain, attributes, statement, evidence }.settle(&mut consulted);
            consulted.state = settled.err().unwrap_or(State::Passed);
        }
        consulted
    }

    /// Whether it is not known yet which checks the plugin takes over.
    pub(super) fn is_unknown_yet(&self) -> bool {
        matches!(self.question, Some(PluginQuestion::Metadata { .. }))
    }
}

struct Consultation<'a> {
    demand: &'a PluginDemand,
    chain: &'a Chain,
    attributes: &'a SignedAttributes,
    statement: &'a Statement,
    evidence: &'a Evidence,
}

impl Consultation<'_> {
    /// Goes as far as the answers at hand lead. The state is that of [`Consulted`] where it is not good.
    fn settle(&self, consulted: &mut Consulted) -> Result<(), State> {
        let name = &self.demand.name;
        if !is_safe_name(name) {
            return Err(failed(unsafe_name(name)));
        }
        let PluginAnswer::Metadata { version, checks } =
            self.answer(PluginQuestion::Metadata { plugin: name.clone() }, consulted)?
        else {
            return Err(failed(unavailable(name)));
        };
        consulted.report = Some(PluginReport {
            name: name.clone(),
            minimum_version: self.demand.minimum_version.clone(),
            version: excerpt(version),
            refusals: BTreeMap::new(),
        });
        self.check_version(version)?;
        if checks.is_empty() {
            return Err(failed(without_verification(name)));
        }
        let question = self.question(checks)?;
        let replaced = |check| question.checks.contains(&check).then_some(State::NotReached);
        consulted.identity = replaced(PluginCheck::TrustedIdentity);
        consulted.revocation = replaced(PluginCheck::Revocation);
        if question.checks.is_empty() && question.unprocessed.is_empty() {
            return Ok(());
        }
        let asked = question.clone();
        let PluginAnswer::Signature { results, processed } =
            self.answer(PluginQuestion::Signature(Box::new(question)), consulted)?
        else {
            return Err(failed(unavailable(name)));
        };
        // Names that it was not asked for do no harm.
        if let Some(left) = asked.unprocessed.iter().find(|name| !processed.contains(*name)) {
            return Err(failed(unprocessed(name, left)));
        }
        for check in asked.checks {
            let result = results.get(&check).ok_or_else(|| inconclusive(without_result(name, check)))?;
            let state = if result.success { State::Passed } else { failed(refused(name, check, &result.reason)) };
            if let Some(report) = consulted.report.as_mut().filter(|_| !result.success) {
                report.refusals.insert(check, cut(&result.reason, MAX_REASON));
            }
            match check {
                PluginCheck::TrustedIdentity => consulted.identity = Some(state),
                PluginCheck::Revocation => consulted.revocation = Some(state),
            }
        }
        Ok(())
    }

    /// The answer, where it has been asked for; else it is what is to be asked next.
    fn answer(&self, question: PluginQuestion, consulted: &mut Consulted) -> Result<&PluginAnswer, State> {
        let Some((answer, until)) = self.evidence.consulted(&question) else {
            let problem = unasked(question.plugin());
            consulted.question = Some(question);
            return Err(inconclusive(problem));
        };
        consulted.until = consulted.until.into_iter().chain(until).min();
        answer.map_err(|problem| inconclusive(problem.clone()))
    }

    /// By the precedence of Semantic Versioning, in which a pre-release is below its release.
    fn check_version(&self, installed: &str) -> Result<(), State> {
        let name = &self.demand.name;
        let version = Version::parse(installed).map_err(|_| failed(without_version(name, installed)))?;
        match &self.demand.minimum_version {
            Some(minimum) if version.cmp_precedence(minimum).is_lt() => Err(failed(too_old(name, installed, minimum))),
            _ => Ok(()),
        }
    }

    /// What a statement skips is not asked for.
    fn question(&self, checks: &BTreeSet<PluginCheck>) -> Result<SignatureQuestion, State> {
        let attributes = self.attributes;
        let is_told = |attribute: &&ExtendedAttribute| attribute.value.is_some();
        if let Some(attribute) =
            attributes.extended.iter().find(|attribute| attribute.is_critical && !is_told(attribute))
        {
            return Err(failed(untold(&self.demand.name, &attribute.name)));
        }
        let is_skipped = |check: PluginCheck| {
            check == PluginCheck::Revocation && self.statement.action(Validation::Revocation) == Action::Skip
        };
        let told =
            attributes.extended.iter().filter_map(|attribute| Some((attribute.name.clone(), attribute.value.clone()?)));
        let is_authentic = attributes.scheme == SigningScheme::SigningAuthority;
        Ok(SignatureQuestion {
            plugin: self.demand.name.clone(),
            minimum_version: self.demand.minimum_version.clone(),
            scheme: attributes.scheme,
            expiry: attributes.expiry,
            authentic_signing_time: is_authentic.then_some(attributes.signing_time),
            extended: told.collect(),
            unprocessed: attributes.extended_critical().map(str::to_owned).collect(),
            certificates: self.chain.certificates().iter().map(|certificate| certificate.der().to_vec()).collect(),
            trusted_identities: match self.statement.identities() {
                Identities::Any => vec!["*".to_owned()],
                Identities::Listed(identities) => {
                    identities.iter().map(|identity| identity.as_str().to_owned()).collect()
                }
            },
            checks: checks.iter().copied().filter(|check| !is_skipped(*check)).collect(),
        })
    }
}

fn failed(problem: Problem) -> State {
    State::Failed { problem }
}

fn inconclusive(problem: Problem) -> State {
    State::Inconclusive { problem }
}

/// The finding about a stranger's signature where the statement only logs that nobody vouches for the signer: a stranger's
/// image must not make the node start a program of the stranger's choice.
pub(super) fn of_stranger(attributes: &SignedAttributes) -> State {
    let Some(demand) = &attributes.plugin else { return State::Passed };
    let message = format!(
        "the verification plugin `{}` was not asked, since the signer's chain leads to no trust anchor",
        excerpt(&demand.name)
    );
    let remedy = "if this signer may be trusted, put its root certificate into a trust store that the statement names";
    failed(Problem::new("plugin-not-asked", &message, remedy))
}

fn unasked(plugin: &str) -> Problem {
    let message = format!("the verification plugin `{plugin}` was not asked");
    Problem::new("plugin-not-asked", &message, "ask it, and decide again")
}

fn unsafe_name(name: &str) -> Problem {
    let message =
        format!("the signature demands a verification plugin `{}`, which is no name of a file", excerpt(name));
    Problem::new("plugin-attribute-invalid", &message, "have the image signed again with a plain name")
}

fn unavailable(plugin: &str) -> Problem {
    let message = format!("the signature demands the verification plugin `{plugin}`, which is not available");
    Problem::new("plugin-unavailable", &message, "install the plugin, or have the image signed without one")
}

fn without_version(plugin: &str, version: &str) -> Problem {
    let message = format!("the plugin `{plugin}` says that its version is `{}`, which is none", excerpt(version));
    Problem::new("plugin-version-invalid", &message, "install a release of the plugin that has a semantic version")
}

fn too_old(plugin: &str, version: &str, minimum: &Version) -> Problem {
    let message =
        format!("the plugin `{plugin}` has the version {}, the signer demands {minimum} or later", excerpt(version));
    Problem::new("plugin-too-old", &message, "install a later release of the plugin")
}

fn without_verification(plugin: &str) -> Problem {
    let message = format!("the plugin `{plugin}` verifies nothing");
    Problem::new("plugin-without-verification", &message, "install a release of the plugin that verifies signatures")
}

fn untold(plugin: &str, attribute: &str) -> Problem {
    let message = format!(
        "the critical attribute `{}` is neither text nor number, and no plugin is told of it, nor is `{plugin}`",
        excerpt(attribute)
    );
    Problem::new("plugin-attribute-unprocessed", &message, "have the image signed with plain values")
}

fn unprocessed(plugin: &str, attribute: &str) -> Problem {
    let message = format!("the plugin `{plugin}` has not processed the critical attribute `{}`", excerpt(attribute));
    Problem::new("plugin-attribute-unprocessed", &message, "install the release of the plugin that the signer has used")
}

fn without_result(plugin: &str, check: PluginCheck) -> Problem {
    let message = format!("the plugin `{plugin}` says nothing about {}, which it was asked for", check.capability());
    Problem::new("plugin-answer-malformed", &message, "ask the publisher of the plugin")
}

fn refused(plugin: &str, check: PluginCheck, reason: &str) -> Problem {
    let reason = if reason.is_empty() { "it gives no reason".to_owned() } else { cut(reason, MAX_REASON) };
    match check {
        PluginCheck::TrustedIdentity => {
            let message = format!("the plugin `{plugin}` does not trust the signer: {reason}");
            Problem::new("plugin-untrusted-identity", &message, "ask whoever runs the plugin who may sign these images")
        }
        PluginCheck::Revocation => {
            let message = format!("the plugin `{plugin}` says that the signer may not be relied on any more: {reason}");
            Problem::new(
                "plugin-revoked",
                &message,
                "have the image signed again with a certificate that has not been revoked",
            )
        }
    }
}
