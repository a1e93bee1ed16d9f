//! Before a run: does everything that starts containers go through our link?

use std::path::Path;

use super::{Facts, Finding, Lying};
use crate::effective::{Handler, OPT, RUNC};

const INSTALL: &str = "pratique install, and restart containerd";

pub(super) fn examine(facts: &Facts, findings: &mut Vec<Finding>) {
    findings.extend(link(facts));
    for handler in facts.effective.handlers() {
        findings.extend(of_handler(facts, &handler));
    }
}

/// What the shim finds where nobody named a runtime: `ctr`, nerdctl, docker, BuildKit.
fn link(facts: &Facts) -> Option<Finding> {
    if facts.effective.is_disabled(OPT) {
        let fact = "`disabled_plugins` switches <opt>/bin off: the shim finds the real runc in the path".to_owned();
        return Some(Finding::error("runtime-link-unused", fact, format!("take {OPT} out of `disabled_plugins`")));
    }
    let path = facts.effective.opt().join("bin").join(RUNC);
    let shown = path.display();
    match lying(facts, &path)? {
        Lying::Ours => None,
        Lying::Missing => {
            let fact = format!("{shown} is not there: ctr, nerdctl and docker start containers unasked");
            Some(Finding::error("runtime-link-missing", fact, "pratique install"))
        }
        Lying::Other(other) => {
            let fact =
                format!("{shown} is {}, not ours: ctr, nerdctl and docker start containers unasked", other.display());
            Some(Finding::error("runtime-link-foreign", fact, format!("move {shown} away; pratique install")))
        }
    }
}

fn of_handler(facts: &Facts, handler: &Handler) -> Option<Finding> {
    let name = &handler.name;
    if !handler.calls_oci_runtime() {
        let shim = handler.shim_path.as_ref().map_or_else(|| handler.shim.clone(), |path| path.display().to_string());
        let fact = format!("CRI's handler `{name}` starts `{shim}`: its containers run unasked");
        let fix = format!("remove the handler `{name}`, or let no pod use it");
        return Some(Finding::error("handler-without-gate", fact, fix));
    }
    let Some(binary) = &handler.binary else {
        let fact = format!("CRI's handler `{name}` names no runtime: it would run unasked, were the link gone");
        return Some(Finding::warning("handler-by-name", fact, INSTALL));
    };
    if !binary.is_absolute() {
        let fact = format!(
            "CRI's handler `{name}` calls `{}` by its name: it would run unasked, were the link gone",
            binary.display()
        );
        return Some(Finding::warning("handler-by-name", fact, INSTALL));
    }
    match lying(facts, binary)? {
        Lying::Ours => None,
        Lying::Missing => {
            let fact = format!("CRI's handler `{name}` calls {}, which is not there: no pod starts", binary.display());
            Some(Finding::error("handler-runtime-missing", fact, "pratique install"))
        }
        Lying::Other(other) => {
            let fact =
                format!("CRI's handler `{name}` calls {}, not ours: its containers run unasked", other.display());
            Some(Finding::error("handler-runtime-foreign", fact, INSTALL))
        }
    }
}

fn lying<'a>(facts: &'a Facts, path: &Path) -> Option<&'a Lying> {
    facts.runtimes.iter().find(|runtime| runtime.path == path).map(|runtime| &runtime.lies)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::RuntimePath;
    use crate::doctor::testing::{change, codes, table};
    use crate::effective::{CRI_RUNTIME, RUNC_SHIM};

    #[test]
    fn what_the_shim_finds_first_has_to_be_ours() {
        let with = |lies: Lying| codes(&change(|facts| facts.runtimes[0].lies = lies.clone()));
        // CRI names the same path here.
        assert_eq!(with(Lying::Missing), ["runtime-link-missing", "handler-runtime-missing"]);
        assert_eq!(with(Lying::Other("/usr/bin/runc".into())), ["runtime-link-foreign", "handler-runtime-foreign"]);
        assert_eq!(with(Lying::Ours), [""; 0]);
        let off = table("", &format!("disabled_plugins = ['{OPT}']"));
        assert_eq!(codes(&off), ["runtime-link-unused"]);
    }

    #[test]
    fn a_handler_of_another_shim_or_another_runtime_runs_unasked() {
        let handler = |name: &str, shim: &str, binary: &str| {
            let table_name = format!("plugins.'{CRI_RUNTIME}'.containerd.runtimes.{name}");
            let mut facts =
                table(&table_name, &format!("runtime_type = '{shim}'\noptions = {{ BinaryName = '{binary}' }}"));
            facts
                .runtimes
                .push(RuntimePath { path: "/usr/bin/crun".into(), lies: Lying::Other("/usr/bin/crun".into()) });
            facts.runtimes.push(RuntimePath { path: "/opt/containerd/bin/crun".into(), lies: Lying::Ours });
            codes(&facts)
        };
        assert_eq!(handler("kata", "io.containerd.kata.v2", ""), ["handler-without-gate"]);
        assert_eq!(handler("fast", RUNC_SHIM, "/usr/bin/crun"), ["handler-runtime-foreign"]);
        assert_eq!(handler("fast", RUNC_SHIM, "crun"), ["handler-by-name"]);
        assert_eq!(handler("fast", RUNC_SHIM, ""), ["handler-by-name"]);
        assert_eq!(handler("fast", RUNC_SHIM, "/opt/containerd/bin/crun"), [""; 0]);
    }
}
