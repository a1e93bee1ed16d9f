//! pratique admits container images to a node only when their Notary Project signatures satisfy the node's policy.
//!
//! This library is what the programs `pratiqued`, `pratique-verifier`, `pratique-runtime` and `pratique` are made of.
//! One sentence holds it together: the code that decides takes everything it needs as arguments and returns a value that
//! only it can make; everything else carries things to it and away from it.
//!
//! # Deciding
//!
//! Each noun is a type, each arrow the only function that makes the next one:
//!
//! ```text
//! Reference ─▶ Descriptor ─▶ Blob ─▶ Envelope ─▶ Examined ─▶ Outcome ─▶ Verdict ─▶ Permit or Denial
//!           resolve      check    parse      examine    conclude   of_       permit
//!                                                                  signatures
//! ```
//!
//! An [`Envelope`] is well formed and nothing more: nobody believes it yet. [`examine`](verify::examine) and
//! [`conclude`](verify::Examined::conclude) state findings and deny nothing. The statement of the [`Policy`] alone says
//! what a bad finding means, and a [`Permit`], which only a [`Verdict`] gives, is all that lets an image through. There
//! are three answers: yes, no, and could not tell. The last two both stop the image, and are never mistaken for each
//! other.
//!
//! Nothing in this half reads a file, a socket, the clock or the environment: bytes, trust anchors and the time come in
//! as arguments, so the same question gets the same answer on every machine and in every test.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use pratique::envelope::limits::DEFAULT_ENVELOPE_SIZE;
//! use pratique::oci::media_type;
//! use pratique::pki::Certificate;
//! use pratique::policy::{Mode, TrustStore};
//! use pratique::verify::{Evidence, SignatureReport, Subject, VerdictInput, examine};
//! use pratique::{Descriptor, Envelope, Policy, Reference, Trust, Verdict};
//!
//! # fn vector(name: &str) -> std::io::Result<Vec<u8>> {
//! #     std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name))
//! # }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The world, handed in: what is asked about, what is trusted, and the time.
//! let image = Descriptor::of(media_type::IMAGE_MANIFEST, &vector("subjects/net-monitor.json")?);
//! let name: Reference = "registry.example/net-monitor:v1".parse()?;
//! let roots = Certificate::read_all(&vector("truststores/acme/x509/ca/acme-rockets/rsa2048-root.pem")?)?;
//! let policy = Policy::parse(&vector("policies/strict.json")?)?;
//! let store: TrustStore = "ca:acme-rockets".parse()?;
//! let trust = Trust::new(policy, BTreeMap::from([(store, Ok(roots))]), "an example".to_owned());
//! let statement = trust.policy().statement_for(name.repository()).ok_or("no statement governs the image")?;
//! let now = "2026-07-01T12:00:00Z".parse()?;
//! let blob = vector("envelopes/cli-rsa2048-cose.cose")?;
//!
//! // The core: none of it waits for anything.
//! let metadata = BTreeMap::new();
//! let envelope = Envelope::parse(media_type::COSE_ENVELOPE, &blob, DEFAULT_ENVELOPE_SIZE)?;
//! let examined = examine(&envelope, Subject::artifact(&image, &metadata), statement, &trust);
//! // What issuers say about their certificates by now is brought from outside: here nobody needs to be asked.
//! let evidence = Evidence::default();
//! assert!(examined.needs(&evidence, now).is_empty());
//! let outcome = examined.conclude(&evidence, now);
//!
//! // The policy's answer for the image, and what it means at a hook.
//! let pinned = name.pinned(image.digest.clone()).to_string();
//! let asked = VerdictInput { reference: &pinned, artifact: &image, trust: &trust, now };
//! let signatures = vec![SignatureReport { digest: None, outcome }];
//! let verdict = Verdict::of_signatures(asked, statement, signatures, false);
//! assert_eq!(verdict.code.as_str(), "admitted");
//! assert!(verdict.permit(Mode::Enforce).is_ok());
//! # Ok(())
//! # }
//! ```
//!
//! # The rooms
//!
//! | | what decides | | what carries (feature `host`) |
//! |---|---|---|---|
//! | [`oci`] | references, digests, descriptors, manifests | `source` | where images and signatures lie: registries, layouts |
//! | [`pki`] | certificates, chains, keys, names | `config` | files: the node's configuration, policy, trust stores |
//! | [`envelope`] | JWS and COSE behind one face | `judge` | the one pipeline from a question to a verdict |
//! | [`policy`] | the trust policy, and [`Trust`]: policy and anchors | `hook`, `client` | the doors at which a runtime asks |
//! | [`verify`] | findings, outcomes, verdicts, permits | `daemon`, `install` | `pratiqued`, and how containerd comes to ask it |
//! | | | `effective`, `doctor`, `probe` | what containerd's configuration comes to, and the ways round the gates |
//! | [`sign`] | a new signature and its manifest | `revocation` | what issuers say about their certificates |
//! | | | `plugin` | programs of others that hold keys, or know whom to trust |
//! | | | `keys` | what holds signing keys: passphrases, PKCS #11 tokens |
//! | | | `cli` | the command line |
//!
//! Everybody may use [`remedy`]: each error has a stable [`Code`] and, where somebody can do something, a
//! [remedy](Remedy::remedy). Who may import whom, and why it is so, is told in `ARCHITECTURE.md` of the source tree.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `host` | yes | everything that touches a socket, a file, a clock or a process, and the four programs |
//!
//! Without `host` the crate is the half that decides. A feature only adds; none changes an answer.

#[cfg(feature = "host")]
mod address;
#[cfg(feature = "host")]
pub mod cli;
#[cfg(feature = "host")]
pub mod client;
#[cfg(feature = "host")]
pub mod clock;
#[cfg(feature = "host")]
pub mod config;
#[cfg(feature = "host")]
pub mod daemon;
#[cfg(feature = "host")]
pub mod doctor;
#[cfg(feature = "host")]
pub mod effective;
pub mod envelope;
#[cfg(feature = "host")]
mod files;
#[cfg(feature = "host")]
pub mod hook;
#[cfg(feature = "host")]
pub mod install;
#[cfg(feature = "host")]
pub mod judge;
#[cfg(feature = "host")]
pub mod keys;
#[cfg(feature = "host")]
pub mod ledger;
pub mod oci;
pub mod pki;
#[cfg(feature = "host")]
pub mod plugin;
pub mod policy;
#[cfg(feature = "host")]
pub mod probe;
#[cfg(feature = "host")]
pub mod proto;
pub mod remedy;
#[cfg(feature = "host")]
pub mod revocation;
pub mod rootfs;
pub mod sign;
#[cfg(feature = "host")]
pub mod source;
#[cfg(feature = "host")]
pub mod stamping;
pub mod verify;

pub use envelope::Envelope;
pub use oci::{Blob, Descriptor, Digest, Reference};
pub use policy::{Policy, Trust};
pub use remedy::{Code, Remedy};
pub use verify::{Denial, Outcome, Permit, Verdict};
