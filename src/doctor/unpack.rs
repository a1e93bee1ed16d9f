//! Before an unpack: is our differ the first that is asked, for every snapshotter, and does every snapshotter ask?

use super::{Facts, Finding};
use crate::effective::{DIFFER, TRANSFER_DIFFER};

const SNAPSHOTTER: &str = "io.containerd.snapshotter.v1";
const TRANSFER_KIND: &str = "io.containerd.transfer.v1";
const DIFFER_KIND: &str = "io.containerd.differ.v1";
/// Snapshotters that fetch or unpack layers by themselves: none of their layers is applied, so nobody is asked.
const SELF_UNPACKING: [&str; 6] = ["stargz", "nydus", "soci", "overlaybd", "cvmfs", "erofs"];
const INSTALL: &str = "pratique install, and restart containerd";

pub(super) fn examine(facts: &Facts, findings: &mut Vec<Finding>) {
    let is_second = facts.version.is_second();
    findings.extend(differ(facts, DIFFER, "diff.sock"));
    if is_second {
        findings.extend(differ(facts, TRANSFER_DIFFER, "diff-transfer.sock"));
    }
    let order = facts.effective.differs();
    if order.first().is_none_or(|first| first != DIFFER) {
        let fact =
            format!("the diff service asks [{}]: clients that unpack by themselves are not stopped", order.join(", "));
        findings.push(Finding::error("differ-order", fact, INSTALL));
    }
    if is_second {
        transfer(facts, findings);
    } else {
        let fact = "containerd 1.7's transfer service asks nobody before it unpacks (`ctr images pull --local=false`)"
            .to_owned();
        findings.push(Finding::warning("transfer-unasked", fact, "update to containerd 2; have nobody use it"));
    }
    remote(facts, findings);
}

/// Whether a differ of ours is configured, at the daemon's socket, and running.
fn differ(facts: &Facts, name: &str, socket: &str) -> Option<Finding> {
    let proxies = facts.effective.proxies();
    let Some(proxy) = proxies.iter().find(|proxy| proxy.name == name && proxy.kind == "diff") else {
        let fact = format!("containerd has no differ `{name}`: layers are unpacked unasked");
        return Some(Finding::error("differ-missing", fact, INSTALL));
    };
    let expected = facts.node.as_ref().map(|node| node.sockets.join(socket));
    if let Some(expected) = expected.filter(|expected| *expected != proxy.address) {
        let (at, is) = (proxy.address.display(), expected.display());
        let fact = format!("the differ `{name}` is asked at {at}, and the daemon listens at {is}");
        return Some(Finding::error(
            "differ-elsewhere",
            fact,
            "pratique install --socket with the daemon's `hook.sock`",
        ));
    }
    let parts = facts.parts.as_ref()?;
    match parts.iter().find(|part| part.kind == DIFFER_KIND && part.name == name) {
        None => {
            let fact = format!("the running containerd does not know the differ `{name}` of its configuration");
            Some(Finding::error("containerd-restart-due", fact, "systemctl restart containerd"))
        }
        Some(part) => part.fault.as_ref().map(|fault| {
            let fact = format!("containerd cannot use the differ `{name}`: {fault}");
            Finding::error("differ-failed", fact, "see containerd's log; systemctl restart containerd")
        }),
    }
}

fn transfer(facts: &Facts, findings: &mut Vec<Finding>) {
    let mut parts = facts.parts.iter().flatten();
    let fault =
        parts.find(|part| part.kind == TRANSFER_KIND && part.name == "local").and_then(|part| part.fault.as_ref());
    if let Some(fault) = fault {
        let fact = format!("containerd's transfer service does not load, and nothing is pulled: {fault}");
        findings.push(Finding::error("transfer-down", fact, INSTALL));
    }
    let entries = facts.effective.unpack();
    if entries.is_empty() {
        let fact = "the transfer service unpacks with its own differ: pulls and imports by `ctr`, nerdctl and CRI are not asked about".to_owned();
        findings.push(Finding::error("snapshotter-unasked", fact, INSTALL));
        return;
    }
    for entry in entries.iter().filter(|entry| entry.differ.as_deref() != Some(TRANSFER_DIFFER)) {
        let (name, differ) = (&entry.snapshotter, entry.differ.as_deref().unwrap_or("its own"));
        let fact = format!("the transfer service unpacks for `{name}` with the differ {differ}, which asks nobody");
        let fix = format!("remove that `unpack_config` entry, or have no images in `{name}`");
        findings.push(Finding::error("snapshotter-unasked", fact, fix));
    }
    let has_entry = |name: &str| entries.iter().any(|entry| entry.snapshotter == name);
    for name in in_use(facts).into_iter().filter(|name| !has_entry(name) && !unpacks_itself(name)) {
        let fact = format!("`{name}` has no `unpack_config` entry: the transfer service refuses to unpack into it");
        findings.push(Finding::warning("snapshotter-without-entry", fact, INSTALL));
    }
}

/// The snapshotters that the running containerd has, or else those that CRI is told to use.
fn in_use(facts: &Facts) -> Vec<String> {
    let configured = || facts.effective.cri_snapshotters().into_iter().collect();
    let Some(parts) = &facts.parts else { return configured() };
    let working = parts.iter().filter(|part| part.kind == SNAPSHOTTER && part.fault.is_none());
    working.map(|part| part.name.clone()).collect()
}

