//! Whether enough people have agreed to a signature, in time.
//!
//! Each approver of the usage policy is one person and counts once, whatever keys that person has; and one key counts once,
//! whatever names its certificates have. Of several approvals of one person the first that is in order counts.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use jiff::{SignedDuration, Timestamp};

use super::request::{APPROVAL_MEDIA_TYPE, SigningRequest};
use crate::oci::Descriptor;
use crate::remedy::{Code, Remedy};

/// What the usage policy of a key asks for.
#[derive(Clone, Debug)]
pub struct QuorumRule {
    /// How many different approvers there must be.
    pub quorum: NonZeroUsize,
    /// Who may approve, as the policy writes them; a [`Person`] is known by the place in this list.
    pub approvers: Vec<String>,
    /// The longest time from a request's creation to its end.
    pub valid_for: SignedDuration,
    /// Whether the requester's own approval counts.
    pub requester_counts: bool,
}

/// Somebody who has signed, as the certificate tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The subject of the certificate.
    pub subject: String,
    /// What tells the key from others.
    pub key: Vec<u8>,
    /// Which of the policy's approvers it is, if signature, chain and identity satisfy the policy.
    pub approver: Option<usize>,
}

impl Person {
    /// Whether both are one person, as far as anything tells.
    fn is_same(&self, other: &Self) -> bool {
        let is_same_approver = self.approver.is_some() && self.approver == other.approver;
        self.subject == other.subject || self.key == other.key || is_same_approver
    }
}

/// An approval whose envelope was read, and what is known of it.
#[derive(Clone, Debug)]
pub struct Approval {
    /// What was signed.
    pub approved: Descriptor,
    /// By whom.
    pub by: Person,
    /// When, as the approver says.
    pub signed_at: Timestamp,
}

/// Why an approval does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discounted {
    /// It is over another request, or over this one before it was altered.
    OtherRequest,
    /// The usage policy does not name its signer, or the signature does not satisfy it.
    NoApprover,
    /// It was signed before the request was made, after its end, or later than now.
    OutOfTime,
    /// The requester has signed it.
    Requester,
    /// The same person has approved before, or the same key.
    Repeated,
}

/// Leave to sign exactly this request. Only [`decide`] gives it.
#[derive(Debug)]
pub struct Approved<'r> {
    request: &'r SigningRequest,
}

impl Approved<'_> {
    /// What may be signed.
    pub fn request(&self) -> &SigningRequest {
        self.request
    }
}

/// Why nothing may be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuorumRefusal {
    /// The clock or the request is wrong.
    #[error("the request was made at {0}, which is still to come")]
    BeforeCreation(Timestamp),
    /// Too late.
    #[error("the request ended at {0}")]
    Expired(Timestamp),
    /// The request gives itself more time than the key's usage policy does, or none at all.
    #[error("the request lasts until {0}, which the usage policy of the key does not allow")]
    WrongEnd(Timestamp),
    /// Not enough approvers.
    #[error("{counted} of {needed} approvals are there; {} of these must still approve: {}", needed - counted, missing.join("; "))]
    TooFew {
        /// How many different approvers count.
        counted: usize,
        /// How many must.
        needed: usize,
        /// Who may still approve, as the policy writes them.
        missing: Vec<String>,
        /// What each approval that does not count is short of, by its place.
        discounted: Vec<(usize, Discounted)>,
    },
}

impl Remedy for QuorumRefusal {
    fn code(&self) -> Code {
        Code(match self {
            Self::BeforeCreation(_) => "approval-request-in-future",
            Self::Expired(_) => "approval-request-expired",
            Self::WrongEnd(_) => "approval-request-too-long",
            Self::TooFew { .. } => "approval-quorum-missing",
        })
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::BeforeCreation(_) => "look at the clocks of this machine and of the requester's".into(),
            Self::Expired(_) | Self::WrongEnd(_) => "make a new request with `pratique sign --request`".into(),
            Self::TooFew { .. } => "have the file approved with `pratique approve`".into(),
        })
    }
}

