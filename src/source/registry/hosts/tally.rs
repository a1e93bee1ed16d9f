//! What comes of the answers of several hosts to one question.
//!
//! Content is known by its digest, so the first host that has it will do. That a host has none is no proof that the next has
//! none: it may be a mirror that was never filled. So "none" is the answer when every host has said so, and where one of them
//! could not be asked nobody knows.

use crate::oci::Descriptor;
use crate::source::registry::transport::Call;
use crate::source::{Further, Referrers, SourceError};

/// The first good answer, of hosts that are asked one after the other.
pub(in crate::source::registry) async fn first<'c, 'r, T, F>(
    calls: &'c [Call<'r>],
    ask: impl Fn(&'c Call<'r>) -> F,
) -> Result<T, SourceError>
where
    F: Future<Output = Result<T, SourceError>>,
{
    let mut tally = Tally::default();
    for call in calls {
        match ask(call).await {
            Ok(answer) => return Ok(answer),
            Err(error) => tally.hear(error, call),
        }
    }
    Err(tally.end())
}

/// The first list with anything in it, of hosts that are asked one after the other; an empty one, where some have lists and all
/// of them are empty.
pub(in crate::source::registry) async fn lists<'c, 'r, F>(
    calls: &'c [Call<'r>],
    ask: impl Fn(&'c Call<'r>) -> F,
) -> Result<Referrers, SourceError>
where
    F: Future<Output = Result<Referrers, SourceError>>,
{
    let (mut tally, mut empty) = (Tally::default(), None);
    for call in calls {
        match ask(call).await {
            Ok(list) if list.descriptors.is_empty() && !list.truncated => empty = Some(list),
            Ok(list) => return Ok(list),
            Err(error) => tally.hear(error, call),
        }
    }
    tally.end_with(empty)
}

/// All that any host lists, each entry once: for whoever must not miss one. Hosts that could not be asked leave it open.
pub(in crate::source::registry) async fn united<'c, 'r, F>(
    calls: &'c [Call<'r>],
    limit: usize,
    ask: impl Fn(&'c Call<'r>) -> F,
) -> Result<Referrers, SourceError>
where
    F: Future<Output = Result<Referrers, SourceError>>,
{
    let (tally, united) = all(calls, limit, ask).await;
    tally.end_with(united)
}

/// The same beside what is known, for whoever can use some of it without the rest.
pub(in crate::source::registry) async fn further<'c, 'r, F>(
    calls: &'c [Call<'r>],
    known: &[Descriptor],
    limit: usize,
    ask: impl Fn(&'c Call<'r>) -> F,
) -> Further
where
    F: Future<Output = Result<Referrers, SourceError>>,
{
    let (tally, united) = all(calls, known.len().saturating_add(limit), ask).await;
    Further { referrers: without(united.unwrap_or_default(), known, limit), unanswered: tally.open }
}

async fn all<'c, 'r, F>(
    calls: &'c [Call<'r>],
    limit: usize,
    ask: impl Fn(&'c Call<'r>) -> F,
) -> (Tally, Option<Referrers>)
where
    F: Future<Output = Result<Referrers, SourceError>>,
{
    let (mut tally, mut united) = (Tally::default(), None);
    for call in calls {
        match ask(call).await {
            Ok(list) => add(united.get_or_insert_default(), list, limit),
            Err(error) => tally.hear(error, call),
        }
    }
    (tally, united)
}

fn without(mut list: Referrers, known: &[Descriptor], limit: usize) -> Referrers {
    // Not by the digest alone: a mirror could list it with a size that makes it unreadable.
    list.descriptors.retain(|entry| known.iter().all(|known| !known.same_content(entry)));
    list.truncated |= list.descriptors.len() > limit;
    list.descriptors.truncate(limit);
    list
}

fn add(united: &mut Referrers, list: Referrers, limit: usize) {
    united.truncated |= list.truncated;
    for descriptor in list.descriptors {
        if united.descriptors.iter().any(|known| known.same_content(&descriptor)) {
            continue;
        }
        if united.descriptors.len() == limit {
            united.truncated = true;
            return;
        }
        united.descriptors.push(descriptor);
    }
}

/// What the hosts have said that did not have it.
#[derive(Default)]
struct Tally {
    /// The error that tells most, of those that leave the question open.
    open: Option<SourceError>,
    /// That it is not there.
    absent: Option<SourceError>,
}

