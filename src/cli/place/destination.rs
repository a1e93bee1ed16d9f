//! Where an image is to go: a registry, a layout, or a new archive.
//!
//! An archive is made as a layout beside its place, and packed when everything is in it and was checked. So there is a whole
//! archive or none, and what reads a layout reads what will be in the archive.

use std::path::Path;
use std::sync::Arc;

use super::{Place, Places};
use crate::cli::exit::Failure;
use crate::oci::{Location, Repository};
use crate::remedy::Remedy as _;
use crate::source::archive::ArchiveFault;
use crate::source::layout::{Layout, NewArchive};
use crate::source::{ImageSink, SourceError};

/// A place that an image goes to.
pub(in crate::cli) struct Destination {
    /// As it was written.
    pub(in crate::cli) location: Location,
    /// Its repository, or what stands for one where it lies in none.
    pub(in crate::cli) repository: Repository,
    /// The place, opened.
    pub(in crate::cli) place: Place,
    archive: Option<NewArchive>,
}

impl Destination {
    /// Opens the place. A layout is made where there is none.
    pub(in crate::cli) async fn open(places: &Places, location: Location) -> Result<Self, Failure> {
        let repository = repository_of(&location);
        let failed = |error: SourceError| Failure::of(&error);
        let (place, archive) = match &location {
            Location::Registry(_) => (Place::Registry(Arc::new(places.registry.at_origin())), None),
            Location::OciLayout { directory, .. } => {
                (Place::Layout(Layout::create(directory).await.map_err(failed)?), None)
            }
            Location::OciArchive { file, .. } => {
                let archive = NewArchive::begin(file).await.map_err(failed)?;
                (Place::Layout(archive.layout().clone()), Some(archive))
            }
            Location::Containerd(_) | Location::DockerArchive { .. } => return Err(read_only(&location)),
        };
        Ok(Self { location, repository, place, archive })
    }

    /// The place, to write to.
    pub(in crate::cli) fn sink(&self) -> Result<&dyn ImageSink, Failure> {
        self.place.image_sink().ok_or_else(|| read_only(&self.location))
    }

    /// Whether it is an archive that is still to be made.
    pub(in crate::cli) fn is_archive(&self) -> bool {
        self.archive.is_some()
    }

    /// Everything is there, and may be seen.
    pub(in crate::cli) async fn finish(self) -> Result<(), Failure> {
        match self.archive {
            Some(archive) => archive.finish().await.map_err(|error| Failure::of(&error)),
            None => Ok(()),
        }
    }
}

/// Refuses what nothing can be written to, before anything else is done.
pub(in crate::cli) fn check_destination(location: &Location) -> Result<(), Failure> {
    match location {
        Location::Containerd(_) | Location::DockerArchive { .. } => Err(read_only(location)),
        Location::OciArchive { file, .. } if is_there(file) => {
            let message = format!("{} is there already, and an archive is written once", file.display());
            let remedy = Some("name another file, or remove this one".to_owned());
            Err(Failure { remedy, ..Failure::usage("archive-exists", message) })
        }
        _ => Ok(()),
    }
}

fn read_only(location: &Location) -> Failure {
    let message = format!("`{location}` lies in a place that images are only read from");
    let remedy = "use the place's own tools, such as `ctr images`".to_owned();
    Failure { remedy: Some(remedy), ..Failure::usage("place-read-only", message) }
}

/// Why no image, and nothing that hangs on one, is taken away from here.
pub(super) fn unchangeable(location: &Location) -> Failure {
    if !matches!(location, Location::OciArchive { .. } | Location::DockerArchive { .. }) {
        return read_only(location);
    }
    let message = format!("`{location}` lies in an archive, and nothing is taken out of one");
    Failure { remedy: ArchiveFault::ReadOnly.remedy(), ..Failure::usage("archive-read-only", message) }
}

fn repository_of(location: &Location) -> Repository {
    match location {
        Location::Registry(reference) => reference.repository().clone(),
        _ => Repository::nowhere(),
    }
}

fn is_there(file: &Path) -> bool {
    file.symlink_metadata().is_ok()
}
