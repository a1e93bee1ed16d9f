//! What hangs on a subject, says the registry: signatures, or everything.
//!
//! A registry with the referrers API is asked there, any other by the fallback tag. Which of the two it is was either
//! learned before or is learned now: a 404 to the API means that there is none, and is remembered for a while. Nothing
//! but a 404, or a 200 that is no index, means so: falling back after a failure would let whoever can make the API
//! fail choose an older list.
//!
//! The registry may ignore the filter that it was sent and may list an entry twice; what comes out is filtered and free
//! of duplicates, in the registry's order. Entries that cannot be read are passed over, for anybody who may push could
//! otherwise hide the others behind one.
//!
//! Follows the distribution specification 1.1, "Listing Referrers" and "Referrers Tag Schema".

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, StatusCode, Url};
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::answer::Answer;
use super::transport::{Ask, Call};
use crate::oci::{Descriptor, Digest, MAX_MANIFEST_SIZE, media_type, parse_json};
use crate::source::limits::{
    MAX_PAGE_ENTRIES, MAX_REFERRER_PAGES, MAX_REFERRERS_SIZE, MAX_REMEMBERED, REFERRERS_MEMORY,
};
use crate::source::{Referrers, SourceError, TargetFault};

/// Which repositories at which hosts have no referrers API, and until when that is believed. Not which hosts: behind one name
/// there may be several registries, such as in front of mirrors, and one that answers 404 must not hide what is signed in another.
#[derive(Default)]
pub(super) struct WithoutReferrers(Mutex<HashMap<String, Instant>>);

impl WithoutReferrers {
    fn knows(&self, repository: &str) -> bool {
        self.lock().get(repository).is_some_and(|until| Instant::now() < *until)
    }

    fn remember(&self, repository: &str) {
        let mut repositories = self.lock();
        if repositories.len() >= MAX_REMEMBERED {
            repositories.clear();
        }
        repositories.insert(repository.to_owned(), Instant::now() + REFERRERS_MEMORY);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An index, as far as a list of referrers goes.
#[derive(Deserialize)]
struct Page {
    #[serde(deserialize_with = "list_or_null")]
    manifests: Entries,
}

/// Go writes an empty list as `null`.
fn list_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Entries, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// The first entries of a list: a page of four megabytes has room for two million.
#[derive(Default)]
struct Entries {
    first: Vec<Box<RawValue>>,
    /// Whether there are more.
    cut: bool,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct First;

        impl<'de> Visitor<'de> for First {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entries, A::Error> {
                let mut entries = Entries::default();
                while entries.first.len() < MAX_PAGE_ENTRIES {
                    let Some(entry) = list.next_element()? else { return Ok(entries) };
                    entries.first.push(entry);
                }
                while list.next_element::<IgnoredAny>()?.is_some() {
                    entries.cut = true;
                }
                Ok(entries)
            }
        }

        deserializer.deserialize_seq(First)
    }
}

impl Call<'_> {
    /// What refers to a subject, at most `limit` of it.
    pub async fn referrers(&self, subject: &Digest, wanted: Wanted, limit: usize) -> Result<Referrers, SourceError> {
        let mut list = List::new(wanted, limit);
        if !self.has_no_referrers() && self.list_from_api(subject, &mut list).await? {
            return Ok(list.referrers);
        }
        if let Some(index) = self.fallback_index(subject).await? {
            list.add(&self.entries(&index)?);
        }
        Ok(list.referrers)
    }

    /// Whether the registry answers questions for referrers.
    pub async fn has_referrers(&self, subject: &Digest) -> Result<bool, SourceError> {
        Ok(!self.has_no_referrers() && self.list_from_api(subject, &mut List::new(Wanted::Signatures, 0)).await?)
    }

    fn has_no_referrers(&self) -> bool {
        self.registry.without_referrers.knows(&self.place())
    }

    /// The repository at this host.
    fn place(&self) -> String {
        format!("{} {}", self.host.endpoint.key(), self.repository.path())
    }

