//! The small JSON documents in the content store: manifests, indexes, configs, signatures.
//!
//! The store says of a blob how large it is and what clients wrote about it, and not what it is.

use super::Holdings;
use crate::oci::{Blob, Descriptor, Digest, MAX_MANIFEST_SIZE};
use crate::source::SourceError;

/// A blob larger than this is read whole only when it begins as JSON does. Manifests have 1 to 10 KiB.
pub const READ_WITHOUT_ASKING: u64 = 16 * 1024;
/// How much of a larger blob is read to see whether it begins as JSON does: more white space than any tool writes.
pub const BEGINNING: u64 = 64;

/// The blob, whole and checked, if it is small enough for a manifest and begins as JSON does. `size` is in bytes, and zero
/// where nobody knows it.
pub async fn document(
    holdings: &dyn Holdings,
    namespace: &str,
    digest: &Digest,
    size: u64,
) -> Result<Option<Blob>, SourceError> {
    if size > MAX_MANIFEST_SIZE {
        return Ok(None);
    }
    // An old containerd's events have no size.
    let is_small = (1..=READ_WITHOUT_ASKING).contains(&size);
    if !is_small && !begins_as_json(holdings, namespace, digest).await? {
        return Ok(None);
    }
    let bytes = holdings.read(namespace, digest, MAX_MANIFEST_SIZE).await?;
    let size = if size == 0 { bytes.len() as u64 } else { size };
    let checked = Blob::check(Descriptor::new("", digest.clone(), size), bytes);
    checked.map(Some).map_err(|source| SourceError::WrongContent { place: "containerd".to_owned(), source })
}

async fn begins_as_json(holdings: &dyn Holdings, namespace: &str, digest: &Digest) -> Result<bool, SourceError> {
    match holdings.read(namespace, digest, BEGINNING).await {
        Ok(bytes) => Ok(bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_none_or(|byte| *byte == b'{')),
        Err(SourceError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
