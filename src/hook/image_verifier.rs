//! containerd's image verifier: asked before anything of an image is fetched.
//!
//! containerd starts every program in its verifier directory with the image's name and digest as arguments and its
//! descriptor on standard input. Exit status 0 lets the pull go on, any other stops it, and what stands on standard
//! output becomes the reason in the error that kubelet and people see (containerd, `docs/image-verification.md`).
//!
//! So everything that goes wrong here, a wrong argument as well as a daemon that is down, ends in status 1 and one line
//! that stands alone.

use std::env;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::client::{self, ClientError};
use crate::oci::{self, Descriptor, Digest, InvalidDigest, InvalidJson};
use crate::proto::{self, CheckRequest, CheckResponse, Stage, frame};
use crate::remedy::{Code, Remedy, could_not_tell, cut, printable};

/// What containerd sends on standard input, and says so.
const DESCRIPTOR: &str = "application/vnd.oci.descriptor.v1+json";
/// The longest descriptor, in bytes. containerd's own have about 200; annotations may make one longer, but a manifest
/// that carries them is itself bounded to 4 MiB by every registry, and nobody needs more than this for one image.
const MAX_DESCRIPTOR: u64 = 64 * 1024;
/// How much of a name that came in a bad question is repeated in the answer, in characters. A good one has at most 520.
const MAX_EXCERPT: usize = 600;
/// containerd kills a verifier after 10 seconds unless it is configured otherwise, and then nobody learns why.
const PATIENCE: Duration = Duration::from_secs(9);
/// Names the daemon's socket where it is not the default one.
const SOCKET_VARIABLE: &str = "PRATIQUE_SOCKET";

/// What containerd gets back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The exit status: 0 lets the pull go on, 1 stops it.
    pub exit: u8,
    /// The reason: one line.
    pub stdout: String,
}

/// Answers containerd as a process: arguments and standard input in, standard output and exit status out.
pub fn answer_containerd() -> ExitCode {
    let socket = env::var_os(SOCKET_VARIABLE).map_or_else(|| PathBuf::from(client::DEFAULT_SOCKET), PathBuf::from);
    let ask = |request| client::ask(&socket, &request, PATIENCE);
    let reply = run(env::args_os().skip(1), io::stdin().lock(), ask);
    // The exit status decides; a reason that nobody reads changes nothing about it.
    let _ = io::stdout().write_all(reply.stdout.as_bytes());
    ExitCode::from(reply.exit)
}

/// Translates containerd's question, asks it, and translates the answer.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    stdin: impl Read,
    ask: impl FnOnce(CheckRequest) -> Result<CheckResponse, ClientError>,
) -> Reply {
    let flags = match Flags::parse(args) {
        Ok(flags) => flags,
        Err(error) => return no_answer("an image", &error),
    };
    let image = flags.image();
    let request = match read_request(flags, stdin) {
        Ok(request) => request,
        Err(error) => return no_answer(&image, &error),
    };
    match ask(request) {
        Ok(answer) => Reply { exit: u8::from(!answer.proceed), stdout: one_clipped_line(&answer.line) },
        Err(error) => no_answer(&image, &error),
    }
}

fn no_answer(image: &str, error: &impl Remedy) -> Reply {
    Reply { exit: 1, stdout: one_clipped_line(&could_not_tell(image, error)) }
}

/// One line, no longer than what containerd keeps.
fn one_clipped_line(line: &str) -> String {
    frame::clipped(printable(line.trim()))
}

