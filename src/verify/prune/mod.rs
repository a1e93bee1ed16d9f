//! Which signatures of an artifact can go, so that no verifier misses them?
//!
//! No policy is asked: whoever prunes does not know the policies of all who verify. So one signature takes another's place only
//! where every policy that admits the artifact by the other one, now or later, admits it by this one, too. That asks for
//! more than the same signer and a later date. A policy may trust one certificate of a chain and not its renewal, demand user
//! metadata or a time-stamp, have a plugin judge, or merely log that a signature has expired; a verifier may read one of the
//! two envelope formats alone. What is not the same in all of that stays, and what the difference is, is told.
//!
//! Only what stays takes another's place, so an artifact that has a signature which somebody accepts keeps one.

#[cfg(test)]
mod tests;

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::expiry;
use super::integrity::Sound;
use super::outcome::State;
use crate::envelope::{Envelope, Format, SignedAttributes, SigningScheme};
use crate::oci::Descriptor;
use crate::pki::{Certificate, Chain, InvalidTimestamp, TimestampToken};

/// A signature of the artifact in question, read and found whole.
#[derive(Debug)]
pub struct Candidate {
    /// The signature manifest.
    pub manifest: Descriptor,
    /// The envelope in it.
    pub envelope: Envelope,
    /// That its integrity holds.
    pub sound: Sound,
    /// Whether something else refers to it, and would be left without a subject.
    pub is_referred_to: bool,
}

/// What becomes of a signature. Others are known by their place in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Kept {
        /// Whether it has expired: policies that only log this still admit by it.
        is_expired: bool,
        /// Why nothing that the same signer made later takes its place, where there is such a thing.
        because: Option<Difference>,
    },
    /// Every policy that admits by it admits by this later one.
    Superseded {
        /// The one that takes its place.
        by: usize,
    },
    /// It has expired.
    Expired {
        /// The one that takes its place with policies that only log this; none where it goes all the same.
        by: Option<usize>,
    },
}

/// Why a later signature by the same signer does not take the place of an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Difference {
    /// Something else refers to the earlier one.
    ReferredTo,
    /// They are stored as different kinds of manifest.
    Manifest,
    /// One is JWS and the other COSE.
    Format,
    /// A policy may trust a certificate that only the chain of one of them has.
    Certificates,
    /// They were signed under different schemes.
    Scheme,
    /// An authority vouches for the times of both, and a revocation may lie between them.
    SigningAuthority,
    /// A plugin is to judge the earlier one, by whatever it likes.
    Plugin,
    /// They differ in attributes that are not Notary's own.
    Attributes,
    /// A verifier may demand metadata that only the earlier one has.
    Metadata,
    /// The later one ends before the earlier one does.
    Expiry,
    /// A policy may demand the time-stamp that the earlier one has, and not believe the other's.
    Timestamp,
    /// The certificates were not valid at the time that the later one says.
    SigningTime,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReferredTo => "something else refers to it",
            Self::Manifest => "the later one is stored as another kind of manifest",
            Self::Format => "the later one is an envelope of the other format",
            Self::Certificates => "the later one was signed with another certificate, and a policy may trust one alone",
            Self::Scheme => "the later one was signed under another scheme",
            Self::SigningAuthority => "a revocation may lie between the times that an authority vouches for",
            Self::Plugin => "it demands a verification plugin, which may prefer it",
            Self::Attributes => "the later one has other extended attributes",
            Self::Metadata => "the later one lacks some of its user metadata",
            Self::Expiry => "the later one expires earlier",
            Self::Timestamp => "the later one has no time-stamp by the same authority",
            Self::SigningTime => "the later one gives a time at which its certificates were not valid",
        })
    }
}

/// What becomes of each signature of one artifact. With `lone_expired`, an expired one goes also where nothing takes its place.
///
/// Whatever takes the place of one that takes the place of a third takes the place of that, too. So it is enough to look for one
/// that does, whatever becomes of it: at the end of the row stands one that stays.
pub fn prune(candidates: &[Candidate], lone_expired: bool, now: Timestamp) -> Vec<Fate> {
    let facts = candidates.iter().enumerate();
    let facts: Vec<Facts<'_>> = facts.map(|(place, candidate)| Facts::of(place, candidate, now)).collect();
    let goes = |one: &Facts<'_>| facts.iter().any(|other| other.is_preferred_to(one));
    let is_spent = |one: &Facts<'_>| lone_expired && one.is_expired;
    let stays: Vec<bool> = facts.iter().map(|one| one.is_referred_to || !(goes(one) || is_spent(one))).collect();
    let kept = || facts.iter().enumerate().zip(&stays).filter(|(_, stays)| **stays).map(|(entry, _)| entry);
    let fate = |(one, stays): (&Facts<'_>, &bool)| {
        let is_expired = one.is_expired;
        let by = kept().find(|(_, other)| other.is_preferred_to(one)).map(|(place, _)| place);
        match by.filter(|_| !stays) {
            Some(by) if is_expired => Fate::Expired { by: Some(by) },
            Some(by) => Fate::Superseded { by },
            None if one.is_referred_to => Fate::Kept { is_expired, because: Some(Difference::ReferredTo) },
            None if is_spent(one) => Fate::Expired { by: None },
            None => Fate::Kept { is_expired, because: one.lacks(kept().map(|(_, other)| other)) },
        }
    };
    facts.iter().zip(&stays).map(fate).collect()
}

/// What verdicts depend on.
struct Facts<'a> {
    /// In the list.
    place: usize,
    manifest: &'a Descriptor,
    format: Format,
    chain: &'a Chain,
    attributes: &'a SignedAttributes,
    payload: &'a Descriptor,
    stamp: Stamped,
    is_expired: bool,
    is_referred_to: bool,
}