    /// Reads the pages of the referrers API; `false` where there is no such API.
    async fn list_from_api(&self, subject: &Digest, list: &mut List) -> Result<bool, SourceError> {
        let mut url = self.url(&format!("referrers/{subject}"));
        if list.wanted == Wanted::Signatures {
            url.query_pairs_mut().append_pair("artifactType", media_type::NOTARY_SIGNATURE);
        }
        let mut read = 0;
        for page in 0..MAX_REFERRER_PAGES {
            let ask = Ask::new(Method::GET, url, MAX_MANIFEST_SIZE).accepting(media_type::IMAGE_INDEX);
            let answer = self.ask(&ask).await?;
            if answer.is_unknown_repository() {
                return Err(self.unknown_repository());
            }
            if page == 0 && is_unsupported(&answer) {
                self.registry.without_referrers.remember(&self.place());
                return Ok(false);
            }
            if answer.status != StatusCode::OK {
                return Err(answer.unexpected("referrers"));
            }
            let next = self.next(&answer)?;
            let body = answer.whole("the list of referrers", &self.repository.to_string(), MAX_MANIFEST_SIZE)?;
            list.add(&self.entries(&body)?);
            read += body.len() as u64;
            match next {
                Some(next) if !list.is_full() && read < MAX_REFERRERS_SIZE => url = next,
                next => {
                    list.referrers.truncated |= next.is_some();
                    return Ok(true);
                }
            }
        }
        list.referrers.truncated = true;
        Ok(true)
    }

    /// The next page. It must lie on the registry itself: the grant goes with it.
    pub fn next(&self, answer: &Answer) -> Result<Option<Url>, SourceError> {
        let Some(link) = next_link(&answer.headers) else { return Ok(None) };
        let next = answer.url.join(&link).map_err(|_| self.malformed("the link to the next page is no URL"))?;
        if !self.host.endpoint.owns(&next) {
            return Err(self.host.endpoint.refuse(&next, TargetFault::OtherHost));
        }
        Ok(Some(self.host.endpoint.with_namespace(next)))
    }

    /// The index under the fallback tag, where there is one.
    pub async fn fallback_index(&self, subject: &Digest) -> Result<Option<Vec<u8>>, SourceError> {
        let tag = subject.fallback_tag();
        let ask = Ask::new(Method::GET, self.url(&format!("manifests/{tag}")), MAX_MANIFEST_SIZE);
        let answer = self.ask(&ask.accepting(media_type::IMAGE_INDEX)).await?;
        match answer.status {
            StatusCode::OK => answer.whole(&tag, &self.repository.to_string(), MAX_MANIFEST_SIZE).map(Some),
            _ if answer.is_unknown_repository() => Err(self.unknown_repository()),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(answer.unexpected(&tag)),
        }
    }

    fn entries(&self, body: &[u8]) -> Result<Entries, SourceError> {
        let page: Page = parse_json(body).map_err(|_| self.malformed("its list of referrers is no image index"))?;
        Ok(page.manifests)
    }

    pub fn unknown_repository(&self) -> SourceError {
        Answer::not_found(&format!("the repository {}", self.repository.path()), &self.host.endpoint.name)
    }
}

/// What is looked for among the referrers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Signatures,
    Everything,
}

impl Wanted {
    fn has(self, descriptor: &Descriptor) -> bool {
        self == Self::Everything || may_be_signature(descriptor)
    }
}

/// A list that is being filled.
struct List {
    wanted: Wanted,
    referrers: Referrers,
    seen: HashSet<Digest>,
    limit: usize,
}

impl List {
    fn new(wanted: Wanted, limit: usize) -> Self {
        Self { wanted, referrers: Referrers::default(), seen: HashSet::new(), limit }
    }

    fn is_full(&self) -> bool {
        self.referrers.descriptors.len() >= self.limit
    }

    fn add(&mut self, entries: &Entries) {
        self.referrers.truncated |= entries.cut;
        let readable = entries.first.iter().filter_map(|entry| serde_json::from_str::<Descriptor>(entry.get()).ok());
        for descriptor in readable.filter(|descriptor| self.wanted.has(descriptor)) {
            if self.seen.contains(&descriptor.digest) {
                continue;
            }
            if self.is_full() {
                self.referrers.truncated = true;
                return;
            }
            self.seen.insert(descriptor.digest.clone());
            self.referrers.descriptors.push(descriptor);
        }
    }
}

