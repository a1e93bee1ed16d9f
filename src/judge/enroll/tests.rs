use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use jiff::Timestamp;

use super::super::Inventory;
use super::super::run::Made;
use super::super::run::testing::OPTIONS;
use super::super::testing::{self, NoSignatures, OPEN, OPENS, SHUT, Store, image_of, layer};
use super::*;
use crate::oci::Blob;
use crate::remedy::Remedy as _;
use crate::rootfs::{DiffIds, Mount, Origin, Unpacked};
use crate::source::SourceError;
use crate::source::containerd::{Change, Container, Plugin, SCRATCH_PREFIX, Snapshot, Stored};

const NS: &str = "default";

/// A containerd that was made up, with directories that are real. A layer is a file with its text as name and content.
struct Fake {
    dir: PathBuf,
    store: Arc<Store>,
    images: Mutex<Vec<ImageRecord>>,
    /// From a snapshot to the one below.
    snapshots: Mutex<BTreeMap<String, String>>,
    /// What comes out of a blob, where it can be unpacked.
    unpacked: Mutex<BTreeMap<Digest, (String, Digest)>>,
    /// Whether unpacking never ends.
    hangs: bool,
    ledger: Arc<Ledger>,
}

impl Fake {
    fn directory(&self, snapshot: &str) -> PathBuf {
        self.dir.join("snapshots").join(snapshot.replace(':', "_")).join("fs")
    }

    fn bind(&self, snapshot: &str) -> Vec<Mount> {
        let source = self.directory(snapshot).display().to_string();
        vec![Mount { kind: "bind".into(), source, options: vec!["rbind".into()] }]
    }

    fn scratches(&self) -> Vec<String> {
        let snapshots = self.snapshots.lock().unwrap();
        snapshots.keys().filter(|name| name.starts_with(SCRATCH_PREFIX)).cloned().collect()
    }
}

fn fill(directory: &Path, text: &str) {
    fs::create_dir_all(directory).unwrap();
    let path = directory.join(text);
    fs::write(&path, text).unwrap();
    let at = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    fs::File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
}

#[async_trait]
impl Containers for Fake {
    async fn container(&self, _: &str, _: &str) -> Result<Option<Container>, SourceError> {
        panic!("enrolling looks at images")
    }
    async fn image(&self, _: &str, _: &str) -> Result<Option<ImageRecord>, SourceError> {
        panic!("enrolling looks at all images")
    }
    async fn images(&self, _: &str) -> Result<Vec<ImageRecord>, SourceError> {
        Ok(self.images.lock().unwrap().clone())
    }
    async fn remove_image(&self, _: &str, _: &str) -> Result<(), SourceError> {
        panic!("enrolling removes nothing")
    }
    async fn running(&self, _: &str) -> Result<Vec<String>, SourceError> {
        panic!("enrolling looks at images")
    }
}

#[async_trait]
impl Snapshots for Fake {
    async fn snapshot(&self, _: Place<'_>, key: &str) -> Result<Option<Snapshot>, SourceError> {
        Ok(self.snapshots.lock().unwrap().get(key).map(|parent| Snapshot { parent: parent.clone() }))
    }
    async fn committed(&self, _: Place<'_>) -> Result<Vec<String>, SourceError> {
        panic!("enrolling looks at the snapshots of images")
    }
    async fn mounts(&self, _: Place<'_>, key: &str) -> Result<Option<Vec<Mount>>, SourceError> {
        Ok(self.snapshots.lock().unwrap().get(key).map(|_| self.bind(key)))
    }
    async fn view(&self, place: Place<'_>, name: &str) -> Result<Option<Vec<Mount>>, SourceError> {
        self.mounts(place, name).await
    }
}

#[async_trait]
impl Holdings for Fake {
    async fn namespaces(&self) -> Result<Vec<String>, SourceError> {
        self.store.namespaces().await
    }
    async fn blobs(&self, namespace: &str) -> Result<Vec<Stored>, SourceError> {
        self.store.blobs(namespace).await
    }
    async fn blob(&self, namespace: &str, digest: &Digest) -> Result<Option<Stored>, SourceError> {
        self.store.blob(namespace, digest).await
    }
    async fn read(&self, namespace: &str, digest: &Digest, limit: u64) -> Result<Vec<u8>, SourceError> {
        self.store.read(namespace, digest, limit).await
    }
    async fn names(&self, namespace: &str, targets: &[Digest]) -> Result<Vec<String>, SourceError> {
        self.store.names(namespace, targets).await
    }
    async fn changes(&self) -> Result<BoxStream<'static, Change>, SourceError> {
        self.store.changes().await
    }
}

