//! A whole image goes: the image first, so that nobody finds it without its signatures; then what hung on it, from the top down.
//!
//! What else is in the repository stays whole. Every tag is looked at first: where another one points to the image, or to an
//! index that lists it, nothing is removed unless that is insisted on, and a platform's manifest that another image lists
//! stays with everything that hangs on it.

use std::collections::{HashMap, HashSet, VecDeque};

use futures_util::{StreamExt as _, stream};
use serde::Serialize;

use crate::cli::exit::{Exit, Failure};
use crate::cli::place::Target;
use crate::cli::{Output, output};
use crate::oci::{Descriptor, Digest, Links, Location, Repository, Tag, media_type};
use crate::source::discover::{Found, Relation, State, Tree};
use crate::source::limits::{MAX_TRANSFERS, MAX_TREE_DEPTH, MAX_TREE_MANIFESTS, MAX_USING_MANIFESTS, MAX_USING_TAGS};
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
    /// What other images list, with all that hangs on it.
    kept: Vec<Line>,
    /// The tags that go with the image.
    tags: Vec<String>,
}

#[derive(Serialize)]
struct Line {
    digest: Digest,
    kind: String,
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
    let uses = Uses::of(sink, repository, &target.location, &tree).await.map_err(unread)?;
    let root = &target.descriptor.digest;
    if let (Some(tags), false) = (uses.of.get(root), force) {
        return Err(in_use(&target, tags));
    }
    let staying = staying(&tree, &uses, root);
    let once = tree.manifests.iter().enumerate().filter(|(_, found)| found.state != State::Repeated);
    let (kept, going): (Vec<_>, Vec<_>) = once.partition(|(_, found)| staying.contains(&found.descriptor.digest));
    if yes {
        for (number, found) in &going {
            take_away(sink, repository, &tree, *number, found).await.map_err(|error| Failure::of(&error))?;
        }
    }
    let line = |(_, found): &(usize, &Found)| Line { digest: found.descriptor.digest.clone(), kind: kind(found) };
    let report = Report {
        reference: target.pinned().to_string(),
        dry_run: !yes,
        removed: going.iter().map(line).collect(),
        kept: kept.iter().map(line).collect(),
        tags: target.location.tag().iter().chain(uses.of.get(root).into_iter().flatten()).map(name).collect(),
    };
    output::print(output, &report, || text(&report));
    if output == Output::Text && !yes {
        output::hint("nothing was written; with `--yes` it is removed");
    }
    Ok(Exit::Done)
}

fn name(tag: &Tag) -> String {
    tag.as_str().to_owned()
}

/// Which other tags of the repository need which manifests.
#[derive(Default)]
struct Uses {
    of: HashMap<Digest, Vec<Tag>>,
}

impl Uses {
    async fn of(
        place: &dyn ImageSink,
        repository: &Repository,
        image: &Location,
        tree: &Tree,
    ) -> Result<Self, SourceError> {
        let Some(root) = tree.manifests.first().map(|root| &root.descriptor.digest) else { return Ok(Self::default()) };
        let own = image.tag();
        let tags = match place.tags(repository, MAX_USING_TAGS).await {
            Err(SourceError::NotFound { .. }) => return Ok(Self::default()),
            tags => tags?,
        };
        if tags.truncated {
            let (what, place) = ("the list of tags".to_owned(), repository.to_string());
            let limit = MAX_USING_TAGS as u64;
            return Err(SourceError::TooManyParts { what, place, depth: 0, size: limit + 1, limit });
        }
        let others = tags.names.into_iter().filter(|tag| Some(tag) != own.as_ref() && !belongs_to_a_digest(tag));
        let asked = others.map(async |tag| {
            let pointed = place.resolve(&repository.tagged(tag.clone())).await;
            (tag, pointed)
        });
        let mut answers = std::pin::pin!(stream::iter(asked).buffered(MAX_TRANSFERS));
        let (mut uses, mut read) = (Self::default(), HashMap::new());
        while let Some((tag, pointed)) = answers.next().await {
            let pointed = match pointed {
                // Moved or gone since.
                Err(SourceError::NotFound { .. }) => continue,
                pointed => pointed?,
            };
            // Who names no image of a layout means its only one, whatever it is called.
            if is_only(image) && pointed.digest == *root {
                continue;
            }
            for digest in within(place, repository, pointed, root, &mut read).await? {
                uses.of.entry(digest).or_default().push(tag.clone());
            }
        }
        uses.of.retain(|digest, _| tree.manifests.iter().any(|found| found.descriptor.digest == *digest));
        Ok(uses)
    }
}

fn is_only(image: &Location) -> bool {
    matches!(image, Location::OciLayout { image: None, .. })
}

