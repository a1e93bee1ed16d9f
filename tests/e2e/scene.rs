//! What a test needs: a node whose pulls pratique watches, somebody who signs, and what is expected of a pull.

use std::ops::Deref;

use crate::containerd::{Client, Inventory};
use crate::node::{Image, Node};
use crate::notation::{Notation, trusting};
use crate::pratiqued::Pratiqued;
use crate::tools::layout;

/// The key that the node trusts, unless a test says otherwise.
pub const RELEASE: &str = "release";

/// The daemon's own default, below containerd's ten seconds for a verifier.
pub const TOTAL_TIMEOUT: &str = "8s";

/// pratique's two ways not to let an image through, each with its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal<'a> {
    Denied(&'a str),
    /// With the codes that it may have: which of several comes first is not always in the test's hands.
    CouldNotTell(&'a [&'a str]),
}

pub struct Scene {
    // In this order: the daemon goes before the node's folder does.
    pub daemon: Pratiqued,
    pub notation: Notation,
    pub node: Node,
}

impl Scene {
    /// A node that trusts the key `release` for every repository.
    pub fn new() -> Self {
        Self::with_policy(&trusting(RELEASE))
    }

    pub fn with_policy(policy: &str) -> Self {
        Self::prepared(TOTAL_TIMEOUT, |notation| notation.set_policy(policy))
    }

    /// A node whose trust stores and policy are made before the daemon starts, and whose daemon gives up after
    /// `total_timeout`.
    pub fn prepared(total_timeout: &str, prepare: impl FnOnce(&Notation)) -> Self {
        Self::on(Node::start(), total_timeout, "", prepare)
    }

    /// A node whose containerd asks before it unpacks a layer, and whose daemon has these further settings.
    pub fn gated(settings: &str) -> Self {
        Self::gated_with(|_| settings.to_owned())
    }

    /// The same, with settings that depend on the node.
    pub fn gated_with(settings: impl FnOnce(&Node) -> String) -> Self {
        Self::gated_on(Node::start(), settings)
    }

    /// The same on a node that was started already.
    pub fn gated_on(mut node: Node, settings: impl FnOnce(&Node) -> String) -> Self {
        node.gate();
        let settings = settings(&node);
        Self::on(node, TOTAL_TIMEOUT, &settings, |notation| notation.set_policy(&trusting(RELEASE)))
    }

    /// A node with every gate: before a pull, before unpack and before a start.
    pub fn guarded(settings: &str) -> Self {
        Self::guarded_on(Node::start(), |_| settings.to_owned())
    }

    /// The same on a node that was started already, with settings that depend on it.
    pub fn guarded_on(node: Node, settings: impl FnOnce(&Node) -> String) -> Self {
        let scene = Self::gated_on(node, settings);
        scene.gate_starts();
        scene
    }

    /// A node that was started already and has no gate but its verifier.
    pub fn plain_on(node: Node) -> Self {
        Self::on(node, TOTAL_TIMEOUT, "", |notation| notation.set_policy(&trusting(RELEASE)))
    }

    fn on(node: Node, total_timeout: &str, settings: &str, prepare: impl FnOnce(&Notation)) -> Self {
        let notation = Notation::new(&node.folder().join("config"));
        notation.generate(RELEASE);
        prepare(&notation);
        let daemon = Pratiqued::start(node.folder(), &notation.dir(), total_timeout, settings);
        Self { daemon, notation, node }
    }

    /// An image signed with the key `release`.
    pub fn signed(&self, text: &str, name: &str) -> Image {
        let image = self.push(text, name);
        self.notation.sign(&image, RELEASE, &[]);
        image
    }

    /// Puts the image of pods' sandboxes into the registry, signed.
    pub fn signed_pause(&self) -> Image {
        let image = self.push_layout(&layout("pause", &["--pause"]), "pause");
        self.notation.sign(&image, RELEASE, &[]);
        image
    }

    /// Both clients can pull the image.
    pub fn admits(&self, image: &Image) {
        for client in Client::ALL {
            self.admits_to(client, image);
        }
    }

    pub fn admits_to(&self, client: Client, image: &Image) {
        let pull = client.pull(self, image);
        assert!(pull.succeeded, "{client:?} cannot pull {}: {}", image.reference, pull.message);
        // So that what `refuses_to` looks for is known to be there after a pull that goes through.
        let held = Inventory::of(self);
        let own = |name: &str| format!("{}/{name}", client.namespace());
        assert!(held.images.contains(&own(&image.reference)), "{client:?}: no {} among {held:?}", image.reference);
        assert!(held.blobs.contains(&own(&image.digest)), "{client:?}: no {} among {held:?}", image.digest);
        let has_snapshot = held.snapshots.iter().any(|name| name.starts_with(client.namespace()));
        assert!(has_snapshot, "{client:?}: no snapshot among {held:?}");
    }

    /// Both clients can pull the image, and its command runs.
    pub fn admits_and_runs(&self, image: &Image, text: &str) {
        for client in Client::ALL {
            self.admits_to(client, image);
            assert_eq!(self.run(client.namespace(), image), text, "{client:?}");
        }
    }

    /// Neither client can pull the image; both are told why, and nothing of it is left.
    pub fn refuses(&self, image: &Image, refusal: Refusal<'_>) {
        for client in Client::ALL {
            self.refuses_to(client, image, refusal);
        }
    }

    pub fn refuses_to(&self, client: Client, image: &Image, refusal: Refusal<'_>) {
        let before = Inventory::at_rest(self);
        let pull = client.pull(self, image);
        assert!(!pull.succeeded, "{client:?} pulled {}, expected {refusal:?}", image.reference);
        refusal.stands_in(&pull.message, image);
        assert_eq!(
            Inventory::at_rest(self),
            before,
            "{client:?}: the refused pull of {} left something",
            image.reference
        );
    }
}

/// Pushing, running and the like are the node's.
impl Deref for Scene {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Refusal<'_> {
    /// The line that the client shows must do alone: answer, image and code.
    pub fn stands_in(self, message: &str, image: &Image) {
        let (answer, codes) = match &self {
            Self::Denied(code) => ("denied: ", std::slice::from_ref(code)),
            Self::CouldNotTell(codes) => ("could not tell: ", *codes),
        };
        let line = message.lines().find(|line| line.contains(answer));
        let line = line.unwrap_or_else(|| panic!("expected {self:?}, the client was told: {message}"));
        let code_stands_there = codes.iter().any(|code| line.contains(&format!("[{code}]")));
        assert!(code_stands_there, "expected {self:?}, the client was told: {message}");
        assert!(line.contains(&image.digest), "the image's digest is missing: {message}");
    }
}
