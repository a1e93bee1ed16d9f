//! From a request to a question: everything that a stranger to the daemon wrote is understood here, once.
//!
//! The question is about the digest that the asker resolved. The name chooses the repository, and with it the statement
//! of the policy; its tag is never asked again.

use std::collections::BTreeMap;

use crate::judge::{Places, Question};
use crate::oci::{Descriptor, Digest, InvalidDigest, InvalidReference, Reference, Repository};
use crate::proto::{self, CheckRequest, Stage, Workload};
use crate::remedy::{Code, Remedy, cut};

/// The longest media type, in bytes: two names of 127 characters and a slash (RFC 6838, section 4.2).
const MAX_MEDIA_TYPE: usize = 255;
/// How much of a text that may be anything is kept for people, in characters. A good name has at most 520.
const MAX_EXCERPT: usize = 600;

/// What was asked, for people: kept whatever becomes of the question.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) stage: Stage,
    pub(super) containerd_namespace: String,
    pub(super) name: String,
    pub(super) digest: String,
    /// What is to be started, where anything is.
    pub(super) workload: Option<Workload>,
}

impl Asked {
    pub(super) fn of(request: &CheckRequest) -> Self {
        Self {
            stage: request.stage(),
            containerd_namespace: excerpt(&request.containerd_namespace),
            name: excerpt(&request.name),
            digest: request.target.as_ref().map(|target| excerpt(&target.digest)).unwrap_or_default(),
            workload: None,
        }
    }

    /// The image for people.
    pub(super) fn image(&self) -> String {
        match (self.name.as_str(), self.digest.as_str()) {
            ("", "") => "an image".to_owned(),
            (name, "") => name.to_owned(),
            (name, _) if name.contains('@') => name.to_owned(),
            (name, digest) => format!("{name}@{digest}"),
        }
    }

    /// The stage as it stands in the log.
    pub(super) fn stage_name(&self) -> &'static str {
        match self.stage {
            Stage::Unspecified => "unspecified",
            Stage::Pull => "pull",
            Stage::Unpack => "unpack",
            Stage::Run => "run",
            Stage::Admit => "admit",
            Stage::Cli => "cli",
            Stage::Reconcile => "reconcile",
        }
    }
}

/// The text on one line, and no longer than anything good.
pub(super) fn excerpt(text: &str) -> String {
    cut(text, MAX_EXCERPT)
}

