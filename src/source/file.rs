//! Files that lie in no registry and no layout: of any size, read once, and known by their digest.

use std::io::{self, Read};

use crate::oci::{Descriptor, DigestAlgorithm, Hasher};

/// How much of a file is in memory at a time, in bytes: enough that a read costs little beside its hashing.
const PART: usize = 64 * 1024;

/// What this content is: its digest by this hash, its size, and the media type that somebody says it has.
pub fn describe(mut content: impl Read, algorithm: DigestAlgorithm, media_type: &str) -> io::Result<Descriptor> {
    let (mut hashing, mut size, mut part) = (Hasher::new(algorithm), 0, vec![0; PART]);
    loop {
        match content.read(&mut part) {
            Ok(0) => return Ok(Descriptor::new(media_type, hashing.finish(), size)),
            Ok(length) => {
                hashing.update(part.get(..length).unwrap_or_default());
                size += length as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out a few bytes at a time, and is interrupted in between.
    struct Dripping<'a>(&'a [u8], bool);

    impl Read for Dripping<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Err(io::ErrorKind::Interrupted.into()) } else { self.0.read(&mut buffer[..7]) }
        }
    }

    #[test]
    fn content_is_described_whole_however_it_comes() {
        let content: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
        for length in [0, 1, PART - 1, PART, PART + 1, content.len()] {
            let content = &content[..length];
            let expected = Descriptor::new("a/b", DigestAlgorithm::Sha384.of(content), length as u64);
            assert_eq!(describe(content, DigestAlgorithm::Sha384, "a/b").unwrap(), expected);
            assert_eq!(describe(Dripping(content, false), DigestAlgorithm::Sha384, "a/b").unwrap(), expected);
        }
    }
}