/// Whether this request may be signed now.
pub fn decide<'r>(
    request: &'r SigningRequest,
    rule: &QuorumRule,
    requester: &Person,
    approvals: &[Approval],
    now: Timestamp,
) -> Result<Approved<'r>, QuorumRefusal> {
    check_time(request, rule, now)?;
    let weighed = weigh(request, rule, requester, approvals, now);
    let (counted, needed) = (weighed.iter().filter(|weight| weight.is_ok()).count(), rule.quorum.get());
    if counted >= needed {
        return Ok(Approved { request });
    }
    let counting: BTreeSet<usize> = weighed.iter().filter_map(|weight| weight.ok()).collect();
    let is_missing = |place: &usize| {
        let is_requester = !rule.requester_counts && requester.approver == Some(*place);
        !counting.contains(place) && !is_requester
    };
    let missing = rule.approvers.iter().enumerate().filter(|(place, _)| is_missing(place));
    Err(QuorumRefusal::TooFew {
        counted,
        needed,
        missing: missing.map(|(_, name)| name.clone()).collect(),
        discounted: weighed.iter().enumerate().filter_map(|(place, weight)| Some((place, weight.err()?))).collect(),
    })
}

/// Whether the request is good for anything at this instant.
pub fn check_time(request: &SigningRequest, rule: &QuorumRule, now: Timestamp) -> Result<(), QuorumRefusal> {
    let (created, end) = (request.created, request.not_after);
    // An end beyond the calendar is no leave for any end.
    let latest = created.checked_add(rule.valid_for).map_err(|_| QuorumRefusal::WrongEnd(end))?;
    if end <= created || end > latest {
        return Err(QuorumRefusal::WrongEnd(end));
    }
    if now < created {
        return Err(QuorumRefusal::BeforeCreation(created));
    }
    if now > end { Err(QuorumRefusal::Expired(end)) } else { Ok(()) }
}

/// Of each approval which approver's it counts as, or why it does not count, in their order.
pub fn weigh(
    request: &SigningRequest,
    rule: &QuorumRule,
    requester: &Person,
    approvals: &[Approval],
    now: Timestamp,
) -> Vec<Result<usize, Discounted>> {
    let mut counting: Vec<&Person> = Vec::new();
    let weight = |approval| {
        let place = weight_alone(request, rule, requester, approval, now)?;
        // With everybody who counts different from everybody else in person and key, no two of them can be one.
        if counting.iter().any(|person| person.is_same(&approval.by)) {
            return Err(Discounted::Repeated);
        }
        counting.push(&approval.by);
        Ok(place)
    };
    approvals.iter().map(weight).collect()
}

fn weight_alone(
    request: &SigningRequest,
    rule: &QuorumRule,
    requester: &Person,
    approval: &Approval,
    now: Timestamp,
) -> Result<usize, Discounted> {
    if !is_what(request, &approval.approved) {
        return Err(Discounted::OtherRequest);
    }
    let place = approval.by.approver.filter(|place| *place < rule.approvers.len()).ok_or(Discounted::NoApprover)?;
    if !(request.created..=request.not_after.min(now)).contains(&approval.signed_at) {
        return Err(Discounted::OutOfTime);
    }
    if !rule.requester_counts && approval.by.is_same(requester) {
        return Err(Discounted::Requester);
    }
    Ok(place)
}