/// The time-stamp of a signature.
#[derive(PartialEq)]
enum Stamped {
    None,
    /// One that holds, as far as can be told without trusting anybody, and that vouches for the signer's certificates: by the
    /// first of these.
    Whole(Vec<Certificate>),
    Doubtful,
}

impl<'a> Facts<'a> {
    fn of(place: usize, candidate: &'a Candidate, now: Timestamp) -> Self {
        let Candidate { manifest, envelope, sound, is_referred_to } = candidate;
        let attributes = envelope.signed_attributes();
        Self {
            place,
            manifest,
            format: envelope.format(),
            chain: &sound.chain,
            attributes,
            payload: &sound.payload.target_artifact,
            stamp: Stamped::of(envelope, &sound.chain),
            is_expired: expiry::check(attributes, now) != State::Passed,
            is_referred_to: *is_referred_to,
        }
    }

    /// The subject under the same root. A renewed certificate is the same signer's.
    fn is_by_signer_of(&self, other: &Self) -> bool {
        let (own, others) = (self.chain.certificates(), other.chain.certificates());
        own.first() == others.first()
            || self.chain.leaf().subject_der() == other.chain.leaf().subject_der() && own.last() == others.last()
    }

    /// Whether this one is to stay rather than the other one. Of equal ones it is one alone.
    fn is_preferred_to(&self, other: &Self) -> bool {
        let rank = |of: &Self| (!of.is_referred_to, of.place);
        self.place != other.place
            && self.takes_the_place_of(other).is_ok()
            && (other.takes_the_place_of(self).is_err() || rank(self) < rank(other))
    }

    /// Why the latest of these that the same signer made after this one does not take its place.
    fn lacks<'f>(&self, others: impl Iterator<Item = &'f Self>) -> Option<Difference>
    where
        'a: 'f,
    {
        let is_later =
            |other: &&Self| other.attributes.signing_time > self.attributes.signing_time && other.is_by_signer_of(self);
        others.filter(is_later).max_by_key(|other| other.attributes.signing_time)?.takes_the_place_of(self).err()
    }

    /// Whether whoever admits by the other one admits by this one, at any time. If not, the first reason.
    fn takes_the_place_of(&self, other: &Self) -> Result<(), Difference> {
        let (own, others) = (self.attributes, other.attributes);
        let lasts = |expiry: Option<Timestamp>| expiry.map_or((true, Timestamp::MIN), |expiry| (false, expiry));
        let has_metadata =
            other.payload.annotations.iter().all(|(name, value)| self.payload.annotations.get(name) == Some(value));
        let is_in_time = own.signing_time >= others.signing_time && self.chain.check_validity(own.signing_time).is_ok();
        // In the order in which the differences tell most.
        let checks = [
            (self.chain.certificates() == other.chain.certificates(), Difference::Certificates),
            (own.scheme == others.scheme, Difference::Scheme),
            // A revocation does not touch what was signed before it (trust policy specification, "Certificate Revocation
            // Evaluation"): the earlier of the two may be the one that lasts.
            (
                own.scheme == SigningScheme::X509 || own.signing_time == others.signing_time,
                Difference::SigningAuthority,
            ),
            (own.plugin.is_none() && others.plugin.is_none(), Difference::Plugin),
            (self.format == other.format, Difference::Format),
            (self.manifest.media_type == other.manifest.media_type, Difference::Manifest),
            (has_metadata, Difference::Metadata),
            (has_same_attributes(own, others), Difference::Attributes),
            (lasts(own.expiry) >= lasts(others.expiry), Difference::Expiry),
            (self.stamp.vouches_like(&other.stamp), Difference::Timestamp),
            (is_in_time, Difference::SigningTime),
        ];
        checks.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, difference)| Err(difference))
    }
}

/// Whoever understands attributes that are not Notary's own finds the same ones. One whose value is not known is not the same
/// as any other.
fn has_same_attributes(own: &SignedAttributes, others: &SignedAttributes) -> bool {
    let is_known = others.extended.iter().all(|attribute| attribute.value.is_some());
    let is_among = |these: &SignedAttributes, those: &SignedAttributes| {
        these.extended.iter().all(|attribute| those.extended.contains(attribute))
    };
    is_known && is_among(own, others) && is_among(others, own)
}

impl Stamped {
    /// The token is held against its own certificates: whether anybody trusts these is for policies to say, and is the same for
    /// two tokens with the same ones.
    fn of(envelope: &Envelope, chain: &Chain) -> Self {
        let Some(token) = &envelope.unsigned_attributes().timestamp_signature else { return Self::None };
        let whole = TimestampToken::parse(token).ok().and_then(|token| {
            let mut certificates = token.unverified_certificates();
            let signer = token.unverified_signer()?;
            match token.verify(envelope.signature(), &certificates) {
                // All but who issued the authority's own certificate, which a token need not tell.
                Ok(_) | Err(InvalidTimestamp::Untrusted { .. }) => {}
                Err(_) => return None,
            }
            let (earliest, latest) = token.unverified_window(envelope.signature()).ok()?;
            chain.check_validity(earliest).and_then(|()| chain.check_validity(latest)).ok()?;
            let is_valid = signer.not_before() <= token.info().time && token.info().time <= signer.not_after();
            certificates.insert(0, signer);
            is_valid.then_some(certificates)
        });
        whole.map_or(Self::Doubtful, Self::Whole)
    }

    /// Whether whoever believes the other one believes this one.
    fn vouches_like(&self, other: &Self) -> bool {
        *other == Self::None || matches!(self, Self::Whole(_)) && self == other
    }
}
