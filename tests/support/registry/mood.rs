//! A registry that fails at random: a third of what it is asked, each question the first time alone.

use std::collections::HashSet;

use super::{Fault, Recorded};

/// One question in so many fails.
const ONE_IN: u64 = 3;

pub(super) struct Mood {
    state: u64,
    asked: HashSet<String>,
    /// How many questions have failed so far.
    pub failed: usize,
}

impl Mood {
    pub fn new(seed: u64) -> Self {
        Self { state: seed, asked: HashSet::new(), failed: 0 }
    }

    /// The fault that this question meets, if any.
    pub fn fault(&mut self, request: &Recorded) -> Option<Fault> {
        // An upload is another one each time: what it is of tells whether it was tried before.
        let is_upload = request.path.contains("/blobs/uploads/");
        let of = request.query.split('&').find(|pair| pair.starts_with("digest=")).unwrap_or_default();
        let question = match (is_upload, of) {
            (true, "") => None,
            (true, of) => Some(format!("{} {of}", request.method)),
            (false, _) => Some(format!("{} {}?{}", request.method, request.path, request.query)),
        };
        let is_new = question.is_none_or(|question| self.asked.insert(question));
        if !is_new || !self.random().is_multiple_of(ONE_IN) {
            return None;
        }
        self.failed += 1;
        Some(match self.random() % 5 {
            0 => Fault::Status(500),
            1 => Fault::Status(503),
            2 => Fault::Status(429),
            3 => Fault::Reset,
            _ => Fault::LostAnswer,
        })
    }

    /// The generator `SplitMix64`.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
