//! The kinds of values in `config.toml`, each refused where it stands, so that the error has the line and the key.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use crate::envelope::limits::MAX_ENVELOPE_SIZE;
use crate::oci::Repository;

/// The longest duration: a year. Longer ones are typing errors, and could overflow a point in time.
const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How long `pratique-verifier` and `pratique-runtime` wait; containerd ends a verifier after 10 s.
const HOOK_PATIENCE: Duration = Duration::from_secs(9);

/// A path that means the same from every working directory.
pub(super) fn absolute_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if path.is_absolute() { Ok(path) } else { Err(de::Error::custom("the path must begin with `/`")) }
}

/// The same for a key without a default.
pub(super) fn optional_absolute_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    absolute_path(deserializer).map(Some)
}

/// Such paths, separated by colons; none in an empty text.
pub(super) fn absolute_paths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let paths: Vec<PathBuf> = text.split(':').filter(|path| !path.is_empty()).map(PathBuf::from).collect();
    if paths.iter().all(|path| path.is_absolute()) {
        Ok(paths)
    } else {
        Err(de::Error::custom("each path must begin with `/`"))
    }
}

/// A number with a unit, such as `500ms`, `8s`, `1h 30m`.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let written = text.parse::<jiff::SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    match written {
        Some(duration) if duration <= MAX_DURATION => Ok(duration),
        Some(_) => Err(de::Error::custom("the duration is longer than a year")),
        None => Err(de::Error::custom("a duration is written as a number with a unit, such as `500ms`, `8s`, `1h`")),
    }
}

/// The same, and longer than nothing.
pub(super) fn positive_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    match duration(deserializer)? {
        Duration::ZERO => Err(de::Error::custom("the duration must not be zero")),
        duration => Ok(duration),
    }
}

/// The same, and over while those who have asked still wait: an answer that comes later stops whatever they ask about.
pub(super) fn time_to_answer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    match positive_duration(deserializer)? {
        duration if duration < HOOK_PATIENCE => Ok(duration),
        _ => Err(de::Error::custom(
            "the hooks wait 9 seconds, and an answer has to be there before: write less than `9s`",
        )),
    }
}

/// A number other than zero.
pub(super) fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    match usize::deserialize(deserializer)? {
        0 => Err(de::Error::custom("the number must not be zero")),
        number => Ok(number),
    }
}

/// A size in bytes of at most [`MAX_ENVELOPE_SIZE`].
pub(super) fn envelope_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match u64::deserialize(deserializer)? {
        size @ 1..=MAX_ENVELOPE_SIZE => Ok(size),
        _ => Err(de::Error::custom(format!("the size of an envelope is between 1 and {MAX_ENVELOPE_SIZE} bytes"))),
    }
}

/// Registry hosts, each with its port where one is used.
pub(super) fn hosts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let hosts = Vec::<String>::deserialize(deserializer)?;
    let is_host = |host: &str| {
        // A host is what a reference can have before its first slash, unchanged.
        let repository = format!("{host}/x").parse::<Repository>();
        repository.is_ok_and(|repository| repository.registry() == host && repository.path() == "x")
    };
    match hosts.iter().find(|host| !is_host(host)) {
        Some(host) => Err(de::Error::custom(format!("`{host}` is not a registry host, written `host` or `host:port`"))),
        None => Ok(hosts),
    }
}

/// A repository with its registry, as a scope of the trust policy has it.
pub(super) fn repository<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Repository>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let written = text.parse::<Repository>().ok().filter(|repository| repository.to_string() == text);
    let wrong = || de::Error::custom(format!("`{text}` is not a repository, written `registry.example/path`"));
    written.map(Some).ok_or_else(wrong)
}

/// A filter in the syntax of `tracing`'s `EnvFilter`, but for one thing: a word alone must be a level. There it could
/// also be the name of a part, and then a misspelt level would silence the log without a word.
pub(super) fn filter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_level = |word: &str| word.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
    let mut words =
        text.split(',').map(str::trim).filter(|part| !part.is_empty() && !part.contains(['=', '[', ']', '{', '}']));
    match (words.find(|word| !is_level(word)), tracing_subscriber::EnvFilter::builder().parse(&text)) {
        (None, Ok(_)) => Ok(text),
        (Some(word), _) => Err(de::Error::custom(format!(
            "`{word}` is none of the levels error, warn, info, debug, trace, off; a part is written with its level, \
             `{word}=debug`"
        ))),
        (None, Err(error)) => Err(de::Error::custom(format!("`{text}` is not a filter of log lines: {error}"))),
    }
}
