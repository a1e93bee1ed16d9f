//! Messages on `hook.sock`: four bytes of length, most significant first, then the message.
//!
//! No HTTP: the programs that ask here are started for every image and must be gone again in a millisecond.

use prost::Message;

/// How long the length is, in bytes.
pub const HEADER: usize = 4;
/// The longest line in an answer, in bytes: what containerd keeps of a verifier's output (`outputLimitBytes`).
pub const MAX_LINE: usize = 32 * 1024;
/// The longest message, in bytes: a longest line, and as much again for everything else.
pub const MAX_MESSAGE: usize = 2 * MAX_LINE;

/// The message with its length in front.
pub fn encode(message: &impl Message) -> Vec<u8> {
    let length = message.encoded_len();
    let mut frame = Vec::with_capacity(HEADER + length);
    // A length that four bytes cannot hold is beyond every reader's limit, and is refused there.
    frame.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend_from_slice(&message.encode_to_vec());
    frame
}

/// The length that a header announces.
pub fn length(header: [u8; HEADER]) -> Result<usize, TooLong> {
    let length = u32::from_be_bytes(header);
    match usize::try_from(length) {
        Ok(fits) if fits <= MAX_MESSAGE => Ok(fits),
        _ => Err(TooLong(length)),
    }
}

/// The line, cut where it is longer than [`MAX_LINE`].
pub fn clipped(mut line: String) -> String {
    if line.len() > MAX_LINE {
        let end = (0..=MAX_LINE).rev().find(|end| line.is_char_boundary(*end)).unwrap_or_default();
        line.truncate(end);
    }
    line
}

/// A header announces more than [`MAX_MESSAGE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of {0} bytes is announced, and at most {MAX_MESSAGE} are read")]
pub struct TooLong(u32);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::CheckResponse;

    #[test]
    fn a_frame_is_its_length_and_its_message() {
        let message = CheckResponse { code: "admitted".into(), ..CheckResponse::default() };
        let frame = encode(&message);
        let (header, body) = frame.split_at(HEADER);
        assert_eq!(length(header.try_into().unwrap()), Ok(body.len()));
        assert_eq!(CheckResponse::decode(body).unwrap(), message);
    }

    #[test]
    fn a_frame_has_a_longest_length() {
        let most = u32::try_from(MAX_MESSAGE).unwrap();
        assert_eq!(length(most.to_be_bytes()), Ok(MAX_MESSAGE));
        assert_eq!(length((most + 1).to_be_bytes()), Err(TooLong(most + 1)));
        assert_eq!(length([0xff; 4]), Err(TooLong(u32::MAX)));
    }
}
