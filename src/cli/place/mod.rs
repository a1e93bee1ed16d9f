//! Opens the place that an image lies in, wherever that is, and finds out what the image's name means there now.

mod containerd;
mod destination;
mod meant;
mod platform;

use std::sync::Arc;

use clap::Args;

use self::containerd::ContainerdArguments;
pub(super) use self::destination::{Destination, check_destination};
pub(super) use self::meant::location;
use self::meant::meant;
pub(super) use self::platform::{Part, Parts};
use super::exit::Failure;
use super::notation_dir::NotationDirArgument;
use super::output;
use super::registry::{RegistryArguments, signatures};
use crate::oci::{Descriptor, InvalidReference, LayoutName, Location, Platform, Repository, media_type};
use crate::remedy::Code;
use crate::sign::Signed;
use crate::source::archive::ArchiveFault;
use crate::source::containerd::ImageStore;
use crate::source::discover::{State, Tree, discover};
use crate::source::layout::{Layout, LayoutFault};
use crate::source::registry::Registry;
use crate::source::{ImageSink, Images, Referrers, Sink, Source, SourceError};
use crate::verify::Check;

/// What a command must know to reach the places that images lie in.
#[derive(Debug, Args)]
pub(super) struct PlaceArguments {
    #[command(flatten)]
    registry: RegistryArguments,
    #[command(flatten)]
    containerd: ContainerdArguments,
}

impl PlaceArguments {
    /// Everything that is needed to open places. `insecure` are further registries that are spoken to by plain http, from a
    /// configuration file; `named` are the images that the command line names, whose registry a password is for.
    pub(super) fn open(self, insecure: Vec<String>, named: &[&str]) -> Result<Places, Failure> {
        Ok(Places { registry: Arc::new(self.registry.open(insecure, named)?), containerd: self.containerd })
    }
}

/// The places that can be opened.
pub(super) struct Places {
    registry: Arc<Registry>,
    containerd: ContainerdArguments,
}

impl Places {
    /// The same, for a command that changes what it reads: it asks no mirror.
    pub(super) fn at_origin(self) -> Self {
        Self { registry: Arc::new(self.registry.at_origin()), ..self }
    }

    /// All registries.
    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }
}

/// A place that images and signatures lie in.
pub(super) enum Place {
    /// A registry; the repository in a question says which one.
    Registry(Arc<Registry>),
    /// A namespace of containerd.
    Containerd(Box<ImageStore>),
    /// An image layout.
    Layout(Layout),
}

impl Place {
    /// The place, to read from.
    pub(super) fn source(&self) -> &dyn Source {
        match self {
            Self::Registry(registry) => registry.as_ref(),
            Self::Containerd(store) => store.as_ref(),
            Self::Layout(layout) => layout,
        }
    }

    /// The place, to read whole images from.
    pub(super) fn images(&self) -> &dyn Images {
        match self {
            Self::Registry(registry) => registry.as_ref(),
            Self::Containerd(store) => store.as_ref(),
            Self::Layout(layout) => layout,
        }
    }

    /// The place, to write whole images to and to take them away from; none where that is for its own tools.
    fn image_sink(&self) -> Option<&dyn ImageSink> {
        match self {
            Self::Registry(registry) => Some(registry.as_ref()),
            Self::Layout(layout) if !layout.is_archive() => Some(layout),
            Self::Layout(_) | Self::Containerd(_) => None,
        }
    }

    /// A signature in the form that every reader of the place sees: in layouts notation 1.3 reads the older one alone.
    pub(super) fn in_its_form(&self, signed: Signed) -> Signed {
        match self {
            Self::Layout(_) => signed.typed_by_config(),
            Self::Registry(_) | Self::Containerd(_) => signed,
        }
    }

    /// The place, to write signatures to.
    pub(super) fn sink(&self) -> &dyn Sink {
        match self {
            Self::Registry(registry) => registry.as_ref(),
            Self::Containerd(store) => store.as_ref(),
            Self::Layout(layout) => layout,
        }
    }
}

/// An image that a command is about: where it lies, and what its name points to now.
pub(super) struct Target {
    /// As it was written; in containerd, with the namespace that it was found in.
    pub(super) location: Location,
    /// Its repository, or what stands for one where it lies in none.
    pub(super) repository: Repository,
    /// Its manifest or index.
    pub(super) descriptor: Descriptor,
    /// The place, opened.
    pub(super) place: Place,
}

impl Target {
    /// Opens the place and asks it once; from then on everything is about the digest.
    pub(super) async fn resolve(places: &Places, text: &str) -> Result<Self, Failure> {
        let location = location(text)?;
        let is_in_registry = matches!(location, Location::Registry(_));
        match (Self::open(places, location).await, is_in_registry.then(|| meant(text)).flatten()) {
            (Err(failure), Some(meant)) => {
                let otherwise = failure.remedy.as_ref().map(|remedy| format!("; or else {remedy}")).unwrap_or_default();
                let remedy = format!("{meant}{otherwise}");
                Err(failure.hint(remedy))
            }
            (resolved, _) => resolved,
        }
    }

