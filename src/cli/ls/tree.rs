//! `pratique ls --tree`: an image's manifests, what refers to them, what refers to that, and cosign's tags.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::exit::{Exit, Failure};
use crate::cli::place::ListArguments;
use crate::cli::{Output, output};
use crate::oci::{Descriptor, Platform};
use crate::source::discover::{Found, Relation, State, Tree};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listing<'a> {
    reference: String,
    #[serde(flatten)]
    image: Node<'a>,
    /// Whether there is more than is listed.
    truncated: bool,
}

/// A manifest with what is below it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Node<'a> {
    #[serde(flatten)]
    descriptor: &'a Descriptor,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<&'a Platform>,
    /// The tag by cosign's scheme.
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
    /// Where it was not read: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    manifests: Vec<Node<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    referrers: Vec<Node<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cosign: Vec<Node<'a>>,
}

pub(super) async fn run(arguments: ListArguments, output: Output) -> Result<Exit, Failure> {
    let target = arguments.target("lists").await?;
    let tree = target.tree().await?;
    let Some(image) = tree.manifests.first() else { return Ok(Exit::Done) };
    let reference = target.pinned().to_string();
    let listing = Listing { reference, image: Node::of(&tree, 0, image), truncated: tree.truncated };
    output::print(output, &listing, || text(&listing));
    Ok(Exit::Done)
}

impl<'a> Node<'a> {
    fn of(tree: &'a Tree, place: usize, found: &'a Found) -> Self {
        let mut node = Self {
            descriptor: &found.descriptor,
            platform: None,
            tag: None,
            state: word(found.state),
            manifests: Vec::new(),
            referrers: Vec::new(),
            cosign: Vec::new(),
        };
        for (place, below) in tree.below(place) {
            let mut child = Self::of(tree, place, below);
            match &below.relation {
                Relation::Part(platform) => {
                    child.platform = platform.as_ref();
                    node.manifests.push(child);
                }
                Relation::Cosign(tag) => {
                    child.tag = Some(tag.as_str());
                    node.cosign.push(child);
                }
                Relation::Referrer | Relation::Image => node.referrers.push(child),
            }
        }
        node
    }

    /// What stands for it on its own line.
    fn line(&self) -> String {
        let platform = self.platform.map(|platform| format!("{platform} ")).unwrap_or_default();
        let state = self.state.map(|state| format!(" ({state})")).unwrap_or_default();
        format!("{platform}{}{state}", self.descriptor.digest)
    }

    /// What is below it, under headings where it has one. What refers to it stands under what it is.
    fn branches(&self) -> Vec<Branch<'_>> {
        let mut kinds: BTreeMap<&str, Vec<&Node<'_>>> = BTreeMap::new();
        for referrer in &self.referrers {
            let kind = referrer.descriptor.artifact_type.as_deref().unwrap_or("of no known type");
            kinds.entry(kind).or_default().push(referrer);
        }
        let parts = self.manifests.iter().map(Branch::Node);
        let kinds = kinds.into_iter().map(|(kind, nodes)| Branch::Heading(kind, nodes));
        let tags = self.cosign.iter().map(|node| Branch::Heading(node.tag.unwrap_or_default(), vec![node]));
        parts.chain(kinds).chain(tags).collect()
    }
}

fn word(state: State) -> Option<&'static str> {
    match state {
        State::Read => None,
        State::Missing => Some("missing"),
        State::Unreadable => Some("unreadable"),
        State::Foreign => Some("foreign"),
        State::Repeated => Some("repeated"),
    }
}

enum Branch<'n> {
    Node(&'n Node<'n>),
    Heading(&'n str, Vec<&'n Node<'n>>),
}

fn text(listing: &Listing<'_>) -> String {
    let mut lines = vec![listing.reference.clone()];
    draw(&mut lines, "", listing.image.branches());
    if lines.len() == 1 {
        lines = vec![format!("nothing hangs on {}", listing.reference)];
    }
    if listing.truncated {
        lines.push("there is more than is listed".to_owned());
    }
    lines.join("\n")
}

/// Draws branches behind a margin. The depth is that of the tree, which is bounded.
fn draw(lines: &mut Vec<String>, margin: &str, branches: Vec<Branch<'_>>) {
    let count = branches.len();
    for (number, branch) in branches.into_iter().enumerate() {
        let (edge, space) = if number + 1 == count { ("└── ", "    ") } else { ("├── ", "│   ") };
        let (line, below) = match branch {
            Branch::Node(node) => (node.line(), node.branches()),
            Branch::Heading(heading, nodes) => (heading.to_owned(), nodes.into_iter().map(Branch::Node).collect()),
        };
        lines.push(format!("{margin}{edge}{line}"));
        draw(lines, &format!("{margin}{space}"), below);
    }
}
