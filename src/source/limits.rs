//! How much of a stranger's answer is taken, and how long it is waited for.

use std::time::Duration;

/// The time that one question to a registry may take in total: connecting, authenticating, redirects, repeated tries
/// and bodies. A person's patience, and what the reference implementation's HTTP client grants.
pub const HOST_TIMEOUT: Duration = Duration::from_secs(30);

/// The most that a configuration may put in place of [`HOST_TIMEOUT`]; whoever wants "never" gets a day.
pub const MAX_HOST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// The time that a connection may take to open. Three lost SYN packets (1 + 2 + 4 s, RFC 6298) and no more, so that a
/// dead address leaves time for the next one.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);

/// The time that a mirror may take when there is another host to ask: containerd gives an image verifier 10 s for all its
/// questions, and a mirror that has the content answers within one.
pub const MIRROR_TIMEOUT: Duration = Duration::from_secs(2);

/// The largest `hosts.toml`, in bytes: what [`MAX_REGISTRY_HOSTS`] need with a kilobyte each, many times over.
pub const MAX_HOSTS_FILE: u64 = 256 * 1024;

/// How many hosts one registry may have. Each one that is down makes everybody wait; two or three are usual.
pub const MAX_REGISTRY_HOSTS: usize = 32;

/// How many certificate files one host may have.
pub const MAX_HOST_FILES: usize = 64;

/// The largest file with certificates of a host, in bytes. All the authorities of a Linux distribution take some 220 KiB.
pub const MAX_HOST_CERTIFICATES: u64 = 1024 * 1024;

/// How many redirects in a row are followed. Docker Hub and the clouds' registries need one or two.
pub const MAX_REDIRECTS: usize = 5;

/// How often a request is made at most when the registry is overloaded or breaks the connection off.
pub const MAX_TRIES: u32 = 3;

/// The pause before the second try; each further pause is twice as long.
pub const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// How many pages of referrers are read for one subject. Registries put some 50 to 100 entries on a page, of which one
/// subject seldom fills a single one; more pages than these are a registry that goes in circles.
pub const MAX_REFERRER_PAGES: usize = 64;

/// How many bytes of lists of referrers are read for one subject, over all pages: four of the largest pages. What is not
/// read by then is padding, and parsing it would keep the processor from everybody else's questions.
pub const MAX_REFERRERS_SIZE: u64 = 16 * 1024 * 1024;

/// How many entries of a page of referrers are looked at. Registries put some 50 to 100 on a page; a list under the
/// fallback tag has one for everything that was ever attached to the image.
pub const MAX_PAGE_ENTRIES: usize = 10_000;

/// How many pages of the list of tags of one repository are read. Registries put 100 to 1,000 names on a page.
pub const MAX_TAG_PAGES: usize = 256;

/// How often the fallback tag is written anew when concurrent signers overwrite each other. With each round at least
/// one signer is done, so this many may sign one image at the same time.
pub const MAX_TAG_ROUNDS: usize = 8;

/// How many blobs are on their way at the same time in a copy, and how many questions open. What docker and oras do too; more
/// makes registries answer 429.
pub const MAX_TRANSFERS: usize = 4;

/// How often something is tried in a copy: on top of the tries of each question, over pauses that grow fourfold, a registry
/// that restarts is waited for.
pub const MAX_COPY_TRIES: u32 = 5;

/// The longest that a registry may have a copy wait at once. Rate limits are given by the minute; whoever is told to come back
/// in an hour had better know.
pub const MAX_COPY_PAUSE: Duration = Duration::from_secs(5 * 60);

/// How many manifests one copy may have: a dozen platforms, each with some hundred signatures and attestations.
pub const MAX_COPY_MANIFESTS: usize = 2_000;

/// How many bytes of manifests one copy holds: the largest sixteen, or all of [`MAX_COPY_MANIFESTS`] at 32 KiB each.
pub const MAX_COPY_MANIFESTS_SIZE: u64 = 64 * 1024 * 1024;

/// How many manifests may lie above one, by being listed in each other or by referring to each other. The signature of an SBOM
/// of a platform has 4.
pub const MAX_COPY_DEPTH: usize = 16;

/// How many referrers of one subject are copied.
pub const MAX_COPY_REFERRERS: usize = 1_000;

/// How many manifests the tree of an image has: what one copy may have, and more than anybody reads.
pub const MAX_TREE_MANIFESTS: usize = MAX_COPY_MANIFESTS;

/// How many bytes of manifests are read for a tree: as for a copy.
pub const MAX_TREE_SIZE: u64 = MAX_COPY_MANIFESTS_SIZE;

/// How many manifests may stand above one in a tree: as for a copy.
pub const MAX_TREE_DEPTH: usize = MAX_COPY_DEPTH;

/// How many tags of a repository are looked at before an image is taken away, for what else needs it. Repositories that get a tag
/// with each build have some thousand.
pub const MAX_USING_TAGS: usize = 10_000;