/// Why containerd's question was not understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuestionError {
    /// An argument that is not UTF-8.
    #[error("an argument is not UTF-8")]
    NotUtf8,
    /// An argument that containerd does not give.
    #[error("the argument `{0}` is not known")]
    UnknownArgument(String),
    /// A flag at the end, with nothing after it.
    #[error("the flag `-{0}` has no value")]
    NoValue(&'static str),
    /// A flag that stands twice: which of the two is meant?
    #[error("the flag `-{0}` is given twice")]
    Twice(&'static str),
    /// A flag that is missing, or empty.
    #[error("the flag `-{0}` is missing")]
    Missing(&'static str),
    /// What stands on standard input is something else.
    #[error("standard input holds `{0}`, and only `{DESCRIPTOR}` is understood")]
    MediaType(String),
    /// The digest on the command line.
    #[error("the flag `-digest` does not hold a digest")]
    Digest(#[source] InvalidDigest),
    /// Standard input cannot be read.
    #[error("the descriptor on standard input cannot be read")]
    Read(#[source] io::Error),
    /// Standard input is too long.
    #[error("the descriptor on standard input is longer than {MAX_DESCRIPTOR} bytes")]
    TooLong,
    /// Standard input is not a descriptor.
    #[error("standard input does not hold a descriptor")]
    Descriptor(#[source] InvalidJson),
    /// The command line and the descriptor speak of different images.
    #[error("the descriptor on standard input is of {descriptor}, and the flag `-digest` says {flag}")]
    Mismatch {
        /// The digest of the command line.
        flag: Digest,
        /// The digest in the descriptor.
        descriptor: Digest,
    },
}

impl Remedy for QuestionError {
    fn code(&self) -> Code {
        match self {
            Self::NotUtf8
            | Self::UnknownArgument(_)
            | Self::NoValue(_)
            | Self::Twice(_)
            | Self::Missing(_)
            | Self::MediaType(_) => Code("usage"),
            Self::Digest(_) => Code("invalid-digest"),
            Self::Read(_) | Self::TooLong | Self::Descriptor(_) => Code("invalid-descriptor"),
            Self::Mismatch { .. } => Code("digest-mismatch"),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self.code().as_str() {
            "usage" => Some(format!(
                "containerd calls this program, as `pratique-verifier -name NAME -digest DIGEST -stdin-media-type \
                 {DESCRIPTOR}` with the descriptor on standard input; people use `pratique verify`"
            )),
            _ => None,
        }
    }
}

/// containerd's arguments, in the form of Go's `flag` package: one dash or two, the value behind `=` or on its own.
#[derive(Debug, PartialEq, Eq)]
struct Flags {
    name: String,
    digest: String,
    media_type: String,
}

const NAME: &str = "name";
const DIGEST: &str = "digest";
const MEDIA_TYPE: &str = "stdin-media-type";

impl Flags {
    fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, QuestionError> {
        let mut args = args.into_iter();
        let (mut name, mut digest, mut media_type) = (None, None, None);
        while let Some(arg) = text(args.next())? {
            let unknown = || QuestionError::UnknownArgument(excerpt(&arg));
            let flag = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).ok_or_else(unknown)?;
            let (flag, value) = flag.split_once('=').map_or((flag, None), |(flag, value)| (flag, Some(value)));
            let (flag, place) = match flag {
                NAME => (NAME, &mut name),
                DIGEST => (DIGEST, &mut digest),
                MEDIA_TYPE => (MEDIA_TYPE, &mut media_type),
                _ => return Err(unknown()),
            };
            let value = match value {
                Some(value) => value.to_owned(),
                None => text(args.next())?.ok_or(QuestionError::NoValue(flag))?,
            };
            if place.replace(value).is_some() {
                return Err(QuestionError::Twice(flag));
            }
        }
        let given =
            |value: Option<String>, flag| value.filter(|value| !value.is_empty()).ok_or(QuestionError::Missing(flag));
        Ok(Self {
            name: given(name, NAME)?,
            digest: given(digest, DIGEST)?,
            media_type: given(media_type, MEDIA_TYPE)?,
        })
    }

    /// The image for people, however bad its name is.
    fn image(&self) -> String {
        let (name, digest) = (excerpt(&self.name), excerpt(&self.digest));
        if name.contains('@') { name } else { format!("{name}@{digest}") }
    }
}

fn text(arg: Option<OsString>) -> Result<Option<String>, QuestionError> {
    arg.map(|arg| arg.into_string().map_err(|_| QuestionError::NotUtf8)).transpose()
}

fn excerpt(text: &str) -> String {
    cut(text, MAX_EXCERPT)
}

fn read_request(flags: Flags, stdin: impl Read) -> Result<CheckRequest, QuestionError> {
    if flags.media_type != DESCRIPTOR {
        return Err(QuestionError::MediaType(excerpt(&flags.media_type)));
    }
    let digest: Digest = flags.digest.parse().map_err(QuestionError::Digest)?;
    let descriptor = read_descriptor(stdin)?;
    if descriptor.digest != digest {
        return Err(QuestionError::Mismatch { flag: digest, descriptor: descriptor.digest });
    }
    let target = proto::Descriptor {
        media_type: descriptor.media_type,
        digest: descriptor.digest.to_string(),
        size: descriptor.size,
    };
    // containerd does not tell a verifier the namespace.
    let containerd_namespace = String::new();
    Ok(CheckRequest {
        name: flags.name,
        target: Some(target),
        stage: Stage::Pull.into(),
        containerd_namespace,
        ..CheckRequest::default()
    })
}

fn read_descriptor(stdin: impl Read) -> Result<Descriptor, QuestionError> {
    let mut bytes = Vec::new();
    let length = stdin.take(MAX_DESCRIPTOR + 1).read_to_end(&mut bytes).map_err(QuestionError::Read)?;
    if length as u64 > MAX_DESCRIPTOR {
        return Err(QuestionError::TooLong);
    }
    oci::parse_json(&bytes).map_err(QuestionError::Descriptor)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;
    use crate::proto::Answer;

    const NAMED: &str = "127.0.0.1:15000/demo/three:v1";

    fn digest() -> String {
        Digest::sha256(b"three").to_string()
    }

    fn stdin() -> String {
        let media_type = oci::media_type::IMAGE_MANIFEST;
        format!(r#"{{"mediaType":"{media_type}","digest":"{}","size":1053}}"#, digest())
    }

    fn args(args: &[&str]) -> Vec<OsString> {
        args.iter().map(Into::into).collect()
    }

    fn as_containerd_calls() -> Vec<OsString> {
        args(&["-name", NAMED, "-digest", &digest(), "-stdin-media-type", DESCRIPTOR])
    }

    fn answer(answer: Answer, proceed: bool, line: &str) -> CheckResponse {
        CheckResponse { answer: answer.into(), code: "code".into(), line: line.into(), proceed }
    }

    #[expect(clippy::needless_pass_by_value, reason = "stands where the daemon is asked")]
    fn never(request: CheckRequest) -> Result<CheckResponse, ClientError> {
        panic!("asked {request:?}")
    }

    #[test]
    fn the_question_is_passed_on_and_the_answer_comes_back() {
        for (given, exit) in [
            (answer(Answer::Admit, true, "admitted: x"), 0),
            (answer(Answer::Deny, false, "denied: x"), 1),
            (answer(Answer::Inconclusive, false, "could not tell: x"), 1),
            (answer(Answer::Deny, true, "let through in audit mode: x"), 0),
        ] {
            let ask = |request: CheckRequest| {
                let target = request.target.clone().unwrap();
                assert_eq!((request.name.as_str(), request.stage()), (NAMED, Stage::Pull));
                assert_eq!(target.media_type, oci::media_type::IMAGE_MANIFEST);
                assert_eq!((target.digest, target.size), (digest(), 1053));
                Ok(given.clone())
            };
            let reply = run(as_containerd_calls(), stdin().as_bytes(), ask);
            assert_eq!(reply, Reply { exit, stdout: given.line.clone() });
        }
    }

    #[test]
    fn flags_are_read_as_go_reads_them() {
        let expected = Flags { name: "n".into(), digest: "d".into(), media_type: "m".into() };
        for given in [
            args(&["-name", "n", "-digest", "d", "-stdin-media-type", "m"]),
            args(&["--stdin-media-type", "m", "--digest", "d", "--name", "n"]),
            args(&["-name=n", "--digest=d", "-stdin-media-type=m"]),
        ] {
            assert_eq!(Flags::parse(given).unwrap(), expected);
        }
        let dashed = Flags::parse(args(&["-name", "-x", "-digest=a=b", "-stdin-media-type", "--"])).unwrap();
        assert_eq!((dashed.name.as_str(), dashed.digest.as_str(), dashed.media_type.as_str()), ("-x", "a=b", "--"));
    }

    #[test]
    fn a_wrong_question_stops_the_image_without_asking() {
        let digest = digest();
        let with = |name: &str, digest: &str, media_type: &str| {
            args(&["-name", name, "-digest", digest, "-stdin-media-type", media_type])
        };
        let other = Digest::sha256(b"other").to_string();
        let long = format!("{}{}", stdin(), " ".repeat(64 * 1024));
        let deep = format!("{}1{}", "[".repeat(1000), "]".repeat(1000));
        let good = stdin();
        for (args, stdin, code, said) in [
            (args(&[]), &good, "usage", "`-name` is missing"),
            (args(&["-name", NAMED, "-digest", &digest]), &good, "usage", "`-stdin-media-type` is missing"),
            (args(&["-name"]), &good, "usage", "`-name` has no value"),
            (args(&["-name", "a", "-name", "b"]), &good, "usage", "`-name` is given twice"),
            (args(&["-namespace", "k8s.io"]), &good, "usage", "`-namespace` is not known"),
            (args(&["---name", "x"]), &good, "usage", "`---name` is not known"),
            (args(&["-"]), &good, "usage", "`-` is not known"),
            (args(&["--"]), &good, "usage", "`--` is not known"),
            (args(&["verify"]), &good, "usage", "`verify` is not known"),
            (vec![OsString::from_vec(vec![b'-', 0xff])], &good, "usage", "not UTF-8"),
            (with("", &digest, DESCRIPTOR), &good, "usage", "`-name` is missing"),
            (with(NAMED, &digest, "application/json"), &good, "usage", "`application/json`"),
            (with(NAMED, "sha256:abc", DESCRIPTOR), &good, "invalid-digest", "64 lowercase hex digits"),
            (with(NAMED, &other, DESCRIPTOR), &good, "digest-mismatch", &other),
            (with(NAMED, &digest, DESCRIPTOR), &String::new(), "invalid-descriptor", "EOF"),
            (with(NAMED, &digest, DESCRIPTOR), &"{}".to_owned(), "invalid-descriptor", "mediaType"),
            (with(NAMED, &digest, DESCRIPTOR), &format!("{good}{good}"), "invalid-descriptor", "trailing"),
            (with(NAMED, &digest, DESCRIPTOR), &long, "invalid-descriptor", "longer than 65536 bytes"),
            (with(NAMED, &digest, DESCRIPTOR), &deep, "invalid-descriptor", "deeper than 64"),
        ] {
            let reply = run(args.clone(), stdin.as_bytes(), never);
            assert_eq!(reply.exit, 1, "{args:?}");
            assert!(reply.stdout.starts_with("could not tell: "), "{}", reply.stdout);
            assert!(reply.stdout.contains(&format!(" [{code}]: ")), "{}", reply.stdout);
            assert!(reply.stdout.contains(said), "{}", reply.stdout);
            assert!(!reply.stdout.contains('\n'));
        }
    }

    #[test]
    fn a_daemon_that_does_not_answer_stops_the_image() {
        let socket = PathBuf::from("/run/pratique/hook.sock");
        let fail = |_| Err(ClientError::Unreachable { socket, source: io::Error::from(io::ErrorKind::NotFound) });
        let reply = run(as_containerd_calls(), stdin().as_bytes(), fail);
        let expected = format!(
            "could not tell: {NAMED}@{} [daemon-unreachable]: the daemon does not answer on /run/pratique/hook.sock: \
             entity not found; hint: see `systemctl status pratiqued` on this machine",
            digest()
        );
        assert_eq!(reply, Reply { exit: 1, stdout: expected });
    }

    #[test]
    fn the_reason_is_one_line_that_containerd_keeps_whole() {
        let ask = |line: String| {
            let answer = answer(Answer::Deny, false, &line);
            run(as_containerd_calls(), stdin().as_bytes(), move |_| Ok(answer)).stdout
        };
        assert_eq!(ask(" denied: a\nb\u{1b}[31m \n".into()), "denied: a b [31m");
        let long = ask("ä".repeat(20_000));
        assert_eq!(long.len(), frame::MAX_LINE);
        assert_eq!(ask(format!("a{}", "ä".repeat(20_000))).len(), frame::MAX_LINE - 1);
    }

    #[test]
    fn a_name_that_carries_its_digest_is_not_given_another() {
        let name = format!("registry.example/app@{}", digest());
        let flags = Flags { name: name.clone(), digest: digest(), media_type: DESCRIPTOR.into() };
        assert_eq!(flags.image(), name);
    }
}