#[async_trait]
impl Introspection for Fake {
    async fn plugins(&self) -> Result<Vec<Plugin>, SourceError> {
        let plugin = |name: &str, fault: Option<&str>| Plugin {
            kind: SNAPSHOTTER.into(),
            name: name.into(),
            fault: fault.map(str::to_owned),
        };
        Ok(vec![plugin("overlayfs", None), plugin("broken", Some("no such device"))])
    }
}

#[async_trait]
impl Scratches for Fake {
    async fn prepare(&self, _: Place<'_>, key: &str, parent: &str, _: Timestamp) -> Result<Vec<Mount>, SourceError> {
        fs::create_dir_all(self.directory(key)).unwrap();
        self.snapshots.lock().unwrap().insert(key.into(), parent.into());
        Ok(self.bind(key))
    }
    async fn unpack(&self, _: &str, blob: &Descriptor, mounts: &[Mount]) -> Result<Option<Digest>, SourceError> {
        if self.hangs {
            std::future::pending::<()>().await;
        }
        let (text, digest) = self.unpacked.lock().unwrap().get(&blob.digest).cloned().expect("a layer of the test");
        let directory = PathBuf::from(&mounts[0].source);
        fill(&directory, &text);
        // The gate before unpack has been asked.
        self.ledger
            .record(&directory, &Unpacked { layer: blob.digest.clone(), diff_id: None, vouched_by: None })
            .unwrap();
        Ok(Some(digest))
    }
    async fn discard(&self, _: Place<'_>, key: &str) -> Result<(), SourceError> {
        self.snapshots.lock().unwrap().remove(key);
        Ok(())
    }
    async fn discard_all(&self, _: &str) -> Result<usize, SourceError> {
        let ours = self.scratches();
        self.snapshots.lock().unwrap().retain(|name, _| !ours.contains(name));
        Ok(ours.len())
    }
}

/// A node with an image of two layers, `base` and `top`, that was unpacked unwatched.
struct Scene {
    _dir: tempfile::TempDir,
    containerd: Arc<Fake>,
    ledger: Arc<Ledger>,
    judge: Judge,
    enroller: Enroller,
    chain: Vec<String>,
}

impl Scene {
    fn new(name: &str) -> Self {
        Self::with(name, false)
    }

    fn with(name: &str, hangs: bool) -> Self {
        Self::placed(NS, name, hangs)
    }

    fn placed(namespace: &str, name: &str, hangs: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Arc::new(Ledger::open(&dir.path().join("ledger.redb")).unwrap());
        let store = Arc::new(Store::default());
        let containerd = Arc::new(Fake {
            dir: dir.path().to_owned(),
            store: Arc::clone(&store),
            images: Mutex::default(),
            snapshots: Mutex::default(),
            unpacked: Mutex::default(),
            hangs,
            ledger: Arc::clone(&ledger),
        });
        let judge = testing::judge(OPENS, Arc::new(NoSignatures));
        let inventory = Arc::new(Inventory::new(store));
        let gate = RunGate::new(Arc::clone(&containerd) as Arc<dyn Made>, inventory, Arc::clone(&ledger), OPTIONS);
        let enroller = Enroller::new(gate, Arc::clone(&containerd) as Arc<dyn Workshop>, Arc::clone(&ledger));
        let chain = Self::unpacked(&containerd, namespace, name);
        Self { _dir: dir, containerd, ledger, judge, enroller, chain }
    }

    fn unpacked(containerd: &Fake, namespace: &str, name: &str) -> Vec<String> {
        let texts = ["base", "top"];
        let (config, manifest) = image_of(name, &texts);
        containerd.store.hold(namespace, &config);
        containerd.store.hold(namespace, &manifest);
        let target = manifest.descriptor().clone();
        containerd.images.lock().unwrap().push(ImageRecord { name: name.into(), target });
        let chain = DiffIds::parse(config.bytes()).unwrap().chain();
        let mut below = String::new();
        for (index, text) in texts.into_iter().enumerate() {
            let descriptor = layer(text);
            containerd.store.hold(namespace, &Blob::of(&descriptor.media_type, text.as_bytes().to_vec()));
            // What is not compressed unpacks to itself.
            let out = (text.into(), descriptor.digest.clone());
            containerd.unpacked.lock().unwrap().insert(descriptor.digest, out);
            let snapshot = chain[index].as_str().to_owned();
            fill(&containerd.directory(&snapshot), text);
            containerd.snapshots.lock().unwrap().insert(snapshot.clone(), below);
            below = snapshot;
        }
        chain.iter().map(|name| name.as_str().to_owned()).collect()
    }