/// A list of referrers under the fallback tag, or what cosign has put there. These belong to one image and go with it.
fn belongs_to_a_digest(tag: &Tag) -> bool {
    let digest = tag.as_str().split('.').next().and_then(|name| name.strip_prefix("sha256-"));
    digest.is_some_and(|hex| format!("sha256:{hex}").parse::<Digest>().is_ok())
}

/// A manifest and everything that it lists, but for what is below `root`, which is going. What each index lists is read once.
async fn within(
    place: &dyn ImageSink,
    repository: &Repository,
    pointed: Descriptor,
    root: &Digest,
    read: &mut HashMap<Digest, Vec<Descriptor>>,
) -> Result<HashSet<Digest>, SourceError> {
    let (mut within, mut due) = (HashSet::new(), VecDeque::from([pointed]));
    while let Some(manifest) = due.pop_front() {
        let is_new = within.insert(manifest.digest.clone());
        if !is_new || manifest.digest == *root || !media_type::is_index(&manifest.media_type) {
            continue;
        }
        if !read.contains_key(&manifest.digest) {
            if read.len() == MAX_USING_MANIFESTS {
                return Err(too_many(&manifest, repository));
            }
            read.insert(manifest.digest.clone(), parts(place, repository, &manifest).await?);
        }
        due.extend(read.get(&manifest.digest).into_iter().flatten().cloned());
    }
    Ok(within)
}

/// What an index lists; nothing, where it is not there or is none.
async fn parts(
    place: &dyn ImageSink,
    repository: &Repository,
    index: &Descriptor,
) -> Result<Vec<Descriptor>, SourceError> {
    let bytes = match place.manifest(repository, index).await {
        Err(SourceError::NotFound { .. }) => return Ok(Vec::new()),
        Err(error) if error.is_about_content() => return Ok(Vec::new()),
        bytes => bytes?,
    };
    let links = Links::parse(&index.media_type, bytes.bytes()).unwrap_or_default();
    Ok(links.manifests.into_iter().map(|(part, _)| part.bare()).collect())
}

/// What stays: what another tag needs, and whatever hangs on it; but for the image itself, which goes when that is insisted on.
fn staying<'t>(tree: &'t Tree, uses: &Uses, root: &Digest) -> HashSet<&'t Digest> {
    let digests = tree.manifests.iter().map(|found| &found.descriptor.digest);
    let mut staying: HashSet<&Digest> =
        digests.filter(|digest| *digest != root && uses.of.contains_key(*digest)).collect();
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

/// Takes one manifest away, and before that the list of what hangs on it. What is gone already is gone.
async fn take_away(
    sink: &dyn ImageSink,
    repository: &Repository,
    tree: &Tree,
    number: usize,
    found: &Found,
) -> Result<(), SourceError> {
    let gone = |answer: Result<(), SourceError>| match answer {
        Err(SourceError::NotFound { .. }) => Ok(()),
        answer => answer,
    };
    if found.state != State::Missing {
        gone(sink.delete_manifest(repository, &found.descriptor).await)?;
    }
    let has_referrers = tree.below(number).any(|(_, below)| below.relation == Relation::Referrer);
    let Some(list) = found.descriptor.digest.fallback_tag().parse::<Tag>().ok().filter(|_| has_referrers) else {
        return Ok(());
    };
    match sink.resolve(&repository.tagged(list)).await {
        Ok(list) => gone(sink.delete_manifest(repository, &list).await),
        answer => gone(answer.map(drop)),
    }
}

fn too_many(what: &Descriptor, repository: &Repository) -> SourceError {
    let (size, limit) = (MAX_TREE_MANIFESTS as u64 + 1, MAX_TREE_MANIFESTS as u64);
    let (what, place) = (what.digest.to_string(), repository.to_string());
    SourceError::TooManyParts { what, place, depth: MAX_TREE_DEPTH, size, limit }
}

fn in_use(target: &Target, tags: &[Tag]) -> Failure {
    let mut named: Vec<String> = tags.iter().take(NAMED_TAGS).map(|tag| format!("`{}`", tag.as_str())).collect();
    if tags.len() > NAMED_TAGS {
        named.push(format!("{} more", tags.len() - NAMED_TAGS));
    }
    let message = format!("{} is also what other tags point to or list: {}", target.pinned(), named.join(", "));
    let remedy = "remove it with all of them: `--force`";
    Failure { exit: Exit::Denied, ..Failure::unreadable("image-in-use", message, Some(remedy)) }
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
    lines.extend(report.kept.iter().map(|line| format!("  kept  {} {}: another tag lists it", line.digest, line.kind)));
    lines.extend(report.tags.iter().map(|tag| format!("  tag  {tag}")));
    lines.join("\n")
}