/// The artifact type decides. The retired artifact manifest was listed without one, and may be a signature.
fn may_be_signature(descriptor: &Descriptor) -> bool {
    match &descriptor.artifact_type {
        Some(artifact_type) => artifact_type == media_type::NOTARY_SIGNATURE,
        None => descriptor.media_type == media_type::ARTIFACT_MANIFEST,
    }
}

/// A registry without the API answers 404, or with something that is no index.
fn is_unsupported(answer: &Answer) -> bool {
    let is_index = answer.media_type() == Some(media_type::IMAGE_INDEX);
    answer.status == StatusCode::NOT_FOUND || (answer.status == StatusCode::OK && !is_index)
}

/// The target of the link with the relation `next` (RFC 8288).
fn next_link(headers: &HeaderMap) -> Option<String> {
    headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).find_map(next_of)
}

fn next_of(value: &str) -> Option<String> {
    let mut rest = value;
    while let Some((target, after)) = rest.split_once('<').and_then(|(_, rest)| rest.split_once('>')) {
        let parameters = after.split('<').next().unwrap_or_default();
        let is_next = |parameter: &str| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            let value = value.trim_matches(|c: char| c == '"' || c == ',' || c.is_whitespace());
            name.trim().eq_ignore_ascii_case("rel") && value.eq_ignore_ascii_case("next")
        };
        if parameters.split(';').any(is_next) {
            return Some(target.to_owned());
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(digit: char, kind: &str) -> Box<RawValue> {
        let digest = digit.to_string().repeat(64);
        RawValue::from_string(format!(r#"{{{kind}"digest":"sha256:{digest}","size":2}}"#)).unwrap()
    }

    fn signature(digit: char) -> Box<RawValue> {
        entry(digit, &format!(r#""mediaType":"m","artifactType":"{}","#, media_type::NOTARY_SIGNATURE))
    }

    fn listed(limit: usize, entries: &[Box<RawValue>]) -> (Vec<char>, bool) {
        let mut list = List::new(Wanted::Signatures, limit);
        list.add(&Entries { first: entries.to_vec(), cut: false });
        let first = |descriptor: &Descriptor| descriptor.digest.hex().chars().next().unwrap();
        (list.referrers.descriptors.iter().map(first).collect(), list.referrers.truncated)
    }

    #[test]
    fn only_what_may_be_a_signature_is_listed_and_only_once() {
        let retired = entry('2', &format!(r#""mediaType":"{}","#, media_type::ARTIFACT_MANIFEST));
        let foreign = entry('3', &format!(r#""mediaType":"{}","artifactType":"sbom","#, media_type::ARTIFACT_MANIFEST));
        let untyped = entry('4', &format!(r#""mediaType":"{}","#, media_type::IMAGE_MANIFEST));
        let unreadable = entry('z', r#""mediaType":"m","#);
        let entries = [unreadable, signature('1'), retired, foreign, untyped, signature('1')];
        assert_eq!(listed(100, &entries), (vec!['1', '2'], false));
    }

    #[test]
    fn a_list_is_cut_at_its_limit_and_says_so() {
        assert_eq!(listed(2, &[signature('1'), signature('2')]), (vec!['1', '2'], false));
        assert_eq!(listed(2, &[signature('1'), signature('2'), signature('2')]), (vec!['1', '2'], false));
        assert_eq!(listed(2, &[signature('1'), signature('2'), signature('3')]), (vec!['1', '2'], true));
    }

    #[test]
    fn the_next_page_is_the_link_that_says_so() {
        for (value, target) in [
            (r#"</v2/a/referrers/d?last=1,2>; rel="next""#, Some("/v2/a/referrers/d?last=1,2")),
            ("<https://x/y>;rel=next", Some("https://x/y")),
            (r#"<a>; rel="prev", <b>; title="t"; REL="Next""#, Some("b")),
            (r#"<a>; rel="next", <b>; rel="last""#, Some("a")),
            (r#"<a>; rel="prev""#, None),
            ("<a", None),
            ("", None),
        ] {
            assert_eq!(next_of(value).as_deref(), target, "{value}");
        }
    }
}
