//! A node that was made up, for tests of the gate before a start: its containerd says what it is told to say.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use async_trait::async_trait;

use super::super::testing::{self, NoSignatures, OPENS, Store, image_of, layer};
use super::*;
use crate::oci::Blob;
use crate::rootfs::{self, DiffIds, Identity, Mount, MountPoint};
use crate::source::containerd::{Holdings, Snapshot};

/// The containerd namespace of a test.
pub(super) const NS: &str = "default";

/// What a containerd says that was made up.
#[derive(Default)]
pub(super) struct Said {
    pub(super) containers: BTreeMap<(String, String), Container>,
    pub(super) images: BTreeMap<(String, String), Descriptor>,
    pub(super) snapshots: BTreeMap<String, (String, Vec<Mount>)>,
    pub(super) is_down: bool,
}

pub(super) struct Fake(Mutex<Said>);

impl Fake {
    fn answer<T>(&self, answer: impl FnOnce(&Said) -> T) -> Result<T, SourceError> {
        let said = self.0.lock().unwrap();
        if said.is_down {
            return Err(SourceError::ContainerdUnreachable { socket: "/c.sock".into(), fault: "refused".into() });
        }
        Ok(answer(&said))
    }
}

#[async_trait]
impl Containers for Fake {
    async fn container(&self, namespace: &str, id: &str) -> Result<Option<Container>, SourceError> {
        self.answer(|said| said.containers.get(&(namespace.into(), id.into())).cloned())
    }
    async fn image(&self, namespace: &str, name: &str) -> Result<Option<ImageRecord>, SourceError> {
        Ok(self.images(namespace).await?.into_iter().find(|record| record.name == name))
    }
    async fn images(&self, namespace: &str) -> Result<Vec<ImageRecord>, SourceError> {
        self.answer(|said| {
            let images = said.images.iter().filter(|((within, _), _)| within == namespace);
            images.map(|((_, name), target)| ImageRecord { name: name.clone(), target: target.clone() }).collect()
        })
    }
    async fn remove_image(&self, _: &str, _: &str) -> Result<(), SourceError> {
        panic!("a question removes nothing")
    }
    async fn running(&self, _: &str) -> Result<Vec<String>, SourceError> {
        panic!("a question is about one container")
    }
}

#[async_trait]
impl Snapshots for Fake {
    async fn snapshot(&self, _: Place<'_>, key: &str) -> Result<Option<Snapshot>, SourceError> {
        self.answer(|said| said.snapshots.get(key).map(|(parent, _)| Snapshot { parent: parent.clone() }))
    }
    async fn committed(&self, _: Place<'_>) -> Result<Vec<String>, SourceError> {
        panic!("a question is about one snapshot")
    }
    async fn mounts(&self, _: Place<'_>, key: &str) -> Result<Option<Vec<Mount>>, SourceError> {
        self.answer(|said| said.snapshots.get(key).map(|(_, mounts)| mounts.clone()))
    }
    async fn view(&self, place: Place<'_>, name: &str) -> Result<Option<Vec<Mount>>, SourceError> {
        self.mounts(place, name).await
    }
}

/// An image: its manifest, and the snapshots that unpacking it makes.
pub(super) struct Unpacked {
    pub(super) manifest: Blob,
    pub(super) chain: Vec<ChainName>,
}

/// The name of a snapshot.
pub(super) type ChainName = String;

/// A node: what its containerd says and holds, its ledger, and the gate over both.
pub(super) struct Scene {
    dir: tempfile::TempDir,
    containerd: Arc<Fake>,
    pub(super) store: Arc<Store>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) judge: Judge,
    gate: RunGate,
}

/// What is shipped, and nothing allowed.
pub(in super::super) const OPTIONS: RunOptions = RunOptions {
    local: LocalImages { scope: None, places: Places::ThisNode },
    places: Places::Everywhere,
    without_image: WithoutImage::Deny,
    builder_namespaces: Vec::new(),
    sandbox: SandboxImage::Verify,
    image_volumes: ImageVolumes::Verify,
};

impl Scene {
    pub(super) fn new() -> Self {
        Self::with(OPTIONS)
    }

    pub(super) fn with(options: RunOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (containerd, store) = (Arc::new(Fake(Mutex::default())), Arc::new(Store::default()));
        let inventory = Arc::new(Inventory::new(Arc::clone(&store) as Arc<dyn Holdings>));
        let ledger = Arc::new(Ledger::open(&dir.path().join("ledger.redb")).unwrap());
        let judge = testing::judge(OPENS, Arc::new(NoSignatures));
        let gate = RunGate::new(Arc::clone(&containerd) as Arc<dyn Made>, inventory, Arc::clone(&ledger), options);
        Self { dir, containerd, store, ledger, judge, gate }
    }

