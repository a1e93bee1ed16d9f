//! What was brought a moment ago.
//!
//! A node that drains onto its neighbour has hundreds of images of one signer judged within a minute. Answers are kept so
//! briefly that a revocation is noticed as soon as ever: verdicts are kept for longer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::verify::Need;

/// How long an answer is kept, whatever its issuer grants.
const LIFE: SignedDuration = SignedDuration::from_mins(5);

/// How many answers are kept. A node sees the certificates of some dozen signers.
const MAX_ANSWERS: usize = 256;

/// The largest answer that is kept here, in bytes; with [`MAX_ANSWERS`] 16 MiB at most. Larger lists are kept on the disk.
const MAX_SIZE: usize = 64 * 1024;

#[derive(Default)]
pub(super) struct Memory {
    answers: Mutex<BTreeMap<Need, Remembered>>,
}

struct Remembered {
    bytes: Arc<[u8]>,
    from: Timestamp,
    until: Timestamp,
}

impl Memory {
    pub(super) fn find(&self, need: &Need, now: Timestamp) -> Option<Arc<[u8]>> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back must not make an answer younger.
        answers.get(need).filter(|kept| kept.from <= now && now < kept.until).map(|kept| Arc::clone(&kept.bytes))
    }

    pub(super) fn keep(&self, need: &Need, bytes: &Arc<[u8]>, now: Timestamp, until: Timestamp) {
        if bytes.len() > MAX_SIZE {
            return;
        }
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.get(need).is_some_and(|kept| kept.bytes == *bytes && kept.from <= now && now < kept.until) {
            return;
        }
        if answers.len() >= MAX_ANSWERS {
            answers.retain(|_, kept| now < kept.until);
        }
        if answers.len() >= MAX_ANSWERS {
            answers.clear();
        }
        let until = now.saturating_add(LIFE).unwrap_or(Timestamp::MAX).min(until);
        answers.insert(need.clone(), Remembered { bytes: Arc::clone(bytes), from: now, until });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(number: usize) -> Need {
        Need::Crl { url: format!("http://crl.example/{number}") }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn an_answer_is_kept_for_five_minutes_and_no_longer_than_it_is_good() {
        let (memory, bytes) = (Memory::default(), Arc::from(*b"list"));
        memory.keep(&need(1), &bytes, at(0), at(1_000_000));
        memory.keep(&need(2), &bytes, at(0), at(10));
        for (number, second, expected) in
            [(1, 0, true), (1, 299, true), (1, 300, false), (1, -1, false), (2, 9, true), (2, 10, false), (3, 0, false)]
        {
            assert_eq!(memory.find(&need(number), at(second)).is_some(), expected, "{number} at {second}");
        }
        // To rely on an answer again does not make it younger.
        memory.keep(&need(1), &bytes, at(200), at(1_000_000));
        assert!(memory.find(&need(1), at(301)).is_none());
    }

    #[test]
    fn the_memory_does_not_grow_without_end() {
        let memory = Memory::default();
        memory.keep(&need(0), &Arc::from(vec![0; MAX_SIZE + 1]), at(0), at(100));
        assert!(memory.find(&need(0), at(0)).is_none());
        for number in 0..3 * MAX_ANSWERS {
            memory.keep(&need(number), &Arc::from(*b"list"), at(0), at(100));
            assert!(memory.find(&need(number), at(0)).is_some());
        }
        assert!(memory.answers.lock().unwrap().len() <= MAX_ANSWERS);
    }
}
