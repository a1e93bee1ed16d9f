//! The audit record: what was asked for, approved, refused and signed, as lines that hang together by their hashes.
//!
//! Each line names the hash of the line before it, so none can be changed, taken out or put in between without all that
//! follow being written anew. What the record cannot tell is whether lines at its end were cut off: whoever wants to know
//! keeps the last hash elsewhere.
//!
//! The record's own times go only forward, which makes a clock that was set back come to light.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::oci::{Descriptor, Digest, InvalidJson, parse_json};
use crate::remedy::{Code, Remedy};

/// The longest line, in bytes: the largest envelope that is signed here, in base64, and as much again.
pub const MAX_ENTRY: u64 = 4 * 1024 * 1024;
/// What the first line follows.
const BEGINNING: &[u8] = b"pratique approval record 1";
/// By how much clocks of one machine may go back by themselves, as Notary's tools allow for clocks apart.
const CLOCK_STEP: SignedDuration = SignedDuration::from_mins(5);

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Step {
    /// Somebody has asked for a signature.
    Requested {
        /// The digest of the request.
        request: Digest,
        /// What is to be signed.
        artifact: Descriptor,
        /// By which name it was found.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        /// With which key.
        key: String,
        /// The subject of who asks.
        requester: String,
        /// When it is too late.
        not_after: Timestamp,
    },
    /// Somebody has agreed.
    Approved {
        /// The digest of the request.
        request: Digest,
        /// By whom, and the approval itself.
        given: GivenApproval,
    },
    /// Something was refused.
    Refused {
        /// The digest of the request.
        request: Digest,
        /// The command.
        command: String,
        /// The code of the refusal.
        code: String,
        /// Whose key it was refused to, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<RefusedKey>,
    },
    /// The signature was made. It is kept here: a request is good for one signature, however often it is asked for.
    Signed {
        /// The digest of the request.
        request: Digest,
        /// What was signed.
        artifact: Descriptor,
        /// With which key.
        key: String,
        /// The subject of who had asked.
        requester: String,
        /// The approvals that counted.
        approvals: Vec<GivenApproval>,
        /// The envelope, in base64.
        envelope: String,
    },
}

/// A key that something was refused to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RefusedKey {
    /// The subject of its certificate.
    pub subject: String,
    /// The thumbprint of its certificate.
    pub thumbprint: String,
}

/// An approval, as the record knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GivenApproval {
    /// The subject of who approved.
    pub approver: String,
    /// The digest of the approval's envelope.
    pub approval: Digest,
}

impl Step {
    /// The request that it is about.
    pub fn request(&self) -> &Digest {
        match self {
            Self::Requested { request, .. }
            | Self::Approved { request, .. }
            | Self::Refused { request, .. }
            | Self::Signed { request, .. } => request,
        }
    }
}

/// A line of the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// Its number, from 1.
    pub sequence: u64,
    /// The hash of the line before it.
    pub previous: Digest,
    /// When it was written.
    pub time: Timestamp,
    /// What was done.
    pub step: Step,
}

/// How far a record was followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    length: u64,
    head: Digest,
    time: Option<Timestamp>,
}

/// Why a record cannot be relied upon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokenRecord {
    /// A line that is none.
    #[error("line {line} of the approval record is not an entry")]
    NotAnEntry {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        source: InvalidJson,
    },
    /// A line that does not follow the one before it.
    #[error("line {line} of the approval record does not follow the one before it: {fault}")]
    Chain {
        /// The line, from 1.
        line: u64,
        /// What does not fit.
        fault: &'static str,
    },
    /// The record knows a later time.
    #[error("it is {now}, and the approval record has an entry of {last}")]
    ClockBehind {
        /// The last entry's time.
        last: Timestamp,
        /// This machine's time.
        now: Timestamp,
    },
}

impl Remedy for BrokenRecord {
    fn code(&self) -> Code {
        Code(match self {
            Self::NotAnEntry { .. } | Self::Chain { .. } => "approval-record-broken",
            Self::ClockBehind { .. } => "approval-clock-behind",
        })
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::NotAnEntry { .. } | Self::Chain { .. } => {
                "find out who has changed it and restore it from a copy; a new record forgets which requests were signed".into()
            }
            Self::ClockBehind { .. } => "look at this machine's clock".into(),
        })
    }
}

impl Default for Record {
    fn default() -> Self {
        Self { length: 0, head: Digest::sha256(BEGINNING), time: None }
    }
}

impl Record {
    /// How many lines there are.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The hash of the last line.
    pub fn head(&self) -> &Digest {
        &self.head
    }

