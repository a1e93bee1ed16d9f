//! What every command that signs has in common: the key, what is signed beside the artifact, and the time-stamp.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::attaching::Attachable;
use super::exit::{Exit, Failure};
use super::notation_dir::NotationDirArgument;
use super::place::Place;
use super::revocation::as_notation_asks;
use super::signing_key::{HeldKey, Made, SigningKeyArguments};
use super::verify::{metadata, pair};
use super::{output, patience};
use crate::clock;
use crate::config::NotationDir;
use crate::envelope::{Format, Payload};
use crate::judge::Gathering;
use crate::oci::Descriptor;
use crate::pki::{Certificate, Renewal, Stamp};
use crate::policy::StoreKind;
use crate::remedy::printable;
use crate::sign::approval::Approved;
use crate::sign::{SignError, SignRequest, Signed, Unsealed};
use crate::stamping::{StampingError, TimestampAuthority};
use crate::verify::{Problem, Standing, State};

#[derive(Debug, Args)]
pub(super) struct SigningArguments {
    #[command(flatten)]
    key: SigningKeyArguments,
    /// The format of the envelope: jws or cose.
    #[arg(long, value_name = "FORMAT", default_value = "jws")]
    signature_format: Format,
    /// How long the signature is good, such as 24h or 90s; for ever without it.
    #[arg(long, short = 'e', value_name = "DURATION", value_parser = duration)]
    expiry: Option<SignedDuration>,
    /// Pairs to sign with it (may be given again).
    #[arg(long = "user-metadata", short = 'm', value_name = "KEY=VALUE", value_parser = pair)]
    user_metadata: Vec<(String, String)>,
    /// The http or https URL of an RFC 3161 time-stamp authority, which vouches for the time of signing.
    #[arg(long, value_name = "URL", requires = "timestamp_root_cert")]
    timestamp_url: Option<String>,
    /// The root certificate of that authority, in a file of its own.
    #[arg(long, value_name = "FILE", requires = "timestamp_url")]
    timestamp_root_cert: Option<PathBuf>,
    /// How long to ask again for the same signature, such as 15m, where what holds the key says that it cannot be given yet.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    approval_timeout: Option<SignedDuration>,
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

/// A duration in hours, minutes and seconds, such as `1h30m`.
pub(super) fn duration(text: &str) -> Result<SignedDuration, String> {
    match text.parse::<SignedDuration>() {
        Ok(duration) if duration.as_secs() < 1 || duration.subsec_nanos() != 0 => Err(SignError::Expiry.to_string()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("write a duration such as 24h or 90s".to_owned()),
    }
}

impl SigningArguments {
    /// The directory with the keys.
    pub(super) fn directory(&self) -> NotationDir {
        self.notation_dir.clone().open()
    }

    /// The same as [`open`](Self::open), with the key of this name where no other is named.
    pub(super) fn open_named(self, name: &str) -> Result<Signing, Failure> {
        Self { key: self.key.or_named(name), ..self }.open()
    }

    /// What is to be asked for, and the key of who asks. The key that is to sign is not touched.
    pub(super) fn ask(self, requester: Option<&str>) -> Result<Asking, Failure> {
        let directory = self.directory();
        let Some(key) = self.key.name() else {
            let message = "a request names the key that is to sign".to_owned();
            let remedy = Some("name it with `--key`, as its table in `keyusage.toml` does".to_owned());
            return Err(Failure { remedy, ..Failure::usage("arguments-missing", message) });
        };
        let requester = self.key.open_other(&directory, requester)?;
        let (format, expiry, key) = (self.signature_format, self.expiry, key.to_owned());
        let user_metadata = metadata(self.user_metadata)?;
        Ok(Asking { directory, key, requester, format, user_metadata, expiry })
    }

    /// Looks at everything that does not depend on what is signed.
    pub(super) fn open(self) -> Result<Signing, Failure> {
        let user_metadata = metadata(self.user_metadata)?;
        let authority = Authority::open(self.timestamp_url, self.timestamp_root_cert)?;
        let directory = self.notation_dir.open();
        let key = self.key.open(&directory)?;
        let patience = self.approval_timeout.and_then(|time| Duration::try_from(time).ok());
        let (format, expiry) = (self.signature_format, self.expiry);
        Ok(Signing { directory, key, format, user_metadata, expiry, authority, patience })
    }
}

/// Everything that a request says but for the artifact.
pub(super) struct Asking {
    pub(super) directory: NotationDir,
    /// The key that is to sign, as the usage policy calls it.
    pub(super) key: String,
    pub(super) requester: HeldKey,
    pub(super) format: Format,
    pub(super) user_metadata: BTreeMap<String, String>,
    pub(super) expiry: Option<SignedDuration>,
}

/// Everything that a signature is made with but for the artifact.
pub(super) struct Signing {
    pub(super) directory: NotationDir,
    pub(super) key: HeldKey,
    pub(super) format: Format,
    pub(super) user_metadata: BTreeMap<String, String>,
    /// For how long the signature is good; none for ever.
    pub(super) expiry: Option<SignedDuration>,
    pub(super) authority: Option<Authority>,
    /// For how long a holder of the key that does not sign yet is asked again.
    pub(super) patience: Option<Duration>,
}

impl Signing {
    /// A signature of this artifact, made now. Of its certificates the one that ends first is warned about in time.
    pub(super) async fn sign(&self, artifact: &Descriptor) -> Result<Signature, Failure> {
        let signature = self.sign_untold(artifact).await?;
        signature.warnings.iter().for_each(output::problem);
        Ok(signature)
    }

    /// The same, with nothing said yet: for whoever makes several with one key, and says it once.
    pub(super) async fn sign_untold(&self, artifact: &Descriptor) -> Result<Signature, Failure> {
        let user_metadata = self.user_metadata.clone();
        let request = SignRequest { format: self.format, user_metadata, expiry: self.expiry, now: clock::now() };
        self.finish(patience::ask(self.patience, || self.key.sign(artifact, &request)).await?).await
    }

    /// Whether a signature that is there says what a new one by the key with this certificate would say: the same pairs in the
    /// same format, for as long and not over yet, with a time-stamp where one is asked for.
    pub(super) fn would_repeat(&self, certificate: &Certificate, there: &Attachable) -> bool {
        let envelope = there.envelope();
        let attributes = envelope.signed_attributes();
        let pairs = Payload::parse(envelope.payload()).map(|payload| payload.target_artifact.annotations);
        let lasts = attributes.expiry.map(|expiry| expiry.duration_since(attributes.signing_time));
        there.signer() == certificate
            && envelope.format() == self.format
            && pairs.is_ok_and(|pairs| pairs == self.user_metadata)
            && lasts == self.expiry
            && attributes.expiry.is_none_or(|expiry| expiry > clock::now())
            && envelope.unsigned_attributes().timestamp_signature.is_some() == self.authority.is_some()
    }

    /// A signature of what was approved, as it was approved.
    pub(super) async fn sign_approved(&self, approved: &Approved<'_>) -> Result<Signature, Failure> {
        let request = approved.request().sign_request(clock::now());
        // What comes later is of no use.
        let left = Duration::try_from(approved.request().not_after.duration_since(request.now)).unwrap_or_default();
        let patience = self.patience.map(|patience| patience.min(left));
        let made = patience::ask(patience, || self.key.sign_approved(approved, &request)).await?;
        let signature = self.finish(made).await?;
        signature.warnings.iter().for_each(output::problem);
        Ok(signature)
    }

    async fn finish(&self, made: Made<'_>) -> Result<Signature, Failure> {
        let renewal = Renewal::first_of(made.chain(), clock::now());
        let (signed, timestamp) = match (made, &self.authority) {
            (Made::Unsealed(unsealed), Some(authority)) => {
                authority.stamp(*unsealed).await.map(|(signed, stamped)| (signed, Some(stamped)))?
            }
            (Made::Unsealed(unsealed), None) => (unsealed.seal(), None),
            (Made::Whole(signed, _), None) => (*signed, None),
            (Made::Whole(..), Some(_)) => return Err(stamps_itself()),
        };
        let warnings: Vec<Problem> = renewal.iter().map(Problem::of).collect();
        Ok(Signature { signed, timestamp, warnings })
    }
}

/// A signature that was made, and what there is to say about it.
pub(super) struct Signature {
    pub(super) signed: Signed,
    pub(super) timestamp: Option<Stamped>,
    pub(super) warnings: Vec<Problem>,
}

impl Signature {
    /// The same, in the form for this place.
    pub(super) fn for_place(self, place: &Place) -> Self {
        Self { signed: place.in_its_form(self.signed), ..self }
    }
}

/// Nothing is added to an envelope that a plugin has made (Notary plugin specification, FAQ).
pub(super) fn stamps_itself() -> Failure {
    let message = "the key's plugin makes whole envelopes, and asks for time-stamps itself".to_owned();
    let remedy = Some("sign without `--timestamp-url`, and configure the plugin".to_owned());
    Failure { remedy, ..Failure::usage("plugin-envelopes-only", message) }
}

/// Who vouches for the time of signing, and whom that is believed of.
pub(super) struct Authority {
    authority: TimestampAuthority,
    root: Certificate,
}

impl Authority {
    pub(super) fn open(url: Option<String>, root: Option<PathBuf>) -> Result<Option<Self>, Failure> {
        let (Some(url), Some(root)) = (url, root) else { return Ok(None) };
        let authority = TimestampAuthority::new(&url).map_err(|error| match error {
            StampingError::Url(_) => Failure::usage_of(&error),
            error => Failure::of(&error),
        })?;
        Ok(Some(Self { authority, root: timestamp_root(&root)? }))
    }

    /// Only a stamp that holds gets into the envelope, and without one nothing is stored: whoever asked for a time-stamp
    /// relies on it when the certificate is long expired.
    pub(super) async fn stamp(&self, unsealed: Unsealed<'_>) -> Result<(Signed, Stamped), Failure> {
        let anchors = std::slice::from_ref(&self.root);
        let stamping = self.authority.stamp(unsealed.signature(), unsealed.hash(), anchors);
        let (token, stamp) = stamping.await.map_err(|error| Failure::of(&error))?;
        check_standing(&stamp).await?;
        let authority = stamp.chain().first().map(|signer| signer.subject().to_string()).unwrap_or_default();
        let stamped = Stamped { time: token.info().time, authority };
        let signed = unsealed.stamped(&token, &stamp).map_err(|error| Failure::of(&error))?;
        Ok((signed, stamped))
    }
}

/// A stamp with a revoked key vouches for nothing, and one of which nobody knows may be found out to be such when the
/// certificate of the signer is long expired.
async fn check_standing(stamp: &Stamp) -> Result<(), Failure> {
    let responders = as_notation_asks();
    let state = Gathering::from(&responders).standing(Standing::of(stamp), clock::now()).await;
    let (exit, problem, remedy) = match state {
        State::Failed { problem } => (Exit::Denied, problem, Some("ask another time-stamp authority".to_owned())),
        State::Inconclusive { problem } => (Exit::Inconclusive, problem.clone(), problem.remedy),
        _ => return Ok(()),
    };
    let message = format!("the time-stamp cannot be relied upon: {}", problem.message);
    Err(Failure { exit, code: problem.code, message, remedy, check: None })
}

/// One root, of the kind that a `tsa` trust store takes.
fn timestamp_root(path: &Path) -> Result<Certificate, Failure> {
    let bytes = fs::read(path).map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        Failure::unreadable("timestamp-root-unreadable", message, Some("name the file with the authority's root"))
    })?;
    let certificates = Certificate::read_all(&bytes).map_err(|error| Failure::of(&error).in_file(path))?;
    let unsuitable = |fault: &str| {
        let message = format!("{}: {fault}", path.display());
        Failure::unreadable("timestamp-root-unsuitable", message, Some("give the authority's one root certificate"))
    };
    let [root] = &certificates[..] else { return Err(unsuitable("there is more than one certificate")) };
    match StoreKind::Tsa.fault_of(root) {
        None => Ok(root.clone()),
        Some(fault) => Err(unsuitable(&format!("the certificate `{}` is {fault}", root.subject()))),
    }
}

/// Who vouches for which time.
#[derive(Serialize)]
pub(super) struct Stamped {
    pub(super) time: Timestamp,
    pub(super) authority: String,
}

impl fmt::Display for Stamped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "time-stamp  {}, by {}", self.time, printable(&self.authority))
    }
}
