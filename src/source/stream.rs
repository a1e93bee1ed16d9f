//! Content of any size on its way from one place to another, checked while it passes.
//!
//! A layer may have gigabytes, so it is never held whole. What is held back is its last piece: that is given out only when
//! length and hash of everything are right. So nobody ever has all the bytes of a blob that is not what it should be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

use super::SourceError;
use crate::oci::{Blob, BlobMismatch, Descriptor, Hasher};

/// The bytes of a blob, piece by piece.
pub struct BlobStream {
    descriptor: Descriptor,
    /// Where the bytes come from.
    place: String,
    pieces: BoxStream<'static, Result<Bytes, SourceError>>,
    /// None when everything has been said.
    hasher: Option<Hasher>,
    held: Option<Bytes>,
    passed: u64,
    counters: Vec<Arc<AtomicU64>>,
}

impl BlobStream {
    /// The blob with this descriptor, which `pieces` are to make up. `place` is where they come from, for messages.
    pub fn new(
        descriptor: Descriptor,
        place: impl Into<String>,
        pieces: BoxStream<'static, Result<Bytes, SourceError>>,
    ) -> Self {
        let hasher = Some(Hasher::new(descriptor.digest.algorithm()));
        Self { descriptor, place: place.into(), pieces, hasher, held: None, passed: 0, counters: Vec::new() }
    }

    /// A blob that is in memory.
    pub fn of(blob: &Blob) -> Self {
        let bytes = Bytes::copy_from_slice(blob.bytes());
        let pieces = futures_util::stream::iter([Ok(bytes)]).boxed();
        Self::new(blob.descriptor().clone(), "memory", pieces)
    }

    /// Adds the number of bytes that pass to this, beside whoever else watches.
    #[must_use]
    pub fn watched(mut self, counter: Arc<AtomicU64>) -> Self {
        self.counters.push(counter);
        self
    }

    /// What the bytes are to be.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The next piece; none at the end. After an error there is nothing more.
    pub async fn next(&mut self) -> Option<Result<Bytes, SourceError>> {
        while self.hasher.is_some() {
            match self.pieces.next().await {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => match self.take_in(piece) {
                    Ok(Some(piece)) => return Some(Ok(piece)),
                    Ok(None) => {}
                    Err(error) => return Some(Err(error)),
                },
                Some(Err(error)) => {
                    self.hasher = None;
                    return Some(Err(error));
                }
                None => return self.end(),
            }
        }
        None
    }

    /// The pieces as the HTTP library and others take them.
    pub fn into_stream(self) -> BoxStream<'static, Result<Bytes, SourceError>> {
        let step = |mut blob: Self| async move { blob.next().await.map(|piece| (piece, blob)) };
        futures_util::stream::unfold(self, step).boxed()
    }

    /// Holds the new piece back, and gives the one before it.
    fn take_in(&mut self, piece: Bytes) -> Result<Option<Bytes>, SourceError> {
        self.passed += piece.len() as u64;
        if self.passed > self.descriptor.size {
            self.hasher = None;
            return Err(self.wrong(self.size_mismatch()));
        }
        for counter in &self.counters {
            counter.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        self.hasher.iter_mut().for_each(|hasher| hasher.update(&piece));
        Ok(self.held.replace(piece))
    }

    fn end(&mut self) -> Option<Result<Bytes, SourceError>> {
        let digest = self.hasher.take().map(Hasher::finish);
        if self.passed != self.descriptor.size {
            return Some(Err(self.wrong(self.size_mismatch())));
        }
        if digest.as_ref() != Some(&self.descriptor.digest) {
            return Some(Err(self.wrong(BlobMismatch::Digest { digest: self.descriptor.digest.clone() })));
        }
        self.held.take().map(Ok)
    }

    fn size_mismatch(&self) -> BlobMismatch {
        let Descriptor { digest, size, .. } = &self.descriptor;
        BlobMismatch::Size { digest: digest.clone(), expected: *size, got: self.passed }
    }

    fn wrong(&self, source: BlobMismatch) -> SourceError {
        SourceError::WrongContent { place: self.place.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedy::Remedy as _;
    use futures_util::stream;

    /// What comes through of these pieces, and the code of the error at the end where there is one.
    async fn passed(descriptor: &Descriptor, pieces: &[&'static str]) -> (String, Option<&'static str>) {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect();
        let mut blob = BlobStream::new(descriptor.clone(), "the test", stream::iter(pieces).boxed());
        let mut text = String::new();
        while let Some(piece) = blob.next().await {
            match piece {
                Ok(piece) => text.push_str(std::str::from_utf8(&piece).unwrap()),
                Err(error) => {
                    assert!(blob.next().await.is_none());
                    return (text, Some(error.code().as_str()));
                }
            }
        }
        (text, None)
    }

    #[tokio::test]
    async fn what_is_right_passes_whole_and_nothing_wrong_ever_does() {
        let cargo = Descriptor::of("text/plain", b"cargo");
        assert_eq!(passed(&cargo, &["car", "", "go"]).await, ("cargo".to_owned(), None));
        assert_eq!(passed(&cargo, &["car", "gp"]).await, ("car".to_owned(), Some("content-mismatch")));
        assert_eq!(passed(&cargo, &["car", "g"]).await, ("car".to_owned(), Some("content-mismatch")));
        assert_eq!(passed(&cargo, &["car", "go", "!"]).await, ("car".to_owned(), Some("content-mismatch")));
        assert_eq!(passed(&cargo, &[]).await, (String::new(), Some("content-mismatch")));
        assert_eq!(passed(&Descriptor::of("text/plain", b""), &[]).await, (String::new(), None));
    }

    #[tokio::test]
    async fn an_error_on_the_way_ends_it() {
        let error = SourceError::NotFound { what: "it".into(), place: "there".into() };
        let pieces = stream::iter([Ok(Bytes::from_static(b"car")), Ok(Bytes::from_static(b"g")), Err(error)]).boxed();
        let mut blob = BlobStream::new(Descriptor::of("text/plain", b"cargo"), "the test", pieces);
        assert_eq!(blob.next().await.unwrap().unwrap(), "car");
        assert_eq!(blob.next().await.unwrap().unwrap_err().code().as_str(), "not-found");
        assert!(blob.next().await.is_none());
    }
}
