//! An image that nobody signed is sent ahead through every way in; none may let it through.
//!
//! It is made for the occasion, so that nobody can have heard of it: no verdict is known for it, and none of its layers
//! has been unpacked before. It lives in a containerd namespace of its own, which goes with it. Nothing of it is run but
//! where the gate is open, and then its command is not there to be run.

mod cleaning;
mod image;
mod registry;
mod scratch;

use std::path::Path;

use self::image::Canary;
use self::registry::Registry;
use self::scratch::Scratch;
use crate::clock;
use crate::doctor::{Attempt, Ended, Facts};
use crate::remedy::printable;

const SNAPSHOTTER: &str = "io.containerd.snapshotter.v1";
/// What containerd unpacks into everywhere, best first.
const SNAPSHOTTERS: [&str; 2] = ["overlayfs", "native"];
/// Begins the name of each namespace that canaries live in.
const NAMESPACE: &str = "pratique-canary-";
/// The names of images that came from no registry: no registry can have such a name (RFC 2606).
const IMPORTED: &str = "pratique-canary.invalid/imported:v1";
const NEVER_ADMITTED: &str = "pratique-canary.invalid/never-admitted:v1";

/// Tries every way in, and adds to the facts what came of it. `signed` is an image that has to be let in.
pub async fn send(facts: &mut Facts, signed: Option<&str>) {
    let name = format!("{NAMESPACE}{}-{}", clock::now().as_second(), std::process::id());
    let socket = facts.effective.address();
    match attempts(&socket, &name, snapshotter(facts), facts.version.is_second(), signed).await {
        Ok(attempts) => facts.attempts = attempts,
        Err(reason) => facts.unknown.push(format!("whether an unsigned image is refused: {reason}")),
    }
}

/// One that works, and that ours are asked about.
fn snapshotter(facts: &Facts) -> &'static str {
    let works = |name: &&&str| {
        let mut parts = facts.parts.iter().flatten();
        parts.any(|part| part.kind == SNAPSHOTTER && part.name == **name && part.fault.is_none())
    };
    SNAPSHOTTERS.iter().find(works).copied().unwrap_or("native")
}

async fn attempts(
    socket: &Path,
    namespace: &str,
    snapshotter: &'static str,
    is_second: bool,
    signed: Option<&str>,
) -> Result<Vec<Attempt>, String> {
    let scratch = Scratch::create(socket, namespace, snapshotter).await?;
    scratch.remove_forgotten(NAMESPACE).await;
    let mut attempts = Vec::new();
    if is_second {
        // containerd 1.7 has the service, and nobody uses it who is not told to.
        attempts.push(pull(&scratch, namespace).await);
        attempts.push(import(&scratch, namespace).await);
    }
    attempts.push(unpack(&scratch, namespace).await);
    attempts.push(run(&scratch).await);
    if let Some(signed) = signed.filter(|_| is_second) {
        let ended = ended(scratch.pull(signed).await);
        attempts.push(Attempt { what: "pull and unpack", is_signed: true, ended });
    }
    scratch.remove().await?;
    Ok(attempts)
}

async fn pull(scratch: &Scratch, name: &str) -> Attempt {
    let ended = match Registry::serve(Canary::new(&format!("{name} pull"))).await {
        Ok(registry) => ended(scratch.pull(&registry.reference()).await),
        Err(error) => Ended::Failed(error.to_string()),
    };
    Attempt { what: "pull", is_signed: false, ended }
}

async fn import(scratch: &Scratch, name: &str) -> Attempt {
    let archive = Canary::new(&format!("{name} import")).archive(IMPORTED);
    Attempt { what: "import", is_signed: false, ended: ended(scratch.import(IMPORTED, archive).await) }
}

/// As a client does that unpacks by itself. The image's name leads to a registry that has no signature for it, so that
/// nobody has to ask the network.
async fn unpack(scratch: &Scratch, name: &str) -> Attempt {
    let text = format!("{name} unpack");
    let ended = match Registry::serve(Canary::new(&text)).await {
        Ok(registry) => ended(scratch.unpack(&registry.reference(), &Canary::new(&text)).await),
        Err(error) => Ended::Failed(error.to_string()),
    };
    Attempt { what: "unpack", is_signed: false, ended }
}

/// Where the gate is open, the runtime finds no command to run, and that it looked for one is enough to know.
async fn run(scratch: &Scratch) -> Attempt {
    let ended = match scratch.run(NEVER_ADMITTED).await {
        Err(message) => refusal(&message).map_or(Ended::LetIn, Ended::Refused),
        Ok(()) => Ended::LetIn,
    };
    Attempt { what: "run", is_signed: false, ended }
}

fn ended(result: Result<(), String>) -> Ended {
    match result {
        Ok(()) => Ended::LetIn,
        Err(message) => match refusal(&message) {
            Some(line) => Ended::Refused(line),
            None => Ended::Failed(printable(&message)),
        },
    }
}

/// Our own line in a client's error: one of the two answers, and a code in brackets.
fn refusal(message: &str) -> Option<String> {
    let begin = ["denied: ", "could not tell: "].into_iter().filter_map(|answer| message.find(answer)).min()?;
    let line = message.get(begin..)?.lines().next()?;
    let (_, after) = line.split_once('[')?;
    let (code, _) = after.split_once(']')?;
    let is_code = !code.is_empty() && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    is_code.then(|| printable(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_known_by_its_answer_and_its_code() {
        for (message, expected) in [
            (
                "failed: image verifier: denied: x@sha256:1 [no-signature]: none",
                Some("denied: x@sha256:1 [no-signature]: none"),
            ),
            (
                "runc: could not tell: x [daemon-unreachable]: down\nmore",
                Some("could not tell: x [daemon-unreachable]: down"),
            ),
            ("runc create failed: exec: no such file", None),
            ("permission denied: /x", None),
            ("permission denied: [EACCES]", None),
            ("", None),
        ] {
            assert_eq!(refusal(message).as_deref(), expected, "{message}");
        }
    }
}