/// How many indexes are read for that: as many as there may be tags.
pub const MAX_USING_MANIFESTS: usize = MAX_USING_TAGS;

/// How many bytes of envelopes are held at once when the signatures of one manifest are compared: a thousand of the usual 4 to
/// 64 KiB.
pub const MAX_COMPARED_ENVELOPES: u64 = 64 * 1024 * 1024;

/// How long it is remembered that a registry has no referrers API. An upgraded registry is noticed after this long.
pub const REFERRERS_MEMORY: Duration = Duration::from_secs(10 * 60);

/// How much of an error's body is read, in bytes. The error documents of registries have a few hundred.
pub const MAX_ERROR_BODY: u64 = 16 * 1024;

/// How many characters of a registry's own words are passed on to people.
pub const MAX_REGISTRY_WORDS: usize = 200;

/// The largest answer of a token service, in bytes. A token with many scopes has some 4 KiB; headers that carry one
/// are cut by servers at 8 to 32 KiB.
pub const MAX_TOKEN_ANSWER: u64 = 64 * 1024;

/// The longest that a token is used, whatever its service grants. The services in use grant 5 minutes to 12 hours; a
/// token that died early is renewed when the registry refuses it.
pub const MAX_TOKEN_LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// How many hosts or repositories are remembered. A node pulls from some dozens; clients choose the names, so the
/// memory is emptied rather than let grow.
pub const MAX_REMEMBERED: usize = 1024;

/// The largest configuration file with credentials, in bytes. A login takes some 4 KiB with a cloud's token in it.
pub const MAX_CREDENTIALS_FILE: u64 = 1024 * 1024;

/// The largest answer of a credential helper, in bytes: a user's name and one token.
pub const MAX_HELPER_ANSWER: u64 = 64 * 1024;

/// The largest `index.json` of an image layout, in bytes: [`MAX_LAYOUT_MANIFESTS`] entries with the annotations that
/// notation writes, some 500 bytes each, and as much again.
pub const MAX_LAYOUT_INDEX: u64 = 10 * 1024 * 1024;

/// The largest `oci-layout`, in bytes. It holds one version, in 30 bytes.
pub const MAX_LAYOUT_VERSION: u64 = 4 * 1024;

/// How many entries of a layout's indexes are looked at for one question. An export of some hundred images, each for a
/// dozen platforms with attestations and signatures, has some thousand.
pub const MAX_LAYOUT_MANIFESTS: usize = 10_000;

/// How many pieces of content of a layout are looked at when something is taken out of it: [`MAX_LAYOUT_MANIFESTS`] with the
/// dozen layers that an image has, and as much again.
pub const MAX_LAYOUT_CONTENT: usize = 250_000;

/// How long a layout is waited for that somebody else has. A deletion takes as long as some thousand files take to be read; a
/// copy may take hours, and whoever wants to delete meanwhile had better know.
pub const MAX_LAYOUT_WAIT: Duration = Duration::from_secs(30);

/// How many indexes may lie within each other, `index.json` included. Images for several platforms need 2, and tools
/// that wrap an image once more 3.
pub const MAX_LAYOUT_DEPTH: usize = 8;

/// How many members of an archive are listed: [`MAX_LAYOUT_CONTENT`], and not more.
pub const MAX_ARCHIVE_MEMBERS: usize = MAX_LAYOUT_CONTENT;

/// The largest extended head of a member of an archive, in bytes, which holds a name or a handful of records. What Go's
/// `archive/tar` takes, and with it docker and containerd.
pub const MAX_ARCHIVE_EXTENSION: u64 = 1024 * 1024;

/// How many bytes are unpacked of one compressed archive: the largest images, of machine learning, have some 10 GB. Unpacking
/// as many takes about a minute.
pub const MAX_UNPACKED_ARCHIVE: u64 = 16 * 1024 * 1024 * 1024;

/// How many bytes of small members of a compressed archive are kept in memory: what one copy holds, too.
pub const MAX_KEPT_CONTENT: u64 = MAX_COPY_MANIFESTS_SIZE;

/// The time that one question to containerd may take. Its answers come within milliseconds; its longest list, of some
/// thousand blobs, within 20.
pub const CONTAINERD_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest message from containerd, in bytes: what containerd itself takes and sends at most.
pub const MAX_CONTAINERD_MESSAGE: usize = 16 * 1024 * 1024;

/// How many blobs of one containerd namespace are looked at. A node with a thousand images has some ten thousand.
pub const MAX_BLOBS: usize = 200_000;

/// How many documents of containerd's content store are read at once. Each takes half a millisecond, most of it waiting.
pub const CONTAINERD_READS_AT_ONCE: usize = 16;

/// How many characters of containerd's own words are passed on to people.
pub const MAX_CONTAINERD_WORDS: usize = 200;