    fn directory(&self, index: usize) -> PathBuf {
        self.containerd.directory(&self.chain[index])
    }

    fn origins(&self) -> Vec<Origin> {
        let directories = [self.directory(0), self.directory(1)];
        self.ledger.origins(directories.iter().map(PathBuf::as_path)).unwrap()
    }

    /// What became of the images, and nothing of ours is left.
    async fn enroll(&self, order: &EnrollOrder) -> Vec<(&'static str, LayerCounts)> {
        let (sender, mut receiver) = mpsc::channel(100);
        self.enroller.enroll(&self.judge, order, &sender).await.unwrap();
        drop(sender);
        let mut ended = Vec::new();
        while let Some(event) = receiver.recv().await {
            if let EnrollEvent::Image(Enrolled { code, layers, .. }) = event {
                ended.push((code.as_str(), layers));
            }
        }
        assert_eq!(self.containerd.scratches(), Vec::<String>::new());
        ended
    }

    async fn code(&self, order: &EnrollOrder) -> &'static str {
        let ended = self.enroll(order).await;
        assert_eq!(ended.len(), 1, "{ended:?}");
        ended[0].0
    }
}

fn all() -> EnrollOrder {
    EnrollOrder::default()
}

/// What a gate that saw no image has written down.
fn unpacked(text: &str) -> Unpacked {
    Unpacked { layer: layer(text).digest, diff_id: None, vouched_by: None }
}

/// What an enrollment writes down. Layers of the test unpack to what ENROLLED says.
fn enrolled(text: &str) -> Origin {
    Origin::Layer(Unpacked { diff_id: Some(layer(text).digest), ..unpacked(text) })
}

fn whole() -> Vec<Origin> {
    vec![enrolled("base"), enrolled("top")]
}

const NOTHING: [Origin; 2] = [Origin::Unknown, Origin::Unknown];

#[tokio::test]
async fn what_holds_its_layers_is_recorded_once() {
    let scene = Scene::new(OPEN);
    let compared = LayerCounts { compared: 2, ..LayerCounts::default() };
    assert_eq!(scene.enroll(&EnrollOrder { dry_run: true, ..all() }).await, [("enrolled", compared)]);
    assert_eq!(scene.origins(), NOTHING);
    assert_eq!(scene.enroll(&all()).await, [("enrolled", compared)]);
    assert_eq!(scene.origins(), whole());
    let known = LayerCounts { known: 2, ..LayerCounts::default() };
    assert_eq!(scene.enroll(&all()).await, [("enrolled-before", known)]);
}

#[tokio::test]
async fn an_image_that_is_not_admitted_is_not_even_unpacked() {
    let scene = Scene::with(SHUT, true);
    assert_eq!(scene.code(&EnrollOrder { unverified: true, ..all() }).await, "no-policy-statement");
    assert_eq!(scene.origins(), NOTHING);
}

#[tokio::test]
async fn what_differs_is_not_recorded_and_what_lies_below_it_is() {
    let scene = Scene::new(OPEN);
    fs::write(scene.directory(1).join("more"), "").unwrap();
    assert_eq!(scene.code(&EnrollOrder { unverified: true, ..all() }).await, "layer-differs");
    assert_eq!(scene.origins(), [enrolled("base"), Origin::Unknown]);
    fs::remove_file(scene.directory(1).join("more")).unwrap();
    assert_eq!(scene.code(&all()).await, "enrolled");
    assert_eq!(scene.origins(), whole());
}

#[tokio::test]
async fn what_comes_out_of_a_blob_must_be_what_the_config_lists() {
    let scene = Scene::new(OPEN);
    let other = ("top".to_owned(), Digest::sha256(b"other"));
    let good = scene.containerd.unpacked.lock().unwrap().insert(layer("top").digest, other).unwrap();
    assert_eq!(scene.code(&EnrollOrder { unverified: true, ..all() }).await, "layer-altered");
    scene.containerd.unpacked.lock().unwrap().insert(layer("top").digest, good);
    assert_eq!(scene.code(&all()).await, "enrolled");
}

