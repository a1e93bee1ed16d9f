//! Finds an image in containerd: in the namespace that its name tells, or in the one that was given.
//!
//! `k8s.io/pause:3.9` is `pause:3.9` in the namespace `k8s.io`, or an image of the registry `k8s.io` in the namespace
//! `default`. containerd is asked which of the two there is. Where there are both, nothing is guessed.

use std::path::PathBuf;

use clap::Args;
use jiff::SignedDuration;

use crate::cli::exit::Failure;
use crate::clock;
use crate::oci::{ContainerdName, Location};
use crate::source::SourceError;
use crate::source::containerd::{Containerd, Holdings as _, ImageRecord, ImageStore};
use crate::verify::Check;

/// The namespace of what names none: that of containerd's own clients.
const DEFAULT_NAMESPACE: &str = "default";
/// How long containerd holds what was written and nothing refers to yet: longer than any command takes, and no longer than a
/// killed one should cost.
const HELD_FOR: SignedDuration = SignedDuration::from_hours(1);

#[derive(Debug, Args)]
pub(in crate::cli) struct ContainerdArguments {
    /// containerd's socket.
    #[arg(
        long = "containerd",
        value_name = "SOCKET",
        env = "CONTAINERD_ADDRESS",
        default_value = "/run/containerd/containerd.sock"
    )]
    socket: PathBuf,
    /// The containerd namespace of `containerd:` names, which then are names of images alone.
    #[arg(long, value_name = "NAMESPACE", env = "CONTAINERD_NAMESPACE")]
    namespace: Option<String>,
}

/// An image of containerd.
pub(super) struct Found {
    /// Its name with the namespace before it.
    pub(super) location: Location,
    /// What was found.
    pub(super) record: ImageRecord,
    /// All images of its namespace.
    pub(super) store: ImageStore,
}

impl ContainerdArguments {
    pub(super) async fn find(&self, name: &ContainerdName) -> Result<Found, Failure> {
        let containerd = self.connect()?;
        let readings = match &self.namespace {
            Some(namespace) => vec![(namespace.as_str(), name.whole())],
            None => readings(&containerd, name).await?,
        };
        let mut found = Vec::new();
        for &(namespace, image) in &readings {
            let until = clock::now().checked_add(HELD_FOR).unwrap_or(jiff::Timestamp::MAX);
            let store = ImageStore::new(containerd.clone(), namespace.to_owned(), until);
            if let Some(record) = store.find(image).await.map_err(|error| unread(&error))? {
                let location = Location::Containerd(ContainerdName::of(namespace, image));
                found.push(Found { location, record, store });
            }
        }
        match <[Found; 1]>::try_from(found) {
            Ok([found]) => Ok(found),
            Err(found) if found.is_empty() => Err(absent(name, &readings)),
            Err(found) => Err(ambiguous(name, &found)),
        }
    }

    fn connect(&self) -> Result<Containerd, Failure> {
        // containerd's own clients take the address in either form.
        let socket = self.socket.to_str().and_then(|socket| socket.strip_prefix("unix://"));
        let socket = socket.map_or_else(|| self.socket.clone(), PathBuf::from);
        Containerd::new(&socket).map_err(|error| unread(&error))
    }
}

/// What the name may mean: an image of a namespace that there is, and one of the usual namespace.
async fn readings<'n>(containerd: &Containerd, name: &'n ContainerdName) -> Result<Vec<(&'n str, &'n str)>, Failure> {
    let mut readings = vec![(DEFAULT_NAMESPACE, name.whole())];
    if let Some((namespace, image)) = name.in_namespace() {
        let namespaces = containerd.namespaces().await.map_err(|error| unread(&error))?;
        if namespaces.iter().any(|known| known == namespace) {
            readings.insert(0, (namespace, image));
        }
    }
    Ok(readings)
}

fn unread(error: &SourceError) -> Failure {
    Failure::of(error).about(Check::Retrieval)
}

fn absent(name: &ContainerdName, readings: &[(&str, &str)]) -> Failure {
    let looked: Vec<String> = readings.iter().map(|(namespace, image)| format!("{image} in {namespace}")).collect();
    let message = format!("containerd has no image `{}` (looked for {})", name.whole(), looked.join(", "));
    let remedy = "see `ctr --namespace NAMESPACE images ls`; docker's images are in `moby`, Kubernetes' in `k8s.io`";
    Failure::unreadable("not-found", message, Some(remedy)).about(Check::Retrieval)
}

fn ambiguous(name: &ContainerdName, found: &[Found]) -> Failure {
    let images: Vec<String> =
        found.iter().map(|found| format!("{} in {}", found.record.name, found.store.namespace())).collect();
    let message = format!("`{}` has two meanings here: {}", name.whole(), images.join(", and "));
    let remedy = "say which namespace is meant: `--namespace`".to_owned();
    Failure { remedy: Some(remedy), ..Failure::usage("containerd-name-ambiguous", message) }
}