impl Tally {
    fn hear(&mut self, error: SourceError, call: &Call<'_>) {
        tracing::debug!(registry = %call.host.endpoint.name, error = %error, "this host does not help");
        self.note(error, call.host.is_guess);
    }

    fn note(&mut self, error: SourceError, is_guess: bool) {
        match error {
            // There was nobody to ask.
            SourceError::Tls { .. } | SourceError::Unreachable { .. } if is_guess => {}
            SourceError::NotFound { .. } => self.absent = Some(error),
            // A word of a host tells more than that there was none; otherwise the host that is asked first is meant most.
            _ if self.open.as_ref().is_none_or(|open| is_silence(open) && !is_silence(&error)) => {
                self.open = Some(error);
            }
            _ => {}
        }
    }

    fn end(self) -> SourceError {
        let nobody = || SourceError::NotFound { what: "a host".into(), place: "the configuration".into() };
        self.open.or(self.absent).unwrap_or_else(nobody)
    }

    /// The list, unless it may be another.
    fn end_with(self, list: Option<Referrers>) -> Result<Referrers, SourceError> {
        match (self.open, list) {
            (None, Some(list)) => Ok(list),
            (open, _) => Err(Self { open, absent: self.absent }.end()),
        }
    }
}

fn is_silence(error: &SourceError) -> bool {
    matches!(error, SourceError::Unreachable { .. } | SourceError::Timeout { .. } | SourceError::Tls { .. })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::oci::{Descriptor, media_type};
    use crate::remedy::Remedy as _;
    use crate::source::{NetworkFault, RegistryWords};

    /// An answer that is no list, by one letter.
    fn error(letter: char) -> SourceError {
        let (host, words) = (String::from("h"), RegistryWords::default());
        match letter {
            'n' => SourceError::NotFound { what: "it".into(), place: host },
            'u' => SourceError::Unreachable { host, broken: false, source: NetworkFault("no".into()) },
            't' => SourceError::Timeout { host, limit: Duration::from_secs(1) },
            'x' => SourceError::Tls { host, source: NetworkFault("no".into()) },
            '5' => SourceError::Server { host, status: 500, retry_after: None, words },
            '4' => SourceError::Unauthorized { host, anonymous: true, words },
            _ => panic!("{letter}"),
        }
    }

    #[test]
    fn none_is_the_answer_only_when_every_host_says_so() {
        #[rustfmt::skip]
        let cases = [
            // The answers in the order of the hosts (`e`: an empty list; after `?` comes a guess), and what comes of them.
            ("e", "none"), ("n", "not-found"), ("ne", "none"), ("en", "none"), ("nn", "not-found"), ("ee", "none"),
            ("ue", "registry-unreachable"), ("eu", "registry-unreachable"), ("un", "registry-unreachable"),
            ("te", "registry-timeout"), ("5n", "registry-server-error"), ("4e", "registry-unauthorized"),
            // What tells most.
            ("u4", "registry-unauthorized"), ("4u", "registry-unauthorized"), ("54", "registry-server-error"),
            ("ut", "registry-unreachable"), ("tu", "registry-timeout"), ("u5n", "registry-server-error"),
            // That nobody speaks TLS at a port that is configured for http is no failure; that somebody fails there is.
            ("?xe", "none"), ("?un", "not-found"), ("?4e", "registry-unauthorized"), ("?xu", "registry-unreachable"),
        ];
        for (answers, expected) in cases {
            let (mut tally, mut empty, mut is_guess) = (Tally::default(), None, false);
            for letter in answers.chars() {
                match letter {
                    '?' => is_guess = true,
                    'e' => empty = Some(Referrers::default()),
                    letter => tally.note(error(letter), std::mem::take(&mut is_guess)),
                }
            }
            let got = tally.end_with(empty).map_or_else(|error| error.code().as_str(), |_| "none");
            assert_eq!(got, expected, "{answers}");
        }
    }

    #[test]
    fn what_several_list_is_listed_once() {
        let list = |texts: &[&str]| Referrers {
            descriptors: texts.iter().map(|text| Descriptor::of(media_type::IMAGE_MANIFEST, text.as_bytes())).collect(),
            truncated: false,
        };
        let mut united = Referrers::default();
        add(&mut united, list(&["a", "b"]), 3);
        add(&mut united, list(&["b", "c"]), 3);
        assert_eq!(united, list(&["a", "b", "c"]));
        add(&mut united, list(&["d"]), 3);
        assert!(united.truncated && united.descriptors.len() == 3);
    }
}
