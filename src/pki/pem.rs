//! PEM, as operators' files hold it.
//!
//! Tools write text between the blocks, wrap lines at any width and end them as they like (RFC 7468 calls that lax), so
//! all of this is read. What a block contains is left to whoever asked for it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use der::zeroize::Zeroizing;

use crate::remedy::{Code, Remedy};

/// One block: what its boundary lines say it is, and the decoded bytes, wiped when dropped since they may be a key.
pub(super) struct Block {
    pub(super) label: String,
    pub(super) contents: Zeroizing<Vec<u8>>,
}

/// Why a file is not readable as PEM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPem {
    /// A block begins and does not end, or ends as something else.
    #[error("the PEM block `{label}` has no end")]
    Unclosed {
        /// What the block says it is.
        label: String,
    },
    /// A block has header lines, as encrypted keys of the old form do.
    #[error("the PEM block `{label}` has headers, which encrypted keys of the old form have")]
    Headers {
        /// What the block says it is.
        label: String,
    },
    /// A block's content is not base64.
    #[error("the PEM block `{label}` is not base64")]
    Base64 {
        /// What the block says it is.
        label: String,
    },
}

impl Remedy for InvalidPem {
    fn code(&self) -> Code {
        match self {
            Self::Unclosed { .. } => Code("pem-unclosed"),
            Self::Headers { .. } => Code("pem-headers"),
            Self::Base64 { .. } => Code("pem-not-base64"),
        }
    }
}

/// Every block of the file in its order; none where there is no boundary line.
pub(super) fn blocks(file: &[u8]) -> Result<Vec<Block>, InvalidPem> {
    let mut blocks = Vec::new();
    let mut lines = file.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    while let Some(line) = lines.next() {
        if let Some(label) = boundary(line, b"-----BEGIN ") {
            let body = body(&mut lines, &label)?;
            let contents = STANDARD.decode(&*body).map_err(|_| InvalidPem::Base64 { label: label.clone() })?;
            blocks.push(Block { label, contents: Zeroizing::new(contents) });
        }
    }
    Ok(blocks)
}

/// The base64 text up to the end of the block called `label`, without its line breaks.
fn body<'a>(lines: impl Iterator<Item = &'a [u8]>, label: &str) -> Result<Zeroizing<Vec<u8>>, InvalidPem> {
    let mut body = Zeroizing::new(Vec::new());
    for line in lines {
        if let Some(end) = boundary(line, b"-----END ") {
            return if end == label { Ok(body) } else { Err(InvalidPem::Unclosed { label: label.to_owned() }) };
        }
        if line.contains(&b':') {
            return Err(InvalidPem::Headers { label: label.to_owned() });
        }
        body.extend(line.iter().filter(|byte| !byte.is_ascii_whitespace()));
    }
    Err(InvalidPem::Unclosed { label: label.to_owned() })
}

/// The label of a boundary line that starts this way.
fn boundary(line: &[u8], start: &[u8]) -> Option<String> {
    let label = line.strip_prefix(start)?.strip_suffix(b"-----")?;
    Some(String::from_utf8_lossy(label).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_around_the_blocks_and_any_line_width_are_read_over() {
        let file = b"Bag: x \xff\n-----BEGIN A-----\r\nYW\r\nJj\r\n-----END A-----\nmore\n-----BEGIN B C-----\nZA==\n-----END B C-----";
        let blocks = blocks(file).unwrap();
        let read: Vec<_> = blocks.iter().map(|block| (block.label.as_str(), block.contents.as_slice())).collect();
        assert_eq!(read, [("A", b"abc".as_slice()), ("B C", b"d")]);
    }

    #[test]
    fn a_block_must_end_and_be_base64() {
        let code = |file: &str| blocks(file.as_bytes()).map(|_| ()).unwrap_err().code().as_str();
        assert_eq!(code("-----BEGIN A-----\nYWJj"), "pem-unclosed");
        assert_eq!(code("-----BEGIN A-----\nYWJj\n-----END B-----"), "pem-unclosed");
        assert_eq!(code("-----BEGIN A-----\nYW!j\n-----END A-----"), "pem-not-base64");
        assert_eq!(code("-----BEGIN A-----\nProc-Type: 4,ENCRYPTED\n-----END A-----"), "pem-headers");
    }
}
