//! Every fuzz target for a moment: the same seeds and the same changes on every run.
//!
//! `make fuzz` looks for longer, guided by what the code does; here each parser meets some thousand damaged documents, so
//! that a panic that lies near the surface is found before the change that brings it is in.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may end in a panic"
)]

#[path = "../fuzz/src/seeds.rs"]
mod seeds;
#[path = "../fuzz/src/targets.rs"]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// How many changed documents each target gets: about a second in a debug build, and some for those that sign.
const ROUNDS: usize = 6_000;

#[test]
fn every_target_bears_changed_documents() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, target) in targets::TARGETS {
        let seeds = seeds::of(root, name);
        assert!(!seeds.is_empty(), "{name} has no seed");
        assert!(seeds.iter().filter(|seed| target(seed)).count() > 0, "{name} accepts none of its seeds");
        let mut chance = Chance::of(name);
        for round in 0..ROUNDS {
            let bytes = chance.changed(&seeds);
            let ended = catch_unwind(AssertUnwindSafe(|| target(&bytes)));
            assert!(ended.is_ok(), "{name}, round {round}: {}", hex::encode(&bytes));
        }
    }
}

/// For `make fuzz`: what the fuzzer begins with.
#[test]
#[ignore = "writes to fuzz/corpus"]
fn the_corpus_is_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, _) in targets::TARGETS {
        let folder = root.join("fuzz/corpus").join(name);
        fs::create_dir_all(&folder).unwrap();
        for (number, seed) in seeds::of(root, name).iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed).unwrap();
        }
    }
}

#[test]
fn every_target_has_its_program_for_the_fuzzer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for (name, _) in targets::TARGETS {
        let program = fs::read_to_string(root.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("targets::{name}(")), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
    assert_eq!(fs::read_dir(root.join("fuzz_targets")).unwrap().count(), targets::TARGETS.len());
}

/// xorshift64: the same numbers on every run.
struct Chance(u64);

impl Chance {
    fn of(name: &str) -> Self {
        Self(name.bytes().fold(0x9e37_79b9_7f4a_7c15, |state, byte| (state ^ u64::from(byte)).rotate_left(7)))
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % end.max(1)
    }

    /// One of the seeds, changed in one to four places.
    fn changed(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(4) {
            self.change(&mut bytes, seeds);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        /// What parsers stumble over: ends of strings and lists, lengths, signs, characters of several bytes.
        const INTERESTING: [&[u8]; 16] = [
            b"\0",
            b"\"",
            b"\\",
            b"{",
            b"[",
            b",",
            b"\xff\xff\xff\xff",
            b"\x80",
            b"\x84",
            b"\xbf",
            b"..",
            b"/",
            b"\xe2\x80\xae",
            b"-1",
            b"1e999",
            b"9223372036854775808",
        ];
        let at = self.below(bytes.len() + 1);
        let to = (at + self.below(24)).min(bytes.len());
        match self.below(7) {
            0 => drop(bytes.drain(at..to)),
            1 => bytes.truncate(at),
            2 => drop(bytes.splice(at..at, INTERESTING[self.below(INTERESTING.len())].iter().copied())),
            3 => {
                let twice = bytes[at..to].to_vec();
                drop(bytes.splice(at..at, twice));
            }
            4 => {
                let other = &seeds[self.below(seeds.len())];
                let from = self.below(other.len());
                let until = (from + self.below(64)).min(other.len());
                drop(bytes.splice(at..to, other[from..until].iter().copied()));
            }
            _ if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            _ => bytes.push(b'}'),
        }
    }
}
