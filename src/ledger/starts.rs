//! About which containers pratique was asked before they were started.

use redb::{TableDefinition, WriteTransaction};

use super::{Ledger, LedgerError};

/// From namespace and identifier, with a slash between, to when it was asked, in seconds since 1970.
const STARTS: TableDefinition<'_, &str, i64> = TableDefinition::new("starts");

pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(STARTS)?;
    Ok(())
}

/// A namespace has no slash in it.
fn key(namespace: &str, container: &str) -> String {
    format!("{namespace}/{container}")
}

impl Ledger {
    /// Keeps that a container is about to be started with leave.
    pub fn record_start(&self, namespace: &str, container: &str, at: i64) -> Result<(), LedgerError> {
        self.write("write to", |transaction| {
            transaction.open_table(STARTS)?.insert(key(namespace, container).as_str(), at)?;
            Ok(())
        })
    }

    /// Whether a container was started with leave.
    pub fn was_asked_about(&self, namespace: &str, container: &str) -> Result<bool, LedgerError> {
        self.read("read", |transaction| {
            Ok(transaction.open_table(STARTS)?.get(key(namespace, container).as_str())?.is_some())
        })
    }

    /// Forgets a container that has ended.
    pub fn forget_start(&self, namespace: &str, container: &str) -> Result<(), LedgerError> {
        self.write("write to", |transaction| {
            transaction.open_table(STARTS)?.remove(key(namespace, container).as_str())?;
            Ok(())
        })
    }

    /// Forgets the containers of a namespace that are not among these and were asked about before this, in seconds since
    /// 1970.
    pub fn keep_starts(&self, namespace: &str, running: &[String], before: i64) -> Result<(), LedgerError> {
        self.write("write to", |transaction| {
            let prefix = key(namespace, "");
            let is_over = |known: &str| {
                let id = known.strip_prefix(&prefix);
                id.is_some_and(|id| !running.iter().any(|running| running == id))
            };
            transaction.open_table(STARTS)?.retain(|known, at| at >= before || !is_over(known))?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_known_by_its_namespace_and_until_it_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("ledger.redb")).unwrap();
        for id in ["a", "b"] {
            ledger.record_start("default", id, 1).unwrap();
        }
        let known = |namespace: &str, id: &str| ledger.was_asked_about(namespace, id).unwrap();
        assert!(known("default", "a") && !known("other", "a") && !known("default", "c"));
        ledger.keep_starts("other", &[], 2).unwrap();
        ledger.keep_starts("default", &["b".to_owned()], 1).unwrap();
        assert!(known("default", "a"), "it may be about to run");
        ledger.keep_starts("default", &["b".to_owned()], 2).unwrap();
        assert!(!known("default", "a") && known("default", "b"));
        ledger.forget_start("default", "b").unwrap();
        assert!(!known("default", "b"));
    }
}