fn remote(facts: &Facts, findings: &mut Vec<Finding>) {
    let cri = facts.effective.cri_snapshotters();
    for proxy in facts.effective.proxies().into_iter().filter(|proxy| proxy.kind == "snapshot") {
        let name = &proxy.name;
        let fix = format!("remove `proxy_plugins.{name}`, or count its images among what is not asked about");
        findings.push(if unpacks_itself(name) {
            let fact = format!(
                "the snapshotter `{name}` brings layers by itself: nobody is asked about them before they are there"
            );
            Finding::error("snapshotter-unpacks-itself", fact, fix)
        } else {
            let fact = format!(
                "the snapshotter `{name}` is a program of its own: whether it brings layers by itself is not known"
            );
            Finding::warning("snapshotter-of-others", fact, fix)
        });
    }
    let builtin = in_use(facts).into_iter().filter(|name| unpacks_itself(name));
    for name in builtin.filter(|name| !facts.effective.proxies().iter().any(|proxy| proxy.name == *name)) {
        let fact = format!("the snapshotter `{name}` can bring layers without a differ that asks");
        let fix = format!("disabled_plugins = [\"{SNAPSHOTTER}.{name}\"], if nobody uses it");
        let is_used = cri.contains(&name);
        let finding = if is_used { Finding::error } else { Finding::warning };
        findings.push(finding("snapshotter-unpacks-itself", fact, fix));
    }
}

fn unpacks_itself(name: &str) -> bool {
    SELF_UNPACKING.iter().any(|known| name.contains(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Part;
    use crate::doctor::Severity;
    use crate::doctor::testing::{change, codes, found, table, without};
    use crate::effective::{DIFF_SERVICE, TRANSFER, Version};

    fn running(kind: &str, name: &str, fault: Option<&str>) -> Facts {
        let part = Part { kind: kind.into(), name: name.into(), fault: fault.map(str::to_owned) };
        change(|facts| {
            let parts = facts.parts.as_mut().unwrap();
            parts.retain(|other| (&other.kind, &other.name) != (&part.kind, &part.name));
            parts.push(part);
        })
    }

    #[test]
    fn the_diff_service_has_to_ask_us_first() {
        let order = |list: &str| codes(&table(&format!("plugins.'{DIFF_SERVICE}'"), &format!("default = {list}")));
        assert_eq!(order("['walking', 'pratique']"), ["differ-order"]);
        assert_eq!(order("['walking']"), ["differ-order"]);
        assert_eq!(order("['pratique', 'erofs', 'walking']"), [""; 0]);
    }

    #[test]
    fn each_differ_has_to_be_there_and_to_be_the_daemons() {
        for name in [DIFFER, TRANSFER_DIFFER] {
            assert!(codes(&without(&["proxy_plugins", name])).contains(&"differ-missing"));
            let elsewhere = table(&format!("proxy_plugins.{name}"), "address = '/tmp/other.sock'");
            assert_eq!(codes(&elsewhere), ["differ-elsewhere"]);
            assert_eq!(codes(&running(DIFFER_KIND, name, Some("no such socket"))), ["differ-failed"]);
            let stale = change(|facts| facts.parts.as_mut().unwrap().retain(|part| part.name != name));
            assert_eq!(codes(&stale), ["containerd-restart-due"]);
            assert_eq!(codes(&running(DIFFER_KIND, name, None)), [""; 0]);
        }
    }

    #[test]
    fn each_snapshotter_needs_an_entry_that_names_us() {
        assert_eq!(codes(&without(&["plugins", TRANSFER])), ["snapshotter-unasked"]);
        let entries = |differ: &str| {
            let entry = |name: &str, differ: &str| format!("{{ snapshotter = '{name}', differ = '{differ}' }}");
            let (ours, other) = (entry("overlayfs", TRANSFER_DIFFER), entry("devmapper", differ));
            codes(&table(&format!("plugins.'{TRANSFER}'"), &format!("unpack_config = [{ours}, {other}]")))
        };
        assert_eq!(entries("walking"), ["snapshotter-unasked"]);
        assert_eq!(entries(TRANSFER_DIFFER), [""; 0]);
        assert_eq!(codes(&running(SNAPSHOTTER, "btrfs", None)), ["snapshotter-without-entry"]);
        assert_eq!(codes(&running(SNAPSHOTTER, "btrfs", Some("not a btrfs"))), [""; 0]);
        assert_eq!(codes(&running(SNAPSHOTTER, "overlayfs", None)), [""; 0]);
        assert_eq!(codes(&running(TRANSFER_KIND, "local", Some("no such snapshotter"))), ["transfer-down"]);
        assert_eq!(codes(&running(TRANSFER_KIND, "local", None)), [""; 0]);
    }

    #[test]
    fn the_transfer_service_of_1_7_is_weak_and_has_no_differ_of_ours() {
        let mut facts = without(&["proxy_plugins", TRANSFER_DIFFER]);
        facts.version = Version { major: 1, minor: 7 };
        assert_eq!(codes(&facts), ["transfer-unasked"]);
    }

    #[test]
    fn a_snapshotter_that_brings_layers_by_itself_is_named() {
        let proxied =
            |name: &str| table(&format!("proxy_plugins.{name}"), "type = 'snapshot'\naddress = '/run/s.sock'");
        assert_eq!(codes(&proxied("stargz")), ["snapshotter-unpacks-itself"]);
        assert_eq!(found(&proxied("stargz"))[0].severity, Severity::Error);
        assert_eq!(codes(&proxied("mine")), ["snapshotter-of-others"]);
        let built_in = running(SNAPSHOTTER, "erofs", None);
        assert_eq!(
            (codes(&built_in), found(&built_in)[0].severity),
            (vec!["snapshotter-unpacks-itself"], Severity::Warning)
        );
    }
}
