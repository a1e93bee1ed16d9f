//! Before a pull: does containerd call our verifier, and does everybody who pulls go through containerd?

use super::{Facts, Finding, Program, VerifierDirectory};
use crate::effective::{DIFFER, Verifiers};

pub(super) fn examine(facts: &Facts, findings: &mut Vec<Finding>) {
    let (Some(verifiers), Some(directory)) = (facts.effective.verifiers(), &facts.verifiers) else {
        let fact = format!(
            "containerd {} has no image verifiers: images are asked about before they are unpacked",
            facts.version
        );
        findings.push(Finding::note("image-verifiers-none", fact));
        return;
    };
    findings.extend(of_directory(directory, &verifiers));
    findings.extend(cri(facts));
}

fn of_directory(directory: &VerifierDirectory, verifiers: &Verifiers) -> Vec<Finding> {
    let (path, fix) = (directory.path.display(), "pratique install");
    let Some(programs) = &directory.programs else {
        let fact = format!("{path} is missing: containerd pulls without asking anybody");
        return vec![Finding::error("verifier-directory-missing", fact, fix)];
    };
    let Some(place) = programs.iter().position(|program| program.is_ours) else {
        let fact = if programs.is_empty() {
            format!("{path} is empty: containerd pulls without asking anybody")
        } else {
            format!("{path} has {} programs, and ours is not among them", programs.len())
        };
        return vec![Finding::error("verifier-not-installed", fact, fix)];
    };
    let mut findings = Vec::new();
    let is_called = |place: usize| verifiers.most < 0 || i64::try_from(place).is_ok_and(|place| place < verifiers.most);
    if !is_called(place) {
        let fact = format!(
            "{place} programs in {path} come before ours, and containerd calls no more than {}",
            verifiers.most
        );
        let fix = format!("move programs out of {path}, or raise `max_verifiers`");
        findings.push(Finding::error("verifier-crowded-out", fact, fix));
    }
    let broken = programs.iter().enumerate().find(|(place, program)| is_called(*place) && !program.is_executable);
    if let Some((_, Program { name, .. })) = broken {
        let fact = format!("{path}/{name} cannot be started: every pull is refused");
        findings.push(Finding::error("verifier-not-executable", fact, "pratique install, or remove it"));
    }
    findings
}

/// CRI pulls by itself in containerd 2.0, and later where its configuration says something that containerd's own pull
/// cannot do. What it pulls is still asked about before it is unpacked, where that gate stands.
fn cri(facts: &Facts) -> Vec<Finding> {
    let is_asked_later = facts.effective.differs().first().is_some_and(|first| first == DIFFER);
    if (facts.version.major, facts.version.minor) == (2, 0) {
        let fact =
            "containerd 2.0's CRI pulls by itself: it asks before it unpacks, and not before it pulls".to_owned();
        return vec![Finding::note("cri-pulls-by-itself", fact)];
    }
    let settings = facts.effective.local_pull_settings().into_iter();
    settings
        .map(|setting| {
            let fact = format!("`{setting}` has CRI pull by itself, without asking the image verifier");
            let fix = format!("take {setting} out of CRI's images; use `registry.config_path` for registries");
            if is_asked_later {
                Finding::warning("cri-pulls-by-itself", fact, fix)
            } else {
                Finding::error("cri-pulls-by-itself", fact, fix)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;
    use crate::doctor::testing::{change, codes, found, table};
    use crate::effective::{CRI_IMAGES, DIFF_SERVICE, Version};

    fn programs(names: &[&str]) -> Vec<Program> {
        let program =
            |name: &&str| Program { name: (*name).to_owned(), is_executable: true, is_ours: *name == "00-pratique" };
        names.iter().map(program).collect()
    }

    #[test]
    fn a_directory_without_our_verifier_is_open_and_one_with_it_is_not() {
        let with = |programs| codes(&change(|facts| facts.verifiers.as_mut().unwrap().programs = programs));
        assert_eq!(with(None), ["verifier-directory-missing"]);
        assert_eq!(with(Some(programs(&[]))), ["verifier-not-installed"]);
        assert_eq!(with(Some(programs(&["10-theirs"]))), ["verifier-not-installed"]);
        assert_eq!(with(Some(programs(&["00-pratique", "10-theirs"]))), [""; 0]);
    }

    #[test]
    fn a_verifier_beyond_the_last_that_is_called_is_crowded_out() {
        let names: Vec<String> = (0..10).map(|n| format!("00-a{n}")).chain(["00-pratique".to_owned()]).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let with =
            |names: &[&str]| codes(&change(|facts| facts.verifiers.as_mut().unwrap().programs = Some(programs(names))));
        assert_eq!(with(&names), ["verifier-crowded-out"]);
        assert_eq!(with(&names[1..]), [""; 0]);
    }

    #[test]
    fn a_verifier_that_cannot_be_started_stops_every_pull() {
        let facts =
            change(|facts| facts.verifiers.as_mut().unwrap().programs.as_mut().unwrap()[0].is_executable = false);
        assert_eq!(codes(&facts), ["verifier-not-executable"]);
    }

    #[test]
    fn a_pull_by_cri_itself_is_weaker_while_layers_are_asked_about_and_open_where_they_are_not() {
        let local = format!("plugins.'{CRI_IMAGES}'");
        let facts = table(&local, "use_local_image_pull = true");
        assert_eq!((codes(&facts), found(&facts)[0].severity), (vec!["cri-pulls-by-itself"], Severity::Warning));
        let mut open = table(&local, "use_local_image_pull = true");
        open.effective = table(&format!("plugins.'{DIFF_SERVICE}'"), "default = ['walking']").effective;
        assert!(codes(&open).contains(&"differ-order"));
        assert_eq!(codes(&table(&local, "use_local_image_pull = false")), [""; 0]);
    }

    #[test]
    fn a_containerd_without_image_verifiers_is_noted() {
        let facts = change(|facts| {
            facts.version = Version { major: 1, minor: 7 };
            facts.verifiers = None;
        });
        let note = found(&facts).into_iter().find(|finding| finding.code.as_str() == "image-verifiers-none");
        assert_eq!(note.map(|finding| finding.severity), Some(Severity::Note));
    }
}
