//! Which trust anchors somebody has to renew.

use std::path::Path;

use crate::clock;
use crate::config::NotationDir;
use crate::doctor::Anchor;

/// The anchors of the policy for images that have ended or end soon. A policy or a store that cannot be used is the daemon's to
/// tell: it does not start, or says that the policy is not in force.
pub(super) fn due(notation_dir: &Path) -> Vec<Anchor> {
    let Ok(trust) = NotationDir::new(notation_dir.to_owned()).load_trust() else { return Vec::new() };
    let now = clock::now();
    let mut due = Vec::new();
    for store in trust.policy().trust_stores() {
        for anchor in trust.anchors(store).unwrap_or_default() {
            due.extend(anchor.renewal(now).map(|renewal| Anchor {
                store: store.to_string(),
                subject: anchor.subject().to_string(),
                days_left: renewal.days_left(),
            }));
        }
    }
    due
}