    /// Follows the record over one more line, which is given without its end.
    pub fn follow(&mut self, line: &[u8]) -> Result<Entry, BrokenRecord> {
        let number = self.length.saturating_add(1);
        let entry: Entry = parse_json(line).map_err(|source| BrokenRecord::NotAnEntry { line: number, source })?;
        let fault = match &entry {
            entry if entry.sequence != number => Some("its number is another"),
            entry if entry.previous != self.head => Some("it names another hash"),
            entry if self.time.is_some_and(|time| entry.time < time) => Some("it is of an earlier time"),
            _ => None,
        };
        if let Some(fault) = fault {
            return Err(BrokenRecord::Chain { line: number, fault });
        }
        *self = Self { length: number, head: Digest::sha256(line), time: Some(entry.time) };
        Ok(entry)
    }

    /// The line to be added for this step, without its end.
    pub fn next(&self, step: Step, now: Timestamp) -> Result<Vec<u8>, BrokenRecord> {
        let time = self.time_of(now)?;
        let entry = Entry { sequence: self.length.saturating_add(1), previous: self.head.clone(), time, step };
        // A struct of text and numbers always has a JSON form.
        Ok(serde_json::to_vec(&entry).unwrap_or_default())
    }

    /// The time at which things are done that the record is to know of.
    pub fn time_of(&self, now: Timestamp) -> Result<Timestamp, BrokenRecord> {
        match self.time {
            Some(last) if last.duration_since(now) > CLOCK_STEP => Err(BrokenRecord::ClockBehind { last, now }),
            Some(last) => Ok(last.max(now)),
            None => Ok(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 60 * minute).unwrap()
    }

    fn refused(request: &str) -> Step {
        Step::Refused {
            request: Digest::sha256(request.as_bytes()),
            command: "sign".into(),
            code: "none".into(),
            by: None,
        }
    }

    fn signed() -> Step {
        let approval = GivenApproval { approver: "CN=ann".into(), approval: Digest::sha256(b"approval") };
        Step::Signed {
            request: Digest::sha256(b"a"),
            artifact: Descriptor::of("text/plain", b"a"),
            key: "release".into(),
            requester: "CN=rita".into(),
            approvals: vec![approval],
            envelope: "e30=".into(),
        }
    }

    /// Three lines that follow each other.
    fn lines() -> Vec<Vec<u8>> {
        let mut record = Record::default();
        let given = GivenApproval { approver: "CN=ann".into(), approval: Digest::sha256(b"approval") };
        let steps = [refused("a"), Step::Approved { request: Digest::sha256(b"a"), given }, signed()];
        let mut lines = Vec::new();
        for (step, minute) in steps.into_iter().zip(0..) {
            let line = record.next(step.clone(), at(minute)).unwrap();
            assert_eq!(record.follow(&line).unwrap().step, step);
            lines.push(line);
        }
        lines
    }

    fn followed(lines: &[Vec<u8>]) -> Result<u64, BrokenRecord> {
        let mut record = Record::default();
        lines.iter().try_for_each(|line| record.follow(line).map(drop)).map(|()| record.length())
    }

    #[test]
    fn a_record_is_followed_to_its_end() {
        assert_eq!(followed(&lines()), Ok(3));
        assert_eq!(followed(&[]), Ok(0));
    }

    #[test]
    fn a_changed_missing_added_or_moved_line_is_found() {
        let replaced =
            |from: &str, to: &str| String::from_utf8(lines()[0].clone()).unwrap().replace(from, to).into_bytes();
        let changed = [replaced("sign", "sing"), lines()[1].clone(), lines()[2].clone()];
        let hash = "it names another hash";
        assert_eq!(followed(&changed), Err(BrokenRecord::Chain { line: 2, fault: hash }));
        let number = "its number is another";
        assert_eq!(followed(&lines()[1..]), Err(BrokenRecord::Chain { line: 1, fault: number }));
        let moved = [lines()[1].clone(), lines()[0].clone()];
        assert_eq!(followed(&moved), Err(BrokenRecord::Chain { line: 1, fault: number }));
        let twice = [lines()[0].clone(), lines()[0].clone()];
        assert_eq!(followed(&twice), Err(BrokenRecord::Chain { line: 2, fault: number }));
        let unknown = [replaced("\"step\"", "\"extra\":1,\"step\"")];
        assert!(matches!(followed(&unknown), Err(BrokenRecord::NotAnEntry { line: 1, .. })));
        assert!(matches!(followed(&[b"".to_vec()]), Err(BrokenRecord::NotAnEntry { line: 1, .. })));
    }

    #[test]
    fn times_go_only_forward() {
        let mut record = Record::default();
        record.follow(&record.next(refused("a"), at(10)).unwrap()).unwrap();
        // A clock that was put right by a little is no lie.
        let line = record.next(refused("b"), at(5)).unwrap();
        assert_eq!(record.clone().follow(&line).unwrap().time, at(10));
        let behind = BrokenRecord::ClockBehind { last: at(10), now: at(4) };
        assert_eq!(record.next(refused("b"), at(4)), Err(behind));
        let earlier = String::from_utf8(line).unwrap().replace(&at(10).to_string(), &at(9).to_string());
        let fault = "it is of an earlier time";
        assert_eq!(record.follow(earlier.as_bytes()), Err(BrokenRecord::Chain { line: 2, fault }));
    }
}