/// Whether this is what was approved, byte by byte.
fn is_what(request: &SigningRequest, approved: &Descriptor) -> bool {
    let bytes = request.canonical_bytes();
    approved.media_type == APPROVAL_MEDIA_TYPE && approved.size == bytes.len() as u64 && approved.digest.matches(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Format;
    use crate::sign::approval::REQUEST_MEDIA_TYPE;
    use std::collections::BTreeMap;

    const APPROVERS: [&str; 4] = ["ann", "bob", "carl", "rita"];

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 60 * minute).unwrap()
    }

    fn request() -> SigningRequest {
        SigningRequest {
            artifact: Descriptor::of("application/vnd.oci.image.manifest.v1+json", b"{}"),
            reference: Some("registry.example/team/app:v1".into()),
            format: Format::Jws,
            user_metadata: BTreeMap::new(),
            expiry_seconds: None,
            key: "release".into(),
            certificate: "ab".repeat(32),
            nonce: "0".repeat(32),
            created: at(0),
            not_after: at(60),
        }
    }

    fn rule() -> QuorumRule {
        QuorumRule {
            quorum: NonZeroUsize::new(2).unwrap(),
            approvers: APPROVERS.map(str::to_owned).to_vec(),
            valid_for: SignedDuration::from_hours(1),
            requester_counts: false,
        }
    }

    fn person(name: &str) -> Person {
        let approver = APPROVERS.iter().position(|approver| *approver == name);
        Person { subject: format!("CN={name}"), key: name.as_bytes().to_vec(), approver }
    }

    fn approval(name: &str) -> Approval {
        let approved = Descriptor::of(APPROVAL_MEDIA_TYPE, &request().canonical_bytes());
        Approval { approved, by: person(name), signed_at: at(10) }
    }

    fn decided(
        request: &SigningRequest,
        rule: &QuorumRule,
        approvals: &[Approval],
        now: Timestamp,
    ) -> Result<(), QuorumRefusal> {
        decide(request, rule, &person("rita"), approvals, now).map(|approved| assert_eq!(approved.request(), request))
    }

    /// What ann and the second approver give, at the twentieth minute.
    fn with(second: Approval) -> Result<(), QuorumRefusal> {
        decided(&request(), &rule(), &[approval("ann"), second], at(20))
    }

    /// Only ann counts, and the second approval is short of this.
    fn one_short(discounted: &[Discounted]) -> Result<(), QuorumRefusal> {
        let discounted = discounted.iter().map(|reason| (1, *reason)).collect();
        let missing = vec!["bob".into(), "carl".into()];
        Err(QuorumRefusal::TooFew { counted: 1, needed: 2, missing, discounted })
    }

    #[test]
    fn a_quorum_admits_and_one_less_does_not() {
        assert_eq!(with(approval("bob")), Ok(()));
        assert_eq!(decided(&request(), &rule(), &[approval("ann")], at(20)), one_short(&[]));
    }

    #[test]
    fn one_person_and_one_key_count_once() {
        let by = |by: Person| Approval { by, ..approval("ann") };
        let other_key = by(Person { key: b"new".to_vec(), ..person("ann") });
        let other_name = by(Person { subject: "CN=ann,OU=b".into(), key: b"new".to_vec(), ..person("ann") });
        let shared_key = by(Person { key: b"ann".to_vec(), ..person("bob") });
        for twice in [approval("ann"), other_key, other_name, shared_key] {
            assert_eq!(with(twice.clone()), one_short(&[Discounted::Repeated]), "{twice:?}");
        }
    }

    #[test]
    fn shared_keys_do_not_make_more_people_of_few() {
        // Three subjects and three keys, and only two of them are two persons with two keys.
        let by = |name: &str, key: &str| {
            let by = Person { key: key.as_bytes().to_vec(), ..person(name) };
            Approval { by, ..approval(name) }
        };
        let three = QuorumRule { quorum: NonZeroUsize::new(3).unwrap(), ..rule() };
        let approvals = [by("ann", "2"), by("ann", "1"), by("ann", "3"), by("bob", "1"), by("carl", "1")];
        let refused = decided(&request(), &three, &approvals, at(20)).unwrap_err();
        assert!(matches!(refused, QuorumRefusal::TooFew { counted: 2, needed: 3, .. }), "{refused:?}");
        let approvals = [by("ann", "2"), by("bob", "1"), by("carl", "3")];
        assert_eq!(decided(&request(), &three, &approvals, at(20)), Ok(()));
    }

    #[test]
    fn what_an_approval_lacks_is_told_and_it_does_not_count() {
        let altered = SigningRequest { expiry_seconds: Some(60), ..request() };
        let canonical = request().canonical_bytes();
        let over =
            |media_type, bytes: &[u8]| Approval { approved: Descriptor::of(media_type, bytes), ..approval("bob") };
        let stranger = Approval { by: Person { approver: None, ..person("bob") }, ..approval("bob") };
        let nobody = Approval { by: Person { approver: Some(9), ..person("bob") }, ..approval("bob") };
        let with_her_key = Approval { by: Person { key: b"rita".to_vec(), ..person("bob") }, ..approval("bob") };
        let cases = [
            (over(APPROVAL_MEDIA_TYPE, &altered.canonical_bytes()), Discounted::OtherRequest),
            (over(REQUEST_MEDIA_TYPE, &canonical), Discounted::OtherRequest),
            (over("application/octet-stream", &canonical), Discounted::OtherRequest),
            (stranger, Discounted::NoApprover),
            (nobody, Discounted::NoApprover),
            (Approval { signed_at: at(-1), ..approval("bob") }, Discounted::OutOfTime),
            (Approval { signed_at: at(21), ..approval("bob") }, Discounted::OutOfTime),
            (approval("rita"), Discounted::Requester),
            (with_her_key, Discounted::Requester),
        ];
        for (second, reason) in cases {
            assert_eq!(with(second.clone()), one_short(&[reason]), "{second:?}");
        }
        for signed_at in [at(0), at(20)] {
            assert_eq!(with(Approval { signed_at, ..approval("bob") }), Ok(()));
        }
        let rule = QuorumRule { requester_counts: true, ..rule() };
        assert_eq!(decided(&request(), &rule, &[approval("ann"), approval("rita")], at(20)), Ok(()));
    }

    #[test]
    fn no_approval_counts_for_an_altered_request() {
        let approvals = [approval("ann"), approval("bob")];
        let altered = [
            SigningRequest { key: "root".into(), ..request() },
            SigningRequest { certificate: "cd".repeat(32), ..request() },
            SigningRequest { nonce: "1".repeat(32), ..request() },
            SigningRequest { format: Format::Cose, ..request() },
            SigningRequest { reference: None, ..request() },
            SigningRequest { not_after: at(59), ..request() },
            SigningRequest { artifact: Descriptor::of("text/plain", b"{}"), ..request() },
            SigningRequest { user_metadata: BTreeMap::from([("a".into(), "b".into())]), ..request() },
        ];
        for altered in altered {
            let refused = decided(&altered, &rule(), &approvals, at(20)).unwrap_err();
            let QuorumRefusal::TooFew { counted: 0, discounted, .. } = refused else { panic!("{refused:?}") };
            assert_eq!(discounted, [(0, Discounted::OtherRequest), (1, Discounted::OtherRequest)]);
        }
    }

    #[test]
    fn a_request_is_good_from_its_creation_to_its_end() {
        let decide_at = |now| decided(&request(), &rule(), &[approval("ann"), approval("bob")], now);
        assert_eq!(decide_at(at(-1)), Err(QuorumRefusal::BeforeCreation(at(0))));
        assert_eq!(decide_at(at(60)), Ok(()));
        assert_eq!(decide_at(at(61)), Err(QuorumRefusal::Expired(at(60))));
    }

    #[test]
    fn a_request_cannot_give_itself_more_time_than_the_policy_does() {
        for end in [at(61), at(0), at(-1)] {
            let request = SigningRequest { not_after: end, ..request() };
            let approved = Descriptor::of(APPROVAL_MEDIA_TYPE, &request.canonical_bytes());
            let approvals = ["ann", "bob"].map(|name| Approval { approved: approved.clone(), ..approval(name) });
            assert_eq!(decided(&request, &rule(), &approvals, at(20)), Err(QuorumRefusal::WrongEnd(end)));
        }
    }
}
