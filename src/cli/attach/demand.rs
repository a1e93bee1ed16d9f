//! Whom `attach` trusts, where it is told: the stores and identities of a profile, or stores and roots on the command line.
//!
//! It comes to a policy of one strict statement, so that an envelope is judged by the code that will judge it on a node.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;

use crate::cli::attaching::Attachable;
use crate::cli::exit::Failure;
use crate::cli::payload::read;
use crate::config::{AttachProfile, NotationDir, RevocationChoice, load_trust_store, strict_policy};
use crate::judge::examine_alone;
use crate::oci::Repository;
use crate::pki::Certificate;
use crate::policy::{StoreKind, StoreProblem, Trust, TrustStore};
use crate::revocation::Servers;
use crate::verify::{Problem, Subject};

/// The name under which the roots of the command line stand.
const ROOTS: &str = "trust-root";
/// The largest file with roots, in bytes. Mozilla's whole list is a quarter of it.
const MAX_ROOTS: u64 = 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct TrustArguments {
    /// Take only envelopes whose signer is below an anchor of this trust store, such as ca:release (may be given again).
    #[arg(long, value_name = "TYPE:NAME")]
    trust_store: Vec<TrustStore>,
    /// The same for the root certificates in this file (may be given again).
    #[arg(long, value_name = "FILE")]
    trust_root: Vec<PathBuf>,
    /// Take only what this profile of attach.toml takes.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["trust_store", "trust_root"])]
    profile: Option<String>,
    /// The file with the profiles, instead of attach.toml in the notation directory.
    #[arg(long, value_name = "FILE", requires = "profile")]
    profiles: Option<PathBuf>,
}

/// Whom to trust.
pub(super) struct Demand {
    trust: Trust,
    profile: Option<(String, AttachProfile)>,
}

impl TrustArguments {
    /// Whether anybody is named.
    pub(super) fn is_given(&self) -> bool {
        self.profile.is_some() || !self.trust_store.is_empty() || !self.trust_root.is_empty()
    }

    /// The demand; none where nobody is named, so that every signer is taken.
    pub(super) fn open(self, directory: &NotationDir) -> Result<Option<Demand>, Failure> {
        if !self.is_given() {
            return Ok(None);
        }
        if let Some(name) = self.profile {
            let profile = AttachProfile::load(self.profiles.as_deref(), directory.path(), &name);
            let profile = profile.map_err(|error| Failure::usage_of(&error))?;
            let (named, identities) = (profile.trust_stores.iter().cloned().collect(), &profile.trusted_identities);
            let trust = trust(directory, named, BTreeMap::new(), identities, profile.revocation)?;
            return Ok(Some(Demand { trust, profile: Some((name, profile)) }));
        }
        let mut own = BTreeMap::new();
        if !self.trust_root.is_empty() {
            let store = TrustStore::new(StoreKind::Ca, ROOTS).map_err(|error| Failure::of(&error))?;
            own.insert(store, Ok(roots(&self.trust_root)?));
        }
        let named = self.trust_store.into_iter().collect();
        let trust = trust(directory, named, own, &["*".to_owned()], RevocationChoice::Enforce)?;
        Ok(Some(Demand { trust, profile: None }))
    }
}

/// The snapshot of one strict statement with these stores. One that cannot be read ends the command: nothing is attached
/// because a root was missing, and nothing left out for it.
fn trust(
    directory: &NotationDir,
    named: BTreeSet<TrustStore>,
    mut stores: BTreeMap<TrustStore, Result<Vec<Certificate>, StoreProblem>>,
    identities: &[String],
    revocation: RevocationChoice,
) -> Result<Trust, Failure> {
    for store in named {
        let anchors = load_trust_store(&directory.trust_store(&store), &store);
        stores.insert(store, Ok(anchors.map_err(|problem| Failure::of(&problem))?));
    }
    let policy = strict_policy("attach", stores.keys(), identities, revocation);
    let policy = policy.map_err(|error| Failure::usage_of(&error))?;
    Ok(Trust::new(policy, stores, "the command line".to_owned()))
}

fn roots(files: &[PathBuf]) -> Result<Vec<Certificate>, Failure> {
    let mut roots = Vec::new();
    for file in files {
        let certificates = Certificate::read_all(&read(file, MAX_ROOTS)?);
        let certificates = certificates.map_err(|error| Failure::of(&error).in_file(file))?;
        for root in &certificates {
            check_root(root, file)?;
        }
        roots.extend(certificates);
    }
    Ok(roots)
}

fn check_root(root: &Certificate, file: &Path) -> Result<(), Failure> {
    let Some(fault) = StoreKind::Ca.fault_of(root) else { return Ok(()) };
    let message = format!("{}: the certificate `{}` is {fault}", file.display(), root.subject());
    Err(Failure::unreadable(
        "trust-root-unsuitable",
        message,
        Some("give the root that issued the signer's certificate"),
    ))
}

impl Demand {
    /// Whether signatures of this profile's keys may go there.
    pub(super) fn permit_place(&self, repository: &Repository) -> Result<(), Problem> {
        match &self.profile {
            Some((name, profile)) if !profile.is_for(repository) => Err(Problem::new(
                "profile-repository-refused",
                &format!("the profile `{name}` is not for {repository}"),
                "attach with the profile of the keys that sign for it, or add it to `repositories` of this one",
            )),
            _ => Ok(()),
        }
    }

    /// Whether the signer is trusted, and the envelope still counts at this instant.
    pub(super) async fn judge(
        &self,
        attachable: &Attachable,
        servers: &Servers,
        now: Timestamp,
    ) -> Result<(), Problem> {
        let metadata = BTreeMap::new();
        let subject = Subject::artifact(attachable.artifact(), &metadata);
        let state = examine_alone(servers, &self.trust, attachable.envelope(), subject, now).await;
        state.problem().map_or(Ok(()), |problem| Err(problem.clone()))
    }
}
