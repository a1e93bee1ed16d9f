//! What the operator wrote: files and directories, read into the values that the rest of the program works with.
//!
//! This is the only place that knows where configuration lies and what may stand in its way: links, foreign files,
//! unreadable directories. Two things come out: a [`NodeConfig`], how this node runs, and a
//! [`Trust`](crate::policy::Trust), what this node believes. Neither is half read: a file that cannot be understood to its last byte is an
//! error that names the file, the line and the remedy, and never a default.

mod attach_profile;
mod file;
mod key_usage;
mod node;
mod notation_dir;
mod signing_keys;
mod stored_certificates;
mod strict_policy;
mod toml_file;
mod trust_store;
mod value;

pub use crate::files::{Existing, write_whole};
pub use attach_profile::{AttachProfile, AttachProfileError, RevocationChoice};
pub use file::{FileError, NotationFileError, lock_directory};
pub use key_usage::{KeyUsage, KeyUsageError, UsageRule};
pub use node::{
    CacheConfig, ContainerdConfig, GateConfig, LimitConfig, LocalImageConfig, LogConfig, LogFormat, NodeConfig,
    NodeConfigError, PluginConfig, RegistryConfig, RevocationConfig, SocketConfig,
};
pub use notation_dir::{ImportError, InvalidName, LoadError, NotationDir, PolicyKind};
pub use signing_keys::{SigningKey, SigningKeyEntry, SigningKeyError, SigningKeys};
pub use stored_certificates::{StoredCertificates, names_in};
pub use strict_policy::strict_policy;
pub use toml_file::TomlFileError;
pub use trust_store::{is_certificate_file_name, load as load_trust_store};
