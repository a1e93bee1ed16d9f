//! The ways of `ctr`, with both snapshotters that need nothing of the machine.

use super::Fate::{ComesIn, Refused, Runs};
use super::Gate::{Run, Unpack, Verifier};
use super::{Cast, Deviations, Fate, Kind, Role, leaves_nothing, settings};
use crate::node::{Image, Node};
use crate::scene::Scene;

/// A way that an image can take; afterwards it is run, unless the way ends before that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Pull,
    PullLocal,
    Import,
    ImportLocal,
    /// `import --no-unpack`: unpacked when it is run.
    ImportOnly,
    /// `content fetch`: unpacked when it is run.
    FetchOnly,
    /// `images mount` of what was fetched. Nothing runs.
    Mount,
    /// `snapshots unpack` of what was fetched.
    Unpacked,
}

/// A row: the way, and what becomes of the admitted, the unsigned and the evil image.
pub(super) type Row = (Way, [Fate; 3]);

const TABLE: [Row; 8] = [
    (Way::Pull, [Runs, Refused(Verifier), Refused(Verifier)]),
    (Way::PullLocal, [Runs, Refused(Unpack), Refused(Run)]),
    (Way::Import, [Runs, Refused(Unpack), Refused(Run)]),
    (Way::ImportLocal, [Runs, Refused(Unpack), Refused(Run)]),
    (Way::ImportOnly, [Runs, Refused(Unpack), Refused(Run)]),
    (Way::FetchOnly, [Runs, Refused(Unpack), Refused(Run)]),
    // The bytes are those of the admitted image, and nothing of the config is used.
    (Way::Mount, [ComesIn, Refused(Unpack), ComesIn]),
    (Way::Unpacked, [Runs, Refused(Unpack), Refused(Run)]),
];

#[test]
fn every_way_of_ctr_with_overlayfs() {
    hold(&Scene::guarded_on(Node::start(), settings), &TABLE, "overlayfs");
}

#[test]
fn every_way_of_ctr_with_native() {
    hold(&Scene::guarded_on(Node::start(), settings), &TABLE, "native");
}

#[test]
fn an_archive_that_came_from_no_registry_runs_by_the_signatures_that_it_brought() {
    let scene = Scene::guarded_on(Node::start(), settings);
    let Cast { admitted, unsigned, .. } = Cast::new(&scene, "carried");
    let name = "local.example/images:v1";
    for way in [&["images", "import"][..], &["images", "import", "--local"]] {
        let import = |namespace: &str, role: &Role| {
            let archive = role.archive.archive();
            let archive = archive.to_str().expect("a path of plain characters");
            scene.try_ctr(namespace, &[way, &["--base-name", "local.example/images", archive]].concat())
        };
        let namespace = format!("signed-{}", way.len());
        import(&namespace, &admitted).expect("its signature is in the archive");
        assert_eq!(scene.try_run(&namespace, &[name]).as_deref(), Ok("carried-admitted"));
        let namespace = format!("unsigned-{}", way.len());
        import(&namespace, &unsigned).expect_err("nobody has signed it");
        assert!(scene.try_run(&namespace, &[name]).is_err(), "nobody has signed it");
    }
}

/// Every cell of the table is as it says, and what is refused leaves nothing behind.
pub(super) fn hold(scene: &Scene, table: &[Row], snapshotter: &str) {
    let cast = Cast::new(scene, "ctr");
    let mut deviations = Deviations::default();
    let mut namespaces = Vec::new();
    for (way, fates) in table {
        for (kind, expected) in Kind::ALL.into_iter().zip(fates) {
            let namespace = format!("{way:?}-{}", kind.name()).to_lowercase();
            let cell = Cell { scene, namespace: &namespace, snapshotter };
            if kind == Kind::Evil {
                cell.take(Way::PullLocal, &cast.admitted).expect("the admitted image comes in");
            }
            let role = cast.role(kind);
            let answer = cell.take(*way, role).and_then(|()| cell.run(*way, &role.image));
            deviations.compare(&format!("{way:?} of {} with {snapshotter}", kind.name()), *expected, role, &answer);
            if kind == Kind::Unsigned {
                assert_eq!(cell.snapshots(), 0, "{namespace}");
            }
            // `ctr images mount` keeps its lease for a day.
            if *way != Way::Mount {
                namespaces.push(namespace);
            }
        }
    }
    deviations.none();
    leaves_nothing(scene, &namespaces);
}

struct Cell<'a> {
    scene: &'a Scene,
    namespace: &'a str,
    snapshotter: &'a str,
}

impl Cell<'_> {
    /// Takes the image in.
    fn take(&self, way: Way, role: &Role) -> Result<(), String> {
        let archive = role.archive.archive();
        let archive = archive.to_str().expect("a path of plain characters");
        let Image { reference, digest } = &role.image;
        let with = ["--snapshotter", self.snapshotter];
        let base = ["--base-name", role.image.repository()];
        let pull: &[&str] = &["images", "pull", "--plain-http"];
        let import: &[&str] = &["images", "import"];
        match way {
            Way::Pull => self.ctr(&[pull, &with, &[reference]]),
            Way::PullLocal => self.ctr(&[pull, &["--local"], &with, &[reference]]),
            Way::Import => self.ctr(&[import, &with, &base, &[archive]]),
            Way::ImportLocal => self.ctr(&[import, &["--local"], &with, &base, &[archive]]),
            Way::ImportOnly => self.ctr(&[import, &["--no-unpack"], &base, &[archive]]),
            Way::FetchOnly => self.fetch(reference),
            Way::Mount => self.fetch(reference).and_then(|()| self.mount(reference)),
            Way::Unpacked => {
                self.fetch(reference)?;
                self.ctr(&[&["snapshots"], &with, &["unpack", digest]])
            }
        }
    }

    fn fetch(&self, reference: &str) -> Result<(), String> {
        self.ctr(&[&["content", "fetch", "--plain-http", reference]])
    }

    fn mount(&self, reference: &str) -> Result<(), String> {
        let place = self.scene.folder().join("mounted");
        let place = place.to_str().expect("a path of plain characters");
        std::fs::create_dir_all(place).expect("the folder can be made");
        self.ctr(&[&["images", "mount", "--snapshotter", self.snapshotter, reference, place]])?;
        let listed = std::fs::read_dir(place).expect("the image is mounted").count();
        assert_ne!(listed, 0, "{reference} is mounted and empty");
        self.ctr(&[&["images", "unmount", place]])
    }

    /// Runs the image where the way goes that far.
    fn run(&self, way: Way, image: &Image) -> Result<Option<String>, String> {
        if way == Way::Mount {
            return Ok(None);
        }
        self.scene.try_run(self.namespace, &["--snapshotter", self.snapshotter, &image.reference]).map(Some)
    }

    fn snapshots(&self) -> usize {
        let listed = self.scene.try_ctr(self.namespace, &["snapshots", "--snapshotter", self.snapshotter, "ls"]);
        // The first line is the heading.
        listed.expect("containerd lists what it holds").lines().count() - 1
    }

    fn ctr(&self, arguments: &[&[&str]]) -> Result<(), String> {
        self.scene.try_ctr(self.namespace, &arguments.concat()).map(|_| ())
    }
}
