//! Why a source could not answer.

use std::path::PathBuf;
use std::time::Duration;

use super::fault::{NetworkFault, RegistryWords, TargetFault};
use super::layout::LayoutFault;
use super::registry::{HostsFault, is_plain_unlisted};
use crate::oci::{BlobMismatch, Digest, InvalidManifest};
use crate::remedy::{Code, Remedy};

/// Why a source could not answer. Only [`SourceError::NotFound`] is an answer about the content; every other one means
/// that nobody knows.
///
/// No variant ever holds a password, a token or an address with a query, in which registries put tokens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The source says that it has no such content.
    #[error("{what} is not in {place}")]
    NotFound {
        /// What was asked for.
        what: String,
        /// Where.
        place: String,
    },
    /// The bytes are not those that were asked for.
    #[error("{place} serves wrong content")]
    WrongContent {
        /// Where.
        place: String,
        /// How they differ.
        source: BlobMismatch,
    },
    /// A question by digest was answered with another digest.
    #[error("{place} answers {got} when asked for {asked}")]
    OtherDigest {
        /// Where.
        place: String,
        /// The digest in the question.
        asked: Digest,
        /// The digest in the answer.
        got: Digest,
    },
    /// More bytes than are taken.
    #[error("{what} in {place} has {size} bytes or more, and {limit} are the limit")]
    TooLarge {
        /// What was asked for.
        what: String,
        /// Where.
        place: String,
        /// How many bytes were announced or seen.
        size: u64,
        /// How many are taken.
        limit: u64,
    },
    /// More parts than are looked at, or deeper within each other.
    #[error("{what} in {place} is {depth} levels deep and one of {size} parts, and {limit} are the limit")]
    TooManyParts {
        /// What was asked for.
        what: String,
        /// Where.
        place: String,
        /// How deep it lies.
        depth: usize,
        /// How many parts there are at least.
        size: u64,
        /// How many are looked at.
        limit: u64,
    },
    /// The bytes are what was asked for, but no manifest.
    #[error("{what} in {place} cannot be read as a manifest")]
    Manifest {
        /// What was asked for.
        what: String,
        /// Where.
        place: String,
        /// What is wrong with it.
        source: InvalidManifest,
    },
    /// No connection to the registry, or it broke off.
    #[error("cannot reach the registry {host}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// Whether a connection broke off, so that another try may help.
        broken: bool,
        /// What the network said.
        source: NetworkFault,
    },
    /// The registry's certificate is not trusted, or it does not speak TLS.
    #[error("no trusted TLS connection to the registry {host}")]
    Tls {
        /// Host and port.
        host: String,
        /// What the TLS library said.
        source: NetworkFault,
    },
    /// No answer within the time for one question.
    #[error("the registry {host} gave no answer within {}", seconds(*limit))]
    Timeout {
        /// Host and port.
        host: String,
        /// The time it was given.
        limit: Duration,
    },
    /// The registry wants credentials, or others than it got.
    #[error("the registry {host} {}{words}", if *anonymous { "asks for credentials" } else { "refuses the credentials" })]
    Unauthorized {
        /// Host and port.
        host: String,
        /// Whether no credentials were at hand.
        anonymous: bool,
        /// The registry's own words.
        words: RegistryWords,
    },
    /// The registry knows who asks, and refuses.
    #[error("the registry {host} denies access to {what}{words}")]
    Forbidden {
        /// Host and port.
        host: String,
        /// What was asked for.
        what: String,
        /// The registry's own words.
        words: RegistryWords,
    },
    /// The registry's rate limit.
    #[error("the registry {host} answers that there were too many requests{words}")]
    TooManyRequests {
        /// Host and port.
        host: String,
        /// How long it wants to be left alone, where it says.
        retry_after: Option<Duration>,
        /// The registry's own words.
        words: RegistryWords,
    },
    /// An answer of the 500 family.
    #[error("the registry {host} failed with status {status}{words}")]
    Server {
        /// Host and port.
        host: String,
        /// The HTTP status.
        status: u16,
        /// How long it wants to be left alone, where it says.
        retry_after: Option<Duration>,
        /// The registry's own words.
        words: RegistryWords,
    },
    /// A status that the distribution specification does not have at this place.
    #[error("the registry {host} answers status {status} to a question for {what}{words}")]
    UnexpectedStatus {
        /// Host and port.
        host: String,
        /// The HTTP status.
        status: u16,
        /// What was asked for.
        what: String,
        /// The registry's own words.
        words: RegistryWords,
    },
    /// An answer that does not have the form that the distribution specification gives it.
    #[error("the registry {host} gives an answer of bad form: {fault}")]
    Malformed {
        /// Host and port.
        host: String,
        /// What is wrong.
        fault: String,
    },
    /// The registry names another address to go to, which is not gone to.
    #[error("the registry {host} points to {target}: {reason}")]
    TargetRefused {
        /// Host and port.
        host: String,
        /// Scheme, host and port of the address.
        target: String,
        /// Why not.
        reason: TargetFault,
    },
    /// Credentials are configured, but cannot be read.
    #[error("cannot read the credentials in {}: {fault}", path.display())]
    CredentialsUnreadable {
        /// The configuration file.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// A credential helper is configured, but gave no answer.
    #[error("the credential helper `{helper}` gave no credentials for {host}: {fault}")]
    CredentialHelper {
        /// The name of the program.
        helper: String,
        /// The host it was asked for.
        host: String,
        /// What went wrong. Never what the program wrote, which may hold secrets.
        fault: String,
    },
    /// Which hosts are to be asked is not known.
    #[error("the hosts of a registry are not known")]
    Hosts {
        /// Why not.
        source: HostsFault,
    },
    /// Concurrent signers overwrote the fallback tag again and again.
    #[error("the tag `{tag}` in {place} is being overwritten by others, and does not list what it should")]
    TagContended {
        /// The fallback tag.
        tag: String,
        /// The repository.
        place: String,
    },
    /// The registry deletes nothing.
    #[error("the registry {host} refuses to delete {what}{words}")]
    DeleteRefused {
        /// Host and port.
        host: String,
        /// What was to be deleted.
        what: String,
        /// The registry's own words.
        words: RegistryWords,
    },
    /// A directory cannot be read as an OCI image layout.
    #[error("cannot read the OCI layout {}", path.display())]
    Layout {
        /// The directory.
        path: PathBuf,
        /// What stands in the way.
        source: LayoutFault,
    },
    /// No connection to containerd, or it broke off.
    #[error("cannot reach containerd at {socket} ({fault})")]
    ContainerdUnreachable {
        /// Its socket.
        socket: String,
        /// What the system said.
        fault: String,
    },
    /// No answer from containerd within the time for one question.
    #[error("containerd at {socket} gave no answer in time when asked for {what}")]
    ContainerdTimeout {
        /// Its socket.
        socket: String,
        /// What was asked for.
        what: String,
    },
    /// containerd answers with something that cannot be used.
    #[error("containerd cannot be asked for {what} ({fault})")]
    Containerd {
        /// What was asked for.
        what: String,
        /// containerd's own words, or ours.
        fault: String,
    },
    /// What this machine keeps itself cannot be read or written.
    #[error("{place} cannot be used ({fault})")]
    Store {
        /// What it is.
        place: String,
        /// Why not.
        fault: String,
    },
    /// The HTTP client of this process cannot be made.
    #[error("cannot set up HTTP")]
    Client {
        /// Why not.
        source: NetworkFault,
    },
}

