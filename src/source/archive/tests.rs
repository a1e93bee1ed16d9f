//! Which members archives have, good ones and bad.

use super::ArchiveFault;
use super::members::{BLOCK, Member, Members};
use super::tape::Plain;
use crate::oci::Digest;
use crate::remedy::Remedy as _;
use crate::source::limits::MAX_ARCHIVE_EXTENSION;
use tar::{Builder, EntryType, Header};

type Change = fn(&mut Header);

/// A header of this kind and name.
pub(super) fn head(kind: EntryType, name: &str, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size);
    let bytes = header.as_mut_bytes();
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    header
}

/// An archive of these members: kind, name and content.
pub(super) fn archive(members: &[(EntryType, &str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, name, content) in members {
        builder.append(&head(*kind, name, content.len() as u64), *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn code(bytes: &[u8]) -> Option<&'static str> {
    Members::of_bytes(bytes).err().map(|error| error.code().as_str())
}

fn is_known(bytes: &[u8], name: &str) -> bool {
    Members::of_bytes(bytes).unwrap().of(name).is_some()
}

pub(super) const FILE: EntryType = EntryType::Regular;

#[test]
fn what_a_layout_has_is_found_under_any_spelling_of_its_name() {
    let blob = format!("blobs/sha256/{}", Digest::sha256(b"x").hex());
    for name in ["index.json", "./index.json", ".//index.json"] {
        assert!(is_known(&archive(&[(FILE, name, b"{}")]), "index.json"), "{name}");
    }
    let bytes = archive(&[(EntryType::Directory, "blobs/", b""), (FILE, &blob, &[7; 600]), (FILE, "x/y", b"z")]);
    assert!(is_known(&bytes, &blob));
    assert!(!is_known(&bytes, "x/y"));
}

#[test]
fn long_names_and_sizes_of_extended_heads_count() {
    let blob = format!("blobs/sha512/{}", crate::oci::DigestAlgorithm::Sha512.of(b"x").hex());
    let record = format!(" path={blob}\n");
    let record = format!("{}{record}", record.len() + 3);
    for (kind, extension) in [(EntryType::GNULongName, format!("{blob}\0")), (EntryType::XHeader, record)] {
        let bytes = archive(&[(kind, "long", extension.as_bytes()), (FILE, "short", b"x")]);
        assert!(is_known(&bytes, &blob), "{kind:?}");
    }
    let sized = archive(&[(EntryType::XHeader, "h", b"9 size=1\n"), (FILE, "index.json", b"{}")]);
    assert_eq!(
        Members::of_bytes(&sized).unwrap().of("index.json"),
        Some(&Member::Content { start: 0, offset: 3 * BLOCK, size: 1 })
    );
}

#[test]
fn it_is_known_where_a_members_first_head_begins_and_where_the_archive_ends() {
    let bytes = archive(&[
        (FILE, "other", &[7; 600]),
        (EntryType::GNULongLink, "k", b"x\0"),
        (EntryType::GNULongName, "l", b"./index.json\0"),
        (FILE, "short", b"{}"),
    ]);
    let members = Members::of_bytes(&bytes).unwrap();
    let index = Member::Content { start: 3 * BLOCK, offset: 8 * BLOCK, size: 2 };
    assert_eq!((members.of("index.json"), members.end()), (Some(&index), 9 * BLOCK));
    assert_eq!(bytes.len() as u64, members.end() + 1024);
}

#[test]
fn a_name_stands_once_and_leads_nowhere() {
    let once: (EntryType, &str, &[u8]) = (FILE, "index.json", b"{}");
    for (other, expected) in [
        ((FILE, "./index.json"), Some("archive-member-twice")),
        ((EntryType::Symlink, "index.json"), Some("archive-member-twice")),
        ((FILE, "other.json"), None),
        ((FILE, "../other.json"), Some("archive-member-outside")),
        ((FILE, "/other.json"), Some("archive-member-outside")),
        ((FILE, "a/../other.json"), Some("archive-member-outside")),
        ((FILE, "a/..b/other.json"), None),
    ] {
        assert_eq!(code(&archive(&[once, (other.0, other.1, b"")])), expected, "{other:?}");
    }
}

#[test]
fn what_readers_understand_in_different_ways_is_refused() {
    for (members, expected) in [
        (archive(&[(EntryType::Directory, "d", b"x")]), Some("archive-malformed")),
        (archive(&[(EntryType::Directory, "d", b"")]), None),
        (archive(&[(EntryType::GNUSparse, "s", b"")]), Some("archive-malformed")),
        (archive(&[(EntryType::XGlobalHeader, "g", b"9 size=1\n")]), Some("archive-malformed")),
        (archive(&[(EntryType::XGlobalHeader, "g", b"13 comment=x\n")]), None),
        (archive(&[(EntryType::XHeader, "x", b"9 path=x\n"), (FILE, "y", b"")]), None),
        (archive(&[(EntryType::XHeader, "x", b"9 path=x\n9 path=y\n")]), Some("archive-malformed")),
        (
            archive(&[(EntryType::GNULongName, "l", b"x\0"), (EntryType::XHeader, "x", b"9 path=x\n")]),
            Some("archive-malformed"),
        ),
        (archive(&[(EntryType::XHeader, "x", b"9 size=x\n"), (FILE, "y", b"")]), Some("archive-malformed")),
        (
            archive(&[(EntryType::XHeader, "x", b"22 GNU.sparse.major=1\n"), (FILE, "y", b"")]),
            Some("archive-malformed"),
        ),
        // Whatever is put behind it would get the name.
        (archive(&[(FILE, "y", b""), (EntryType::XHeader, "x", b"9 path=x\n")]), Some("archive-malformed")),
        (archive(&[(EntryType::GNULongName, "l", b"x\0")]), Some("archive-malformed")),
        (
            archive(&[
                (EntryType::XHeader, "x", b"11 mtime=1\n"),
                (EntryType::XHeader, "x", b"9 path=x\n"),
                (FILE, "y", b""),
            ]),
            Some("archive-malformed"),
        ),
        (
            archive(&[
                (EntryType::XHeader, "x", b"9 path=x\n"),
                (EntryType::XGlobalHeader, "g", b"13 comment=x\n"),
                (FILE, "y", b""),
            ]),
            Some("archive-malformed"),
        ),
        (
            archive(&[
                (EntryType::XGlobalHeader, "g", b"13 comment=x\n"),
                (EntryType::XHeader, "x", b"9 path=x\n"),
                (FILE, "y", b""),
            ]),
            None,
        ),
    ] {
        assert_eq!(code(&members), expected);
    }
}

#[test]
fn an_archive_that_was_cut_anywhere_is_none() {
    let whole = archive(&[(FILE, "index.json", &[7; 700]), (FILE, "x", b"y")]);
    let end = whole.len() - 1024;
    assert_eq!(code(&whole), None);
    assert_eq!(code(&whole[..end + 512]), None);
    for length in (0..end + 512).step_by(100).chain([end, end + 511]) {
        assert_eq!(code(&whole[..length]), Some("archive-truncated"), "{length}");
    }
}

#[test]
fn a_damaged_head_is_noticed() {
    let changes: [(Change, Option<&str>); 3] = [
        (|_| (), None),
        (|header| header.as_mut_bytes()[0] ^= 1, Some("archive-malformed")),
        (
            |header| {
                header.as_mut_bytes()[124..136].fill(b'x');
                header.set_cksum();
            },
            Some("archive-malformed"),
        ),
    ];
    for (change, expected) in changes {
        let mut header = head(FILE, "index.json", 0);
        change(&mut header);
        let bytes = [header.as_bytes().as_slice(), &[0; 1024]].concat();
        assert_eq!(code(&bytes), expected);
    }
}

#[test]
fn extended_heads_and_members_are_bounded() {
    let long = |length: u64| {
        let name = vec![b'x'; usize::try_from(length).unwrap()];
        archive(&[(EntryType::GNULongName, "l", &name), (FILE, "y", b"")])
    };
    assert_eq!(code(&long(MAX_ARCHIVE_EXTENSION)), None);
    assert_eq!(code(&long(MAX_ARCHIVE_EXTENSION + 1)), Some("archive-extension-too-large"));
    let one = head(FILE, "x", 0);
    let many = |count: usize| [one.as_bytes().repeat(count), vec![0; 1024]].concat();
    assert!(Members::at_most(3, &mut Plain::of_bytes(&many(3))).is_ok());
    assert!(matches!(Members::at_most(3, &mut Plain::of_bytes(&many(4))), Err(ArchiveFault::TooManyMembers)));
}

fn gnu(head: &mut Header) {
    head.as_mut_bytes()[257..265].copy_from_slice(b"ustar  \0");
}

/// What readers take for one thing or another is refused, beside what differs from it in little and is clear.
#[test]
fn a_head_has_one_form_and_one_name() {
    let made = |change: Change| {
        let mut head = head(FILE, "index.json", 2);
        change(&mut head);
        head.set_cksum();
        let mut bytes = head.as_bytes().to_vec();
        bytes.extend(b"{}");
        bytes.resize(4 * 512, 0);
        code(&bytes)
    };
    let cases: [(Change, bool); 8] = [
        (|_| {}, true),
        (|head| head.as_mut_bytes()[508..512].copy_from_slice(b"tar\0"), false),
        (|head| head.as_mut_bytes()[263..265].fill(0), true),
        (
            |head| {
                head.as_mut_bytes()[263..265].fill(0);
                head.as_mut_bytes()[345] = b'x';
            },
            false,
        ),
        (gnu, true),
        (
            |head| {
                gnu(head);
                head.as_mut_bytes()[345..357].copy_from_slice(b"14723456701\0");
            },
            true,
        ),
        (
            |head| {
                gnu(head);
                head.as_mut_bytes()[345..355].copy_from_slice(b"index.json");
            },
            false,
        ),
        (|head| head.as_mut_bytes()[10] = b'/', false),
    ];
    for (number, (change, is_read)) in cases.into_iter().enumerate() {
        assert_eq!(made(change), (!is_read).then_some("archive-malformed"), "case {number}");
    }
    let named = |name: &[u8]| code(&archive(&[(EntryType::GNULongName, "l", name), (FILE, "index.json", b"{}")]));
    assert_eq!(named(b"./index.json\0"), None);
    assert_eq!(named(b"\0"), Some("archive-malformed"));
}
