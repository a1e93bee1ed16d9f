//! How often issuers' servers are asked about revocation, with what result, and how often nobody has to be.
//!
//! Stands between the judge and whoever answers it, and changes nothing about the answers. An issuer's server that fails
//! stops images where revocation is enforced, so whoever watches a node wants to see it before the pulls do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::revocation::{Kept, Responders};
use crate::verify::{Lists, Need, Problem};

/// The bounds of the times that are counted, in seconds: up to what a question may spend with asking.
const TIMES: [f64; 9] = [0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];
/// The result of a server that answered. Whether the answer is to be believed is decided later.
const ANSWERED: &str = "answered";
/// The result where the question's own time was over first.
const ABANDONED: &str = "abandoned";

/// The counts. A clone counts into the same ones.
#[derive(Clone)]
pub(super) struct Inquiries {
    fetches: Family<Fetch, Counter>,
    seconds: Family<Kind, Histogram>,
    looked_up: Family<LookedUp, Counter>,
}

/// There are as many as there are codes, which are fixed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Fetch {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LookedUp {
    kind: &'static str,
    result: &'static str,
}

impl Inquiries {
    pub(super) fn new() -> Self {
        let seconds = Family::new_with_constructor((|| Histogram::new(TIMES)) as fn() -> Histogram);
        Self { fetches: Family::default(), seconds, looked_up: Family::default() }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let Self { fetches, seconds, looked_up } = self;
        registry.register(
            "revocation_fetches",
            "Questions to issuers' servers, by what came of them: `answered`, `abandoned`, or a code",
            fetches.clone(),
        );
        registry.register("revocation_fetch_seconds", "The time that issuers' servers took", seconds.clone());
        registry.register(
            "revocation_lookups",
            "Looks for an answer that was brought before, by whether there was one: `hit` or `miss`",
            looked_up.clone(),
        );
    }

    /// These responders, counted.
    pub(super) fn counting(&self, responders: impl Responders + 'static) -> Arc<dyn Responders> {
        Arc::new(Counted { responders, inquiries: self.clone() })
    }
}

struct Counted<R> {
    responders: R,
    inquiries: Inquiries,
}

/// A server that is being asked. Counted when it ends, also where nobody waits for it any more.
struct Asking<'i> {
    inquiries: &'i Inquiries,
    kind: &'static str,
    since: Instant,
    result: &'static str,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let Self { inquiries, kind, since, result } = self;
        inquiries.fetches.get_or_create(&Fetch { kind, result }).inc();
        inquiries.seconds.get_or_create(&Kind { kind }).observe(since.elapsed().as_secs_f64());
    }
}

#[async_trait]
impl<R: Responders> Responders for Counted<R> {
    fn lists(&self) -> Result<Lists, Problem> {
        self.responders.lists()
    }

    fn edition(&self) -> u64 {
        self.responders.edition()
    }

    fn remembered(&self, need: &Need, now: Timestamp) -> Option<Arc<[u8]>> {
        let found = self.responders.remembered(need, now);
        let result = if found.is_some() { "hit" } else { "miss" };
        self.inquiries.looked_up.get_or_create(&LookedUp { kind: label(need), result }).inc();
        found
    }

    async fn ask(&self, need: &Need) -> Result<Arc<[u8]>, Problem> {
        let since = Instant::now();
        let mut asking = Asking { inquiries: &self.inquiries, kind: label(need), since, result: ABANDONED };
        let answer = self.responders.ask(need).await;
        asking.result = answer.as_ref().map_or_else(|problem| problem.code.as_str(), |_| ANSWERED);
        answer
    }

    fn asks_everybody(&self) -> bool {
        self.responders.asks_everybody()
    }

    fn keep(&self, need: &Need, bytes: &Arc<[u8]>, kept: Kept) {
        self.responders.keep(need, bytes, kept);
    }

    fn patience(&self) -> Duration {
        self.responders.patience()
    }
}

fn label(need: &Need) -> &'static str {
    match need {
        Need::Ocsp { .. } => "ocsp",
        Need::Crl { .. } => "crl",
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;

    use super::*;
    use crate::revocation::Nobody;

    fn need() -> Need {
        Need::Crl { url: "http://crl.example/a.crl".into() }
    }

    fn text_of(inquiries: &Inquiries) -> String {
        let (mut registry, mut text) = (Registry::default(), String::new());
        inquiries.register(&mut registry);
        text::encode(&mut text, &registry).unwrap();
        text
    }

    #[tokio::test]
    async fn a_question_is_counted_by_its_result_also_when_nobody_waits_for_it() {
        struct Slow;
        #[async_trait]
        impl Responders for Slow {
            fn lists(&self) -> Result<Lists, Problem> {
                Nobody.lists()
            }
            fn remembered(&self, _: &Need, _: Timestamp) -> Option<Arc<[u8]>> {
                Some(Arc::from(*b"kept"))
            }
            async fn ask(&self, _: &Need) -> Result<Arc<[u8]>, Problem> {
                std::future::pending().await
            }
            fn keep(&self, _: &Need, _: &Arc<[u8]>, _: Kept) {}
            fn patience(&self) -> Duration {
                Duration::ZERO
            }
        }
        let inquiries = Inquiries::new();
        let (slow, nobody) = (inquiries.counting(Slow), inquiries.counting(Nobody));
        assert!(tokio::time::timeout(Duration::ZERO, slow.ask(&need())).await.is_err());
        assert!(nobody.ask(&need()).await.is_err());
        assert!(slow.remembered(&need(), crate::clock::now()).is_some());
        assert!(nobody.remembered(&need(), crate::clock::now()).is_none());
        let text = text_of(&inquiries);
        for line in [
            r#"revocation_fetches_total{kind="crl",result="abandoned"} 1"#,
            r#"revocation_fetches_total{kind="crl",result="revocation-unchecked"} 1"#,
            r#"revocation_fetch_seconds_count{kind="crl"} 2"#,
            r#"revocation_lookups_total{kind="crl",result="hit"} 1"#,
            r#"revocation_lookups_total{kind="crl",result="miss"} 1"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