impl SourceError {
    /// Whether asking again may help, and after how long at least, where the place says so.
    pub fn may_pass(&self) -> Option<Option<Duration>> {
        match self {
            Self::TooManyRequests { retry_after, .. } | Self::Server { retry_after, .. } => Some(*retry_after),
            Self::Unreachable { broken: true, .. } => Some(None),
            _ => None,
        }
    }

    /// Whether the place did answer, and what it has is not what was asked for.
    pub fn is_about_content(&self) -> bool {
        let is_damaged = |fault: &LayoutFault| matches!(fault, LayoutFault::Damaged { .. });
        match self {
            Self::WrongContent { .. } | Self::TooLarge { .. } | Self::Manifest { .. } => true,
            Self::Layout { source, .. } => is_damaged(source),
            _ => false,
        }
    }
}

impl Remedy for SourceError {
    fn code(&self) -> Code {
        match self {
            Self::NotFound { .. } => Code("not-found"),
            Self::WrongContent { source, .. } => source.code(),
            Self::OtherDigest { .. } => Code("content-mismatch"),
            Self::TooLarge { .. } => Code("content-too-large"),
            Self::TooManyParts { .. } => Code("content-too-many-parts"),
            Self::Manifest { source, .. } => source.code(),
            Self::Unreachable { .. } => Code("registry-unreachable"),
            Self::Tls { .. } => Code("registry-tls"),
            Self::Timeout { .. } => Code("registry-timeout"),
            Self::Unauthorized { .. } => Code("registry-unauthorized"),
            Self::Forbidden { .. } => Code("registry-forbidden"),
            Self::TooManyRequests { .. } => Code("registry-too-many-requests"),
            Self::Server { .. } => Code("registry-server-error"),
            Self::UnexpectedStatus { .. } => Code("registry-unexpected-status"),
            Self::Malformed { .. } => Code("registry-malformed-answer"),
            Self::TargetRefused { .. } => Code("redirect-refused"),
            Self::CredentialsUnreadable { .. } => Code("credentials-unreadable"),
            Self::CredentialHelper { .. } => Code("credentials-helper-failed"),
            Self::TagContended { .. } => Code("fallback-tag-contended"),
            Self::DeleteRefused { .. } => Code("registry-refuses-delete"),
            Self::Layout { source, .. } => source.code(),
            Self::Hosts { source } => source.code(),
            Self::ContainerdUnreachable { .. } => Code("containerd-unreachable"),
            Self::ContainerdTimeout { .. } => Code("containerd-timeout"),
            Self::Containerd { .. } => Code("containerd-failed"),
            Self::Store { .. } => Code("store-failed"),
            Self::Client { .. } => Code("http-client"),
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::NotFound { place, .. } => format!("check the name and the tag, and that it was pushed to {place}"),
            Self::WrongContent { source, .. } => return source.remedy(),
            Self::OtherDigest { place, .. } => {
                format!("{place}, or something between it and this machine, answers another question; ask its operator")
            }
            Self::TooLarge { .. } | Self::TooManyParts { .. } | Self::Manifest { .. } => return None,
            Self::Unreachable { host, .. } if is_plain_unlisted(host) => format!(
                "see whether a registry listens there: `curl -v http://{host}/v2/`; with this machine plain http is spoken, \
                 without any flag, and https only on port 443"
            ),
            Self::Unreachable { host, .. } => {
                format!(
                    "check the name {host}, the network and the proxy settings; `curl -v https://{host}/v2/` shows more"
                )
            }
            Self::Tls { host, .. } => format!(
                "install the certificate authority of {host} on this machine; \
                 if it speaks plain http, list {host} as insecure: `--insecure-registry`, or `registry.insecure` of pratiqued"
            ),
            Self::Timeout { host, .. } | Self::Server { host, .. } => {
                format!("ask again later, and look at the state of {host} if it stays so")
            }
            Self::Unauthorized { host, anonymous: true, .. } => {
                format!("log in with `docker login {host}`, or give a username and a password")
            }
            Self::Unauthorized { host, .. } => format!("renew the credentials for {host}: `docker login {host}`"),
            Self::Forbidden { host, what, .. } => {
                format!("have the account that is used for {host} permitted to access {what}")
            }
            Self::TooManyRequests { host, retry_after: Some(wait), .. } => {
                format!("ask {host} again after {}, or log in for a higher limit", seconds(*wait))
            }
            Self::TooManyRequests { host, .. } => format!("ask {host} again later, or log in for a higher limit"),
            Self::UnexpectedStatus { host, .. } | Self::Malformed { host, .. } => {
                format!("check that {host} is an OCI registry and that no proxy answers in its place")
            }
            Self::TargetRefused { host, target, reason } => reason.remedy(host, target),
            Self::CredentialsUnreadable { path, .. } => {
                format!("mend {}, or log in again so that it is written anew", path.display())
            }
            Self::CredentialHelper { helper, host, .. } => {
                format!("run `echo {host} | {helper} get` and mend what it complains about")
            }
            Self::DeleteRefused { host, .. } => {
                format!(
                    "have {host} set up to delete (`REGISTRY_STORAGE_DELETE_ENABLED=true` for docker-registry), or delete by its own means"
                )
            }
            Self::Layout { source, .. } => return source.remedy(),
            Self::Hosts { source } => return source.remedy(),
            Self::TagContended { .. } => "do it again when the others are done".into(),
            Self::ContainerdUnreachable { socket, .. } => {
                format!("see `systemctl status containerd`, and whether {socket} is `containerd.socket` in config.toml")
            }
            Self::ContainerdTimeout { .. } => "see what keeps containerd busy, then try again".into(),
            Self::Containerd { .. } => "see containerd's log".into(),
            Self::Store { .. } => "see whether the disk is full or failing".into(),
            Self::Client { .. } => "check that the machine's CA certificates are installed".into(),
        })
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do_about_it_and_names_the_host() {
        let unauthorized = |anonymous| SourceError::Unauthorized {
            host: "registry.example".into(),
            anonymous,
            words: RegistryWords("DENIED: no".into()),
        };
        assert_eq!(unauthorized(true).to_string(), "the registry registry.example asks for credentials (DENIED: no)");
        assert!(unauthorized(true).remedy().unwrap().contains("docker login registry.example"));
        assert!(unauthorized(false).remedy().unwrap().contains("renew"));
        assert_eq!(unauthorized(false).code(), Code("registry-unauthorized"));
    }
}
