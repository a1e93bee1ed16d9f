//! Every way in, for three images: one that is admitted, one that nobody has signed, and one that has the layers of the
//! admitted image under another config.
//!
//! A table says what becomes of each of them, and which gate stops it. Its node is shared by all of its rows; a cell has a
//! containerd namespace of its own where that is possible, so that every layer is really asked about.

mod bypasses;
mod chaos;
mod crowds;
mod ctr;
mod docker;
mod docker_containers;
mod kinds;
mod kubelet;
mod older;
mod runtimes;
mod tricks;

use crate::archive::Layout;
use crate::node::{Image, Node};
use crate::scene::Scene;
use crate::tools::layout;

/// For images that come without a registry; and a denial is not remembered, so that signing mends it at once.
fn settings(node: &Node) -> String {
    format!(
        "[registry]\ninsecure = ['{}']\n[local_images]\nscope = 'local.example/images'\n[cache]\ndenied_for = '0s'\n",
        node.registry()
    )
}

/// The images of a table, in the order of its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Admitted,
    Unsigned,
    /// The layers of the admitted image under another config. The admitted image is there already, so that nothing of
    /// this one is unpacked, and nobody is asked about its layers.
    Evil,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Admitted, Self::Unsigned, Self::Evil];

    fn name(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Unsigned => "unsigned",
            Self::Evil => "evil",
        }
    }
}

/// What becomes of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It comes in, and its command runs.
    Runs,
    /// It comes in, and is not run.
    ComesIn,
    Refused(Gate),
}

/// Who refuses an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Verifier,
    Unpack,
    Run,
}

impl Gate {
    const ALL: [Self; 3] = [Self::Verifier, Self::Unpack, Self::Run];

    /// How containerd introduces what the gate has said.
    fn introduction(self) -> &'static str {
        match self {
            Self::Verifier => "image verifier bindir blocked pull",
            Self::Unpack => "failed to extract layer",
            Self::Run => "OCI runtime create failed",
        }
    }
}

/// One image, as it can be had: in the registry, and as an archive.
struct Role {
    image: Image,
    archive: Layout,
    /// What its command prints.
    prints: String,
}

/// The three images of a table or of a row of it.
struct Cast {
    admitted: Role,
    unsigned: Role,
    evil: Role,
}

impl Cast {
    /// Three images with layers that no other cast has.
    fn new(scene: &Scene, name: &str) -> Self {
        let good = format!("{name}-admitted");
        let image = scene.signed(&good, &good);
        let archive = Layout::with_signatures(scene, &image, &good);
        let admitted = Role { image, archive, prints: good.clone() };

        let bad = format!("{name}-unsigned");
        // With a base of its own: the admitted image vouches for a layer that both have.
        let archive = Layout::copy(scene, &layout(&bad, &["--own-base"]), &bad);
        let unsigned = Role { image: scene.push_layout(archive.path(), &bad), archive, prints: bad };

        let evil = format!("{name}-evil");
        let archive = Layout::copy(scene, &layout(&good, &[]), &evil).with_other_config(&evil);
        let evil = Role { image: scene.push_layout(archive.path(), &evil), archive, prints: evil };
        Self { admitted, unsigned, evil }
    }

    fn role(&self, kind: Kind) -> &Role {
        match kind {
            Kind::Admitted => &self.admitted,
            Kind::Unsigned => &self.unsigned,
            Kind::Evil => &self.evil,
        }
    }
}

impl Role {
    /// What became of the image, from what the client was told: what the command printed where it was run.
    fn fate(&self, answer: &Result<Option<String>, String>) -> Result<Fate, String> {
        match answer {
            Ok(None) => Ok(Fate::ComesIn),
            Ok(Some(printed)) if *printed == self.prints => Ok(Fate::Runs),
            Ok(Some(printed)) => Err(format!("printed `{printed}`")),
            Err(message) => self.refusal(message).map(Fate::Refused).ok_or_else(|| message.clone()),
        }
    }

    /// The gate that has refused this image, and not something else.
    fn refusal(&self, message: &str) -> Option<Gate> {
        let says_no = ["denied: ", "could not tell: "].iter().any(|answer| message.contains(answer));
        let gate = Gate::ALL.into_iter().find(|gate| message.contains(gate.introduction()));
        gate.filter(|_| says_no && self.is_named_in(message))
    }

    /// By its digest, or by its name: an archive's own index lists the image, too, and may be what was judged.
    fn is_named_in(&self, message: &str) -> bool {
        let (_, path) = self.image.repository().split_once('/').expect("a reference here begins with a host");
        message.contains(&self.image.digest) || message.contains(&format!("{path}@sha256:"))
    }
}

/// Collects the cells of a table that are not as they should be.
#[derive(Default)]
struct Deviations(Vec<String>);

impl Deviations {
    fn compare(&mut self, cell: &str, expected: Fate, role: &Role, answer: &Result<Option<String>, String>) {
        match role.fate(answer) {
            Ok(fate) if fate == expected => {}
            other => self.0.push(format!("{cell}: expected {expected:?}, got {other:?}")),
        }
    }

    fn none(self) {
        assert!(self.0.is_empty(), "{} cells are not as they should be:\n{}", self.0.len(), self.0.join("\n"));
    }
}

/// Nothing is left of what was refused or has ended.
fn leaves_nothing(scene: &Scene, namespaces: &[String]) {
    for namespace in namespaces {
        for what in ["leases", "tasks", "containers"] {
            let left = scene.try_ctr(namespace, &[what, "ls", "-q"]).expect("containerd lists what it holds");
            assert_eq!(left, "", "{what} in {namespace}");
        }
    }
}