    async fn open(places: &Places, location: Location) -> Result<Self, Failure> {
        match &location {
            Location::Registry(reference) => {
                let registry = Arc::clone(&places.registry);
                let (repository, descriptor) = (reference.repository().clone(), registry.resolve(reference).await);
                let (descriptor, place) = (descriptor.map_err(|error| unread(&error))?, Place::Registry(registry));
                Ok(Self { location, repository, descriptor, place })
            }
            Location::Containerd(name) => {
                let found = places.containerd.find(name).await?;
                let repository = Repository::of_whole(&found.record.name).unwrap_or_else(Repository::nowhere);
                let (descriptor, place) = (found.record.target, Place::Containerd(Box::new(found.store)));
                Ok(Self { location: found.location, repository, descriptor, place })
            }
            Location::OciLayout { directory, image } => {
                let layout = Layout::open(directory).await.map_err(|error| unread(&error))?;
                let descriptor = in_layout(&layout, image.as_ref()).await;
                Self::in_layout(location, layout, descriptor)
            }
            Location::OciArchive { file, image } => {
                let archive = Layout::open_archive(file).await.map_err(|error| unread(&error))?;
                let descriptor = in_layout(&archive, image.as_ref()).await;
                Self::in_layout(location, archive, descriptor)
            }
            Location::DockerArchive { file, image } => {
                let archive = Layout::open_archive(file).await.map_err(|error| unread(&error))?;
                let descriptor = archive.saved(image.as_ref()).await.map_err(|error| unread(&error));
                Self::in_layout(location, archive, descriptor)
            }
        }
    }

    /// The same of an image that is known by its digest, and may be gone while other things still refer to it.
    pub(super) async fn resolve_even_gone(places: &Places, text: &str) -> Result<Self, Failure> {
        let resolved = Self::resolve(places, text).await;
        if !matches!(&resolved, Err(failure) if failure.code == Code("not-found")) {
            return resolved;
        }
        let Ok(location) = text.parse::<Location>() else { return resolved };
        let (repository, place) = match &location {
            Location::Registry(reference) => {
                (reference.repository().clone(), Place::Registry(Arc::clone(&places.registry)))
            }
            Location::OciLayout { directory, .. } => {
                let layout = Layout::open(directory).await.map_err(|error| unread(&error))?;
                (Repository::nowhere(), Place::Layout(layout))
            }
            _ => return resolved,
        };
        let Some(digest) = location.digest() else { return resolved };
        // Nothing but the digest is known of it, and nothing else is asked for.
        let descriptor = Descriptor::new(media_type::IMAGE_MANIFEST, digest, 0);
        Ok(Self { location, repository, descriptor, place })
    }

    /// The tree of the image. One that is gone is found as long as something refers to it.
    pub(super) async fn tree(&self) -> Result<Tree, Failure> {
        let tree = discover(self.place.images(), &self.repository, &self.descriptor).await;
        let tree = tree.map_err(|error| unread(&error))?;
        match tree.manifests.as_slice() {
            [image] if image.state == State::Missing => {
                let (what, place) = (self.descriptor.digest.to_string(), self.place_name());
                Err(unread(&SourceError::NotFound { what, place }))
            }
            _ => Ok(tree),
        }
    }

    fn place_name(&self) -> String {
        match &self.place {
            Place::Registry(_) => self.repository.to_string(),
            Place::Containerd(store) => format!("containerd's namespace `{}`", store.namespace()),
            Place::Layout(layout) => layout.to_string(),
        }
    }

    /// The place, to write whole images to and to take them away from.
    pub(super) fn image_sink(&self) -> Result<&dyn ImageSink, Failure> {
        self.place.image_sink().ok_or_else(|| destination::unchangeable(&self.location))
    }

    /// An error where no signature can be put beside the image, as far as that is known before there is one.
    pub(super) async fn check_keeps_signatures(&self) -> Result<(), Failure> {
        let Place::Layout(layout) = &self.place else { return Ok(()) };
        layout.check_takes_signatures().await.map_err(|error| match &error {
            SourceError::Layout { source: LayoutFault::Archive { source: ArchiveFault::Packed }, .. } => {
                Failure::usage_of(&error)
            }
            _ => Failure::of(&error),
        })
    }

    /// The repository whose statement governs the image by itself, if any: that of its registry, or of its whole name in
    /// containerd.
    pub(super) fn own_scope(&self) -> Option<Repository> {
        let is_named = match &self.location {
            Location::Registry(_) => true,
            Location::Containerd(_) => self.repository != Repository::nowhere(),
            _ => false,
        };
        is_named.then(|| self.repository.clone())
    }

