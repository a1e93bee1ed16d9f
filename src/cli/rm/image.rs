//! A whole image goes: the image first, so that nobody finds it without its signatures; then what hung on it, from the top down.
//!
//! What else is in the repository stays whole. Every tag is looked at first: where another one points to the image, or to an
//! index that lists it, nothing is removed unless that is insisted on, and a platform's manifest that another image lists
//! stays with everything that hangs on it. What belongs to something else by its own words stays, and so does what cannot be
//! read: whoever may push decides what is listed.

use std::collections::HashSet;

use serde::Serialize;

use super::lists::{List, lists};
use super::uses::Uses;
use crate::cli::exit::{Exit, Failure};
use crate::cli::place::Target;
use crate::cli::{Output, output};
use crate::oci::{Descriptor, Digest, Repository};
use crate::source::discover::{Found, Relation, State, Tree};
use crate::source::limits::{MAX_TREE_DEPTH, MAX_TREE_MANIFESTS};
use crate::source::{ImageSink, SourceError};
use crate::verify::Check;

/// How many of the other tags are named in a refusal.
const NAMED_TAGS: usize = 5;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    reference: String,
    /// Whether nothing was written.
    dry_run: bool,
    removed: Vec<Line>,
    /// What is found in the image's tree and stays.
    kept: Vec<Line>,
    /// What the fallback tags point to, which are the image's lists of referrers.
    lists: Vec<ListLine>,
    /// The tags that go with the image.
    tags: Vec<String>,
}

#[derive(Serialize)]
struct Line {
    digest: Digest,
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<Kept>,
}

/// Why something stays.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kept {
    /// Something else needs it, or what it hangs on.
    InUse,
    /// It belongs to something else by its own words.
    Foreign,
    /// It cannot be read, so it may be anybody's.
    Unreadable,
}

#[derive(Serialize)]
struct ListLine {
    tag: String,
    digest: Digest,
    /// Whether it goes.
    removed: bool,
}

pub(super) async fn remove(target: Target, yes: bool, force: bool, output: Output) -> Result<Exit, Failure> {
    let sink = target.image_sink()?;
    let repository = &target.repository;
    let unread = |error: SourceError| Failure::of(&error).about(Check::Retrieval);
    output::warn_about_tag(&target.location, "removes");
    let tree = target.tree().await?;
    if tree.truncated {
        return Err(unread(too_many(&target.descriptor, repository)));
    }
    let lists = lists(sink, repository, &tree).await.map_err(unread)?;
    let wanted = tree.manifests.iter().map(|found| &found.descriptor).chain(lists.iter().map(|list| &list.descriptor));
    let wanted = wanted.map(|descriptor| descriptor.digest.clone()).collect();
    let uses = Uses::of(sink, repository, &target.location, &tree, wanted).await.map_err(unread)?;
    let root = &target.descriptor.digest;
    if !force {
        check(&target, &uses)?;
    }
    let parts = Parts::of(&tree, &lists, &uses, root);
    if yes {
        for found in &parts.going {
            take_away(sink, repository, &parts.lists, found).await.map_err(|error| Failure::of(&error))?;
        }
    }
    let others = uses.users(root).iter().cloned();
    let report = Report {
        reference: target.pinned().to_string(),
        dry_run: !yes,
        removed: parts.going.iter().map(|found| line(found, None)).collect(),
        kept: parts.kept.iter().map(|(found, why)| line(found, Some(*why))).collect(),
        lists: parts.lists.iter().map(|(list, removed)| list_line(list, *removed)).collect(),
        tags: target.location.tag().iter().map(|tag| tag.as_str().to_owned()).chain(others).collect(),
    };
    output::print(output, &report, || text(&report));
    if output == Output::Text && !yes {
        output::hint("nothing was written; with `--yes` it is removed");
    }
    Ok(Exit::Done)
}

/// That nothing else needs the image, as far as can be told.
fn check(target: &Target, uses: &Uses) -> Result<(), Failure> {
    match (uses.users(&target.descriptor.digest), &uses.unknown) {
        ([], None) => Ok(()),
        ([], Some(error)) => Err(use_unknown(target, error)),
        (names, _) => Err(in_use(target, names)),
    }
}