    /// Has containerd say something else.
    pub(super) fn say(&self, say: impl FnOnce(&mut Said)) {
        say(&mut self.containerd.0.lock().unwrap());
    }

    /// Where a snapshot's content lies.
    pub(super) fn directory(&self, snapshot: &str) -> PathBuf {
        let path = self.dir.path().join("snapshots").join(snapshot.replace(['/', ':'], "_")).join("fs");
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// An image of these layers that is in the content store, with a config of this name.
    pub(super) fn image(&self, namespace: &str, config: &str, layers: &[&str]) -> Unpacked {
        let (config, manifest) = image_of(config, layers);
        let chain = DiffIds::parse(config.bytes()).unwrap().chain();
        self.store.hold(namespace, &config);
        self.store.hold(namespace, &manifest);
        Unpacked { manifest, chain: chain.iter().map(|name| name.as_str().to_owned()).collect() }
    }

    pub(super) fn name(&self, namespace: &str, name: &str, image: &Unpacked) {
        let target = image.manifest.descriptor().clone();
        self.say(|said| drop(said.images.insert((namespace.into(), name.into()), target)));
    }

    /// Unpacks the layers under the eyes of the gate.
    pub(super) fn unpack(&self, image: &Unpacked, layers: &[&str]) {
        for (name, text) in image.chain.iter().zip(layers) {
            let unpacked = rootfs::Unpacked { layer: layer(text).digest, diff_id: None, vouched_by: None };
            self.ledger.record(&self.directory(name), &unpacked).unwrap();
        }
        self.commit(image);
    }

    /// Makes the snapshots, whoever has filled them.
    pub(super) fn commit(&self, image: &Unpacked) {
        let mut below = String::new();
        for name in &image.chain {
            let mounts = vec![bind(&self.directory(name))];
            self.say(|said| drop(said.snapshots.insert(name.clone(), (below, mounts))));
            below = name.clone();
        }
    }

    pub(super) fn container(&self, namespace: &str, id: &str, image: &str) {
        let container = Container {
            id: id.into(),
            image: image.into(),
            snapshotter: "overlayfs".into(),
            snapshot_key: id.into(),
            ..Container::default()
        };
        self.say(|said| drop(said.containers.insert((namespace.into(), id.into()), container)));
    }

    /// A container's snapshot on these, base first, and its question.
    pub(super) fn start(&self, namespace: &str, id: &str, below: &[ChainName]) -> StartQuestion {
        let lower: Vec<String> = below.iter().rev().map(|name| self.directory(name).display().to_string()).collect();
        let options = format!("lowerdir={},upperdir={}", lower.join(":"), self.directory(id).display());
        let mount = Mount {
            kind: "overlay".into(),
            source: "overlay".into(),
            options: options.split(',').map(str::to_owned).collect(),
        };
        let parent = below.last().cloned().unwrap_or_default();
        self.say(|said| drop(said.snapshots.insert(id.into(), (parent, vec![mount]))));
        StartQuestion {
            namespace: namespace.into(),
            container: id.into(),
            is_sandbox: false,
            containerd: String::new(),
            root: shown("/run/rootfs", "overlay", &options),
            volumes: Vec::new(),
        }
    }

    /// An image that is unpacked and named, and a container of it.
    pub(super) fn ready(&self, name: &str) -> (Unpacked, StartQuestion) {
        let image = self.image(NS, name, &["base", "top"]);
        self.name(NS, name, &image);
        self.unpack(&image, &["base", "top"]);
        self.container(NS, "c1", name);
        let question = self.start(NS, "c1", &image.chain);
        (image, question)
    }

    /// The answer's code, which must be one of those that let a container start exactly where it does.
    pub(super) async fn code(&self, question: &StartQuestion) -> &'static str {
        let answer = self.gate.judge(&self.judge, question).await;
        let verdict = answer.answered.verdict;
        let is_deferred = ["boot-floor", "build-step", "sandbox-allowed", "container-without-image-allowed"];
        let admits = verdict.answer() == Answer::Admit;
        assert_eq!(
            admits,
            verdict.code.as_str() == "verification-skipped" || is_deferred.contains(&verdict.code.as_str())
        );
        verdict.code.as_str()
    }
}

/// A mount as the stand-in for the runtime tells it.
pub(super) fn shown(path: &str, kind: &str, options: &str) -> Directory {
    let mount = Some(MountPoint { kind: kind.into(), options: options.into() });
    Directory { path: path.into(), found: Found { mount, identity: Identity { device: 0, inode: 0 }, mounts_below: 0 } }
}

/// A snapshot of one directory.
pub(super) fn bind(directory: &Path) -> Mount {
    Mount { kind: "bind".into(), source: directory.display().to_string(), options: vec!["rbind".into()] }
}
