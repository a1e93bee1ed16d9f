//! Signatures that more than one person must agree to.
//!
//! Somebody writes a [`SigningRequest`] and signs it. Approvers sign the same bytes under a media type of their own. Whether
//! enough of them did, in time, [`decide`] alone says, and what it returns is the only leave to sign. Each step is an entry
//! of a [`Record`], whose entries hang together by their hashes.
//!
//! Nothing here verifies an envelope: whoever asks says what each approval is over, and which of the usage policy's
//! approvers has made it. What is left to decide is whose approvals count.

mod quorum;
mod record;
mod request;

pub use quorum::{Approval, Approved, Discounted, Person, QuorumRefusal, QuorumRule, check_time, decide, weigh};
pub use record::{BrokenRecord, Entry, GivenApproval, MAX_ENTRY, Record, RefusedKey, Step};
pub use request::{
    APPROVAL_MEDIA_TYPE, InvalidRequest, MAX_APPROVALS, MAX_REQUEST_FILE, REQUEST_MEDIA_TYPE, RequestFile,
    SigningRequest,
};