    fn in_layout(location: Location, layout: Layout, image: Result<Descriptor, Failure>) -> Result<Self, Failure> {
        let (descriptor, place) = (image?, Place::Layout(layout));
        Ok(Self { location, repository: Repository::nowhere(), descriptor, place })
    }

    /// The location with the digest in place of the tag.
    pub(super) fn pinned(&self) -> Location {
        self.location.pinned(self.descriptor.digest.clone())
    }

    /// The repository whose statement governs the image. An image of containerd is governed by its name, if that is
    /// whole. What lies in a file does not choose its statement by itself: whoever made the file wrote the names in it.
    pub(super) fn governed_by(&self, scope: Option<&str>) -> Result<Repository, Failure> {
        match (&self.location, scope) {
            (Location::Registry(_), None) => Ok(self.repository.clone()),
            // The gates judge it so, too.
            (Location::Containerd(_), None) if self.repository != Repository::nowhere() => Ok(self.repository.clone()),
            (Location::Registry(_), Some(_)) => {
                let message = "an image in a registry is governed by the statement for its own repository".to_owned();
                Err(Failure {
                    remedy: Some("leave `--scope` out".into()),
                    ..Failure::usage("scope-not-applicable", message)
                })
            }
            (_, Some(scope)) => scope.parse().map_err(|error: InvalidReference| Failure::usage_of(&error)),
            (location, None) => {
                let message = format!("nothing says which statement of the policy governs `{location}`");
                let remedy = "name the repository that it is for: `--scope registry.example/team/app`".to_owned();
                Err(Failure { remedy: Some(remedy), ..Failure::usage("scope-missing", message) })
            }
        }
    }
}

/// The image of this name in a layout, or its only one. Whoever names a tag that there is not is told those that there are.
async fn in_layout(layout: &Layout, image: Option<&LayoutName>) -> Result<Descriptor, Failure> {
    let Some(name) = image else { return layout.only().await.map_err(|error| unread(&error)) };
    match (layout.named(name).await, name) {
        (Err(error @ SourceError::NotFound { .. }), LayoutName::Tag(_)) => {
            let tags = layout.tags(&Repository::nowhere(), MAX_TAGS_TOLD).await.unwrap_or_default();
            let names: Vec<String> = tags.names.iter().map(|tag| format!("`{}`", tag.as_str())).collect();
            let more = if tags.truncated { ", …" } else { "" };
            Err(unread(&error).hint(match names.as_slice() {
                [] => {
                    "it has no tags; name the image by its digest, or leave the tag out where it is the only one".into()
                }
                names => format!("it has {}{more}", names.join(", ")),
            }))
        }
        (found, _) => found.map_err(|error| unread(&error)),
    }
}

/// How many tags are told to whoever asks for another: as many as somebody reads to find the right one.
const MAX_TAGS_TOLD: usize = 20;

fn unread(error: &SourceError) -> Failure {
    Failure::of(error).about(Check::Retrieval)
}

/// What `ls` and `inspect` are asked: the signatures of an image.
#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// The image: registry/repository:tag or registry/repository@digest; oci-layout:DIR[:TAG|@DIGEST];
    /// oci-archive:FILE[:TAG|@DIGEST]; docker-archive:FILE[:REFERENCE]; containerd:[NAMESPACE/]REFERENCE.
    image: String,
    /// Of an image for several platforms, this one: os/architecture[/variant]. Without it, the index.
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// How many signatures are shown at most.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    max_signatures: u16,
    #[command(flatten)]
    places: PlaceArguments,
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

/// An image and its signatures, as its place lists them.
pub(super) struct Listed {
    pub(super) target: Target,
    pub(super) referrers: Referrers,
}

impl ListArguments {
    /// The image alone. `does` is what the command does with a tag, for the warning about it.
    pub(super) async fn target(self, does: &str) -> Result<Target, Failure> {
        let insecure = self.notation_dir.open().insecure_registries().map_err(|error| Failure::of(&error))?;
        let target = Target::resolve(&self.places.open(insecure, &[&self.image])?, &self.image).await?;
        let target = target.on_platform(self.platform.as_ref()).await?;
        output::warn_about_tag(&target.location, does);
        Ok(target)
    }

    /// The image and its signatures.
    pub(super) async fn list(self, does: &str) -> Result<Listed, Failure> {
        let limit = usize::from(self.max_signatures);
        let target = self.target(does).await?;
        let referrers = signatures(target.place.source(), &target.repository, &target.descriptor, limit).await;
        let referrers = referrers.map_err(|error| unread(&error))?;
        Ok(Listed { target, referrers })
    }
}