#[tokio::test]
async fn a_record_that_says_something_else_stays() {
    for (second, code) in [(None, "rootfs-other-layer"), (Some("third"), "rootfs-mixed")] {
        let scene = Scene::new(OPEN);
        for text in std::iter::once("other").chain(second) {
            scene.ledger.record(&scene.directory(1), &unpacked(text)).unwrap();
        }
        let before = scene.origins();
        assert_eq!(scene.code(&EnrollOrder { unverified: true, ..all() }).await, code);
        assert_eq!(scene.origins()[1], before[1]);
    }
    // A record of a directory that is gone says nothing about the one in its place.
    let scene = Scene::new(OPEN);
    scene.ledger.record(&scene.directory(1), &unpacked("other")).unwrap();
    fs::rename(scene.directory(1), scene.directory(1).with_file_name("old")).unwrap();
    fill(&scene.directory(1), "top");
    assert_eq!(scene.code(&all()).await, "enrolled");
}

#[tokio::test]
async fn a_chain_that_was_not_made_on_the_images_layers_is_not_looked_at() {
    let scene = Scene::new(OPEN);
    scene.containerd.snapshots.lock().unwrap().insert(scene.chain[1].clone(), "other".into());
    assert_eq!(scene.code(&all()).await, "rootfs-other-image");
    scene.containerd.snapshots.lock().unwrap().remove(&scene.chain[1]);
    assert_eq!(scene.code(&all()).await, "not-unpacked");
}

#[tokio::test]
async fn dockers_own_snapshot_may_lie_between_in_dockers_namespace() {
    for (namespace, below, code) in
        [("moby", None, "enrolled"), (NS, None, "rootfs-other-image"), ("moby", Some("other"), "rootfs-other-image")]
    {
        let scene = Scene::placed(namespace, OPEN, false);
        let below = below.map_or_else(|| scene.chain[0].clone(), str::to_owned);
        scene
            .containerd
            .snapshots
            .lock()
            .unwrap()
            .extend([(scene.chain[1].clone(), "c1-init".to_owned()), ("c1-init".to_owned(), below)]);
        assert_eq!(scene.code(&all()).await, code, "{namespace}");
    }
}

#[tokio::test]
async fn images_are_asked_for_by_name_and_by_digest() {
    let scene = Scene::new(OPEN);
    let digest = scene.containerd.images.lock().unwrap()[0].target.digest.to_string();
    for (asked, code) in
        [("registry.example/other:v1", "image-unknown"), (OPEN, "enrolled"), (&digest, "enrolled-before")]
    {
        assert_eq!(scene.code(&EnrollOrder { images: vec![asked.into()], ..all() }).await, code, "{asked}");
    }
    let record = |name: &str| ImageRecord { name: name.into(), target: layer("any") };
    assert!(is_asked_for(&record("docker.io/library/alpine:3"), "alpine:3"));
    assert!(!is_asked_for(&record("docker.io/library/alpine:3"), "alpine:4"));
}

#[tokio::test]
async fn who_asks_for_a_place_that_is_not_there_is_told() {
    let scene = Scene::new(OPEN);
    let (sender, _receiver) = mpsc::channel(100);
    let other = || vec!["other".to_owned()];
    for (order, code) in [
        (EnrollOrder { snapshotters: other(), ..all() }, "snapshotter-unknown"),
        (EnrollOrder { snapshotters: vec!["broken".to_owned()], ..all() }, "snapshotter-unknown"),
        (EnrollOrder { namespaces: other(), ..all() }, "namespace-unknown"),
    ] {
        let error = scene.enroller.enroll(&scene.judge, &order, &sender).await.unwrap_err();
        assert_eq!(error.code().as_str(), code);
    }
}

#[tokio::test]
async fn when_nobody_listens_any_more_it_stops_and_leaves_nothing() {
    let scene = Scene::with(OPEN, true);
    let (sender, mut receiver) = mpsc::channel(100);
    let order = all();
    let enrolling = scene.enroller.enroll(&scene.judge, &order, &sender);
    let listening = async {
        assert!(matches!(receiver.recv().await, Some(EnrollEvent::Layer(_))));
        let (other, _listener) = mpsc::channel(1);
        let error = scene.enroller.enroll(&scene.judge, &order, &other).await.unwrap_err();
        assert_eq!(error.code().as_str(), "enroll-busy");
        drop(receiver);
    };
    let (stopped, ()) = tokio::join!(enrolling, listening);
    assert_eq!(stopped.unwrap_err().code().as_str(), "enroll-stopped");
    assert_eq!(scene.containerd.scratches(), Vec::<String>::new());
    assert_eq!(scene.origins(), NOTHING);
}