/// What becomes of each part of a tree.
struct Parts<'t> {
    going: Vec<&'t Found>,
    kept: Vec<(&'t Found, Kept)>,
    /// The lists of what goes, and whether they go with it.
    lists: Vec<(&'t List, bool)>,
}

impl<'t> Parts<'t> {
    fn of(tree: &'t Tree, lists: &'t [List], uses: &Uses, root: &Digest) -> Self {
        let staying = staying(tree, uses, root);
        let (mut going, mut kept) = (Vec::new(), Vec::new());
        for found in tree.manifests.iter().filter(|found| found.state != State::Repeated) {
            match found.state {
                State::Foreign => kept.push((found, Kept::Foreign)),
                _ if !staying.contains(&found.descriptor.digest) => going.push(found),
                State::Unreadable => kept.push((found, Kept::Unreadable)),
                _ => kept.push((found, Kept::InUse)),
            }
        }
        let digests: HashSet<&Digest> = going.iter().map(|found| &found.descriptor.digest).collect();
        // What is foreign in one place may be at home in another.
        kept.retain(|(found, _)| !digests.contains(&found.descriptor.digest));
        let lists = lists.iter().filter(|list| digests.contains(&list.subject));
        let lists = lists.map(|list| (list, list.goes(&digests, uses))).collect();
        Self { going, kept, lists }
    }
}

/// What stays: what something else needs or what cannot be read, and whatever hangs on it; but for the image itself, which goes
/// when that is insisted on.
fn staying<'t>(tree: &'t Tree, uses: &Uses, root: &Digest) -> HashSet<&'t Digest> {
    let stays = |found: &&Found| {
        let digest = &found.descriptor.digest;
        digest != root && (found.state == State::Unreadable || !uses.users(digest).is_empty())
    };
    let mut staying: HashSet<&Digest> =
        tree.manifests.iter().filter(stays).map(|found| &found.descriptor.digest).collect();
    // What stands in the tree twice may stay for the second place, and hold something at the first.
    loop {
        let before = staying.len();
        for found in &tree.manifests {
            let parent = found.parent.and_then(|parent| tree.manifests.get(parent));
            if parent.is_some_and(|parent| staying.contains(&parent.descriptor.digest)) {
                staying.insert(&found.descriptor.digest);
            }
        }
        if staying.len() == before {
            return staying;
        }
    }
}

/// Takes one manifest away, and after it the list of what hangs on it. What is gone already is gone.
async fn take_away(
    sink: &dyn ImageSink,
    repository: &Repository,
    lists: &[(&List, bool)],
    found: &Found,
) -> Result<(), SourceError> {
    let gone = |answer: Result<(), SourceError>| match answer {
        Err(SourceError::NotFound { .. }) => Ok(()),
        answer => answer,
    };
    if found.state != State::Missing {
        gone(sink.delete_manifest(repository, &found.descriptor).await)?;
    }
    for (list, _) in lists.iter().filter(|(list, goes)| *goes && list.subject == found.descriptor.digest) {
        gone(sink.delete_manifest(repository, &list.descriptor).await)?;
    }
    Ok(())
}

fn too_many(what: &Descriptor, repository: &Repository) -> SourceError {
    let (size, limit) = (MAX_TREE_MANIFESTS as u64 + 1, MAX_TREE_MANIFESTS as u64);
    let (what, place) = (what.digest.to_string(), repository.to_string());
    SourceError::TooManyParts { what, place, depth: MAX_TREE_DEPTH, size, limit }
}

fn use_unknown(target: &Target, error: &SourceError) -> Failure {
    let why = Failure::of(error).message;
    let message = format!("whether anything else needs {} cannot be told: {why}", target.pinned());
    let remedy = "see what else is in the repository; `--force` removes the image whatever needs it";
    Failure::unreadable("image-use-unknown", message, Some(remedy)).about(Check::Retrieval)
}

fn in_use(target: &Target, users: &[String]) -> Failure {
    let mut named: Vec<String> = users.iter().take(NAMED_TAGS).map(|name| format!("`{name}`")).collect();
    if users.len() > NAMED_TAGS {
        named.push(format!("{} more", users.len() - NAMED_TAGS));
    }
    let message = format!("{} is also what other tags point to or list: {}", target.pinned(), named.join(", "));
    let remedy = "remove it with all of them: `--force`";
    Failure { exit: Exit::Denied, ..Failure::unreadable("image-in-use", message, Some(remedy)) }
}

fn line(found: &Found, why: Option<Kept>) -> Line {
    Line { digest: found.descriptor.digest.clone(), kind: kind(found), why }
}

fn list_line(list: &List, removed: bool) -> ListLine {
    ListLine { tag: list.tag.as_str().to_owned(), digest: list.descriptor.digest.clone(), removed }
}

fn kind(found: &Found) -> String {
    match (&found.relation, &found.descriptor.artifact_type) {
        (Relation::Image, _) => "image".to_owned(),
        (Relation::Part(Some(platform)), _) => platform.to_string(),
        (Relation::Part(None), _) => "manifest".to_owned(),
        (Relation::Cosign(tag), _) => tag.as_str().to_owned(),
        (Relation::Referrer, artifact_type) => artifact_type.clone().unwrap_or_else(|| "referrer".to_owned()),
    }
}

fn text(report: &Report) -> String {
    let does = if report.dry_run { "would remove" } else { "removed" };
    let mut lines = vec![format!("{does} {}", report.reference)];
    lines.extend(report.removed.iter().map(|line| format!("  {does}  {} {}", line.digest, line.kind)));
    let why = |line: &Line| match line.why {
        Some(Kept::Foreign) => "it belongs to something else",
        Some(Kept::Unreadable) => "it cannot be read, and may be anybody's",
        Some(Kept::InUse) | None => "another tag lists it",
    };
    lines.extend(report.kept.iter().map(|line| format!("  kept  {} {}: {}", line.digest, line.kind, why(line))));
    lines.extend(report.lists.iter().map(|list| {
        let (does, why) = if list.removed { (does, "") } else { ("kept", ": more than this image needs it") };
        format!("  {does}  {} the list `{}`{why}", list.digest, list.tag)
    }));
    lines.extend(report.tags.iter().map(|tag| format!("  tag  {tag}")));
    lines.join("\n")
}