/// Why a request is no question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(super) enum InvalidQuestion {
    /// Nothing says what is asked about.
    #[error("the question names no image by digest")]
    NoTarget,
    /// The digest is none.
    #[error("the image's digest is not a digest")]
    Digest(#[source] InvalidDigest),
    /// The media type is empty or longer than one can be.
    #[error("the image's media type has {0} bytes, and one has 1 to {MAX_MEDIA_TYPE}")]
    MediaType(usize),
    /// The name is none.
    #[error("the image's name is not a reference")]
    Name(#[source] InvalidReference),
    /// The name leaves out what docker's rules would fill in. containerd has no such rules: it asks the host `team` for
    /// `team/app`, and nobody may choose the statement of another repository than the one that is pulled from.
    #[error("the image's name is not a full one: is it {full}?")]
    NotFull {
        /// What docker's rules make of it.
        full: Repository,
    },
    /// The name says one digest, and the asker another.
    #[error("the image's name demands {named}, and it was resolved to {resolved}")]
    OtherDigest {
        /// What stands in the name.
        named: Digest,
        /// What the asker found.
        resolved: Digest,
    },
}

impl Remedy for InvalidQuestion {
    fn code(&self) -> Code {
        match self {
            Self::NoTarget | Self::MediaType(_) => Code("invalid-descriptor"),
            Self::Digest(_) => Code("invalid-digest"),
            Self::Name(_) | Self::NotFull { .. } => Code("invalid-reference"),
            Self::OtherDigest { .. } => Code("digest-mismatch"),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Name(error) => error.remedy(),
            Self::NotFull { .. } => Some("name the image with its registry, as in `docker.io/library/alpine`".into()),
            Self::OtherDigest { .. } => Some(
                "the registry, or something between it and this machine, serves another image: look into it".into(),
            ),
            _ => None,
        }
    }
}

/// What the request asks about.
pub(super) fn target(request: &CheckRequest) -> Result<Descriptor, InvalidQuestion> {
    let proto::Descriptor { media_type, digest, size } = request.target.as_ref().ok_or(InvalidQuestion::NoTarget)?;
    let digest = digest.parse().map_err(InvalidQuestion::Digest)?;
    if media_type.is_empty() || media_type.len() > MAX_MEDIA_TYPE {
        return Err(InvalidQuestion::MediaType(media_type.len()));
    }
    Ok(Descriptor::new(media_type.as_str(), digest, *size))
}

/// The question about this target under this name.
pub(super) fn question(name: &str, target: Descriptor) -> Result<Question, InvalidQuestion> {
    let reference: Reference = name.parse().map_err(InvalidQuestion::Name)?;
    if !name.starts_with(&reference.repository().to_string()) {
        return Err(InvalidQuestion::NotFull { full: reference.repository().clone() });
    }
    if let Some(named) = reference.digest().filter(|named| **named != target.digest) {
        return Err(InvalidQuestion::OtherDigest { named: named.clone(), resolved: target.digest });
    }
    let repository = reference.repository().clone();
    // Without the tag: a verdict is given again to whoever asks about the same content under another tag.
    let reference = repository.at(target.digest.clone()).to_string();
    Ok(Question { reference, repository, artifact: target, user_metadata: BTreeMap::new(), places: Places::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::media_type::IMAGE_MANIFEST;

    fn request(name: &str, media_type: &str, digest: &str) -> CheckRequest {
        let target = proto::Descriptor { media_type: media_type.into(), digest: digest.into(), size: 7 };
        CheckRequest { name: name.into(), target: Some(target), ..CheckRequest::default() }
    }

    fn read(request: &CheckRequest) -> Result<Question, InvalidQuestion> {
        question(&request.name, target(request)?)
    }

    #[test]
    fn a_question_is_about_the_digest_and_never_about_the_tag() {
        let digest = Digest::sha256(b"x");
        for rest in ["", ":3.20", &format!("@{digest}"), &format!(":3.20@{digest}")] {
            let name = &format!("docker.io/library/alpine{rest}");
            let question = read(&request(name, IMAGE_MANIFEST, digest.as_str())).unwrap();
            assert_eq!(question.reference, format!("docker.io/library/alpine@{digest}"), "{name}");
            assert_eq!((question.artifact.digest, question.artifact.size), (digest.clone(), 7));
        }
    }

    #[test]
    fn what_is_no_question_says_which_part_is_wrong() {
        let digest = Digest::sha256(b"x");
        let other = format!("docker.io/library/alpine@{}", Digest::sha256(b"y"));
        for (request, code) in [
            (CheckRequest { name: "alpine".into(), ..CheckRequest::default() }, "invalid-descriptor"),
            (request("alpine", "", digest.as_str()), "invalid-descriptor"),
            (request("alpine", &"x".repeat(256), digest.as_str()), "invalid-descriptor"),
            (request("alpine", IMAGE_MANIFEST, "sha256:../../x"), "invalid-digest"),
            (request("", IMAGE_MANIFEST, digest.as_str()), "invalid-reference"),
            (request("https://x/y", IMAGE_MANIFEST, digest.as_str()), "invalid-reference"),
            (request("alpine", IMAGE_MANIFEST, digest.as_str()), "invalid-reference"),
            (request("team/app:v1", IMAGE_MANIFEST, digest.as_str()), "invalid-reference"),
            (request("docker.io/alpine", IMAGE_MANIFEST, digest.as_str()), "invalid-reference"),
            (request("index.docker.io/library/alpine", IMAGE_MANIFEST, digest.as_str()), "invalid-reference"),
            (request(&other, IMAGE_MANIFEST, digest.as_str()), "digest-mismatch"),
        ] {
            assert_eq!(read(&request).unwrap_err().code(), Code(code), "{request:?}");
        }
    }

    #[test]
    fn what_is_kept_for_people_is_bounded_and_on_one_line() {
        let asked = Asked::of(&request(&"ä\n".repeat(10_000), IMAGE_MANIFEST, &"z".repeat(10_000)));
        assert_eq!((asked.name.chars().count(), asked.digest.len()), (MAX_EXCERPT, MAX_EXCERPT));
        assert!(!asked.image().contains('\n'));
    }
}
