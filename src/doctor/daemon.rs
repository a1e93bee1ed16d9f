//! The daemon: is it there, is it who it must be, and does it enforce what it is asked?

use super::{Choice, Facts, Finding, Listener};

pub(super) fn examine(facts: &Facts, findings: &mut Vec<Finding>) {
    down(facts, &Listener::Absent, "not there", "systemctl start pratiqued", findings);
    down(facts, &Listener::Refused, "not listened on", "systemctl restart pratiqued", findings);
    for socket in &facts.sockets {
        let Listener::Stranger(user) = socket.listener else { continue };
        let fact =
            format!("user {user} listens on {}, not root: whatever is asked there, they answer", socket.path.display());
        let fix = "let nobody but root write to that directory; systemctl restart pratiqued";
        findings.push(Finding::error("daemon-not-trusted-here", fact, fix));
    }
    if let Ok(daemon) = &facts.daemon {
        if daemon.mode != "enforce" {
            let fact = format!("the daemon runs in mode `{}`: denied images are let through", daemon.mode);
            findings.push(Finding::error(
                "daemon-audits",
                fact,
                "mode = \"enforce\" in config.toml; systemctl restart pratiqued",
            ));
        }
        if !daemon.reload_error.is_empty() {
            // Whoever was taken out of the policy on disk is still trusted.
            let fact = format!("images are judged by an older policy than the one on disk: {}", daemon.reload_error);
            findings.push(Finding::error("policy-not-in-force", fact, "mend the policy; systemctl reload pratiqued"));
        }
    }
    settings(facts, findings);
}

/// One finding for all sockets in this state: they go together.
fn down(facts: &Facts, state: &Listener, word: &str, fix: &str, findings: &mut Vec<Finding>) {
    let down: Vec<String> = facts
        .sockets
        .iter()
        .filter(|socket| socket.listener == *state)
        .map(|socket| socket.path.display().to_string())
        .collect();
    if !down.is_empty() {
        let fact = format!("the daemon's sockets are {word}, and nothing is let through: {}", down.join(", "));
        findings.push(Finding::error("daemon-down", fact, fix));
    }
}

fn settings(facts: &Facts, findings: &mut Vec<Finding>) {
    let Some(node) = &facts.node else { return };
    findings.extend(node.choices.iter().map(|choice| chosen(*choice)));
    if node.containerd != facts.effective.address() {
        let (at, is) = (node.containerd.display(), facts.effective.address());
        let fact = format!("the daemon asks containerd at {at}, and it listens at {}", is.display());
        findings.push(Finding::error("containerd-elsewhere", fact, "`containerd.socket` in config.toml"));
    }
    if !node.builders.is_empty() {
        let fact =
            format!("containers without an image are steps of builds in the namespaces {}", node.builders.join(", "));
        findings.push(Finding::note("builders-unasked", fact));
    }
    if node.pinned > 0 {
        let fact = format!("{} digests of `boot_floor` are admitted without a signature", node.pinned);
        findings.push(Finding::note("images-pinned", fact));
    }
    if let Some(scope) = &node.local_scope {
        let fact = format!("images that came from no registry are judged as images of `{scope}`");
        findings.push(Finding::note("local-images-judged", fact));
    }
}

/// What a setting means for the node. Those that close a gate stop everything; those that widen one are weak; those that
/// are as good as others are for whoever wants to know.
fn chosen(choice: Choice) -> Finding {
    let in_config = |setting: &str| format!("{setting} in config.toml");
    match choice {
        Choice::NoLayers => {
            let fact = "`gates.diff = false`: no question about a layer is answered, and none is unpacked".to_owned();
            Finding::error("layers-not-served", fact, in_config("gates.diff = true"))
        }
        Choice::NoStarts => {
            let fact = "`gates.run = false`: no question about a container is answered, and none is started".to_owned();
            Finding::error("starts-not-served", fact, in_config("gates.run = true"))
        }
        Choice::StartsWithoutImage => {
            let fact = "`run.without_image = \"allow\"`: containers that name no image are started".to_owned();
            Finding::warning("containers-without-image", fact, in_config("run.without_image = \"deny\""))
        }
        Choice::AnySandbox => {
            let fact = "`run.sandbox = \"allow\"`: the sandboxes of pods are started whatever their image".to_owned();
            Finding::warning("sandbox-unasked", fact, in_config("run.sandbox = \"verify\""))
        }
        Choice::AnyImageVolume => {
            let fact =
                "`run.image_volumes = \"allow\"`: images that are mounted into containers are not looked at".to_owned();
            Finding::warning("image-volumes-unasked", fact, in_config("run.image_volumes = \"verify\""))
        }
        Choice::Orphans => {
            let fact = "layers that no image lists yet are unpacked; what is made of them is asked about when it runs"
                .to_owned();
            Finding::note("orphan-layers-unpacked", fact)
        }
        Choice::NotWatched => Finding::note("past-not-watched", "nobody looks for what came past the gates".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::testing::{change, codes, found};
    use crate::doctor::{Condition, Daemon, Severity, examine as examine_all};

    #[test]
    fn each_socket_has_to_have_the_daemon_behind_it() {
        let with = |listener: Listener| codes(&change(|facts| facts.sockets[1].listener = listener.clone()));
        assert_eq!(with(Listener::Absent), ["daemon-down"]);
        assert_eq!(with(Listener::Refused), ["daemon-down"]);
        assert_eq!(with(Listener::Stranger(1000)), ["daemon-not-trusted-here"]);
        assert_eq!(with(Listener::Daemon), [""; 0]);
    }

    #[test]
    fn a_daemon_that_only_watches_is_open() {
        let with = |mode: &str, reload_error: &str| {
            let daemon = Daemon { mode: mode.into(), reload_error: reload_error.into() };
            codes(&change(|facts| facts.daemon = Ok(daemon.clone())))
        };
        assert_eq!(with("audit", ""), ["daemon-audits"]);
        assert_eq!(with("enforce", "no such store"), ["policy-not-in-force"]);
        let daemon = Daemon { mode: "enforce".into(), reload_error: "no such store".into() };
        assert_eq!(examine_all(&change(|facts| facts.daemon = Ok(daemon))).condition(), Condition::Open);
        assert_eq!(with("enforce", ""), [""; 0]);
    }

    #[test]
    fn settings_that_close_or_widen_a_gate_are_told_and_choices_are_noted() {
        let with = |choices: &[Choice]| {
            codes(&change(|facts| facts.node.as_mut().unwrap().choices = choices.iter().copied().collect()))
        };
        assert_eq!(with(&[Choice::NoLayers, Choice::NoStarts]), ["layers-not-served", "starts-not-served"]);
        let wider = [Choice::StartsWithoutImage, Choice::AnySandbox, Choice::AnyImageVolume];
        assert_eq!(with(&wider), ["containers-without-image", "sandbox-unasked", "image-volumes-unasked"]);
        assert_eq!(with(&[Choice::Orphans, Choice::NotWatched]), [""; 0]);
        let moved = change(|facts| facts.node.as_mut().unwrap().containerd = "/run/other.sock".into());
        assert_eq!(codes(&moved), ["containerd-elsewhere"]);
        let noted = change(|facts| {
            let node = facts.node.as_mut().unwrap();
            (node.pinned, node.local_scope) = (3, Some("local.example/images".into()));
            node.builders = vec!["buildkit".into()];
            node.choices = [Choice::Orphans, Choice::NotWatched].into();
        });
        assert_eq!(codes(&noted), [""; 0]);
        assert_eq!(found(&noted).iter().filter(|finding| finding.severity == Severity::Note).count(), 5);
    }
}
