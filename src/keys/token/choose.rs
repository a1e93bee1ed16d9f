//! Which of several keys of one label signs: how keys are rotated.
//!
//! The new key is put on the token under the old one's label, with its certificate. From when the new certificate is valid,
//! it signs; until then the old one does. Where that leaves two, nobody guesses.

use jiff::Timestamp;

use super::TokenError;
use crate::pki::Certificate;

/// The place of the certificate that signs: among those valid now the one whose validity begins last, and where none is
/// valid, the last one of all, which the signer then refuses with its own reason.
pub(super) fn newest(leaves: &[&Certificate], now: Timestamp) -> Result<usize, TokenError> {
    let is_valid = |leaf: &Certificate| leaf.not_before() <= now && now <= leaf.not_after();
    let any_valid = leaves.iter().any(|leaf| is_valid(leaf));
    let considered = || leaves.iter().enumerate().filter(move |(_, leaf)| !any_valid || is_valid(leaf));
    let begins = considered().map(|(_, leaf)| leaf.not_before()).max();
    let mut last = considered().filter(|(_, leaf)| Some(leaf.not_before()) == begins);
    match (last.next(), last.next()) {
        (Some((place, _)), None) => Ok(place),
        (None, _) => Err(TokenError::NoCertificate),
        (Some(_), Some(_)) => {
            Err(TokenError::Keys { count: leaves.len(), fault: "two of their certificates begin at the same time" })
        }
    }
}

/// The chain of a leaf, as far as these certificates reach: each next one has signed the one before.
pub(super) fn chain(leaf: &Certificate, others: &[Certificate], limit: usize) -> Vec<Certificate> {
    let mut chain = vec![leaf.clone()];
    let mut last = leaf;
    while !last.is_self_issued() && chain.len() < limit {
        let signs =
            |issuer: &&Certificate| issuer.subject_der() == last.issuer_der() && last.verify_signed_by(issuer).is_ok();
        let Some(issuer) = others.iter().find(signs) else { break };
        chain.push(issuer.clone());
        last = issuer;
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedy::Remedy as _;

    fn read(path: &str) -> Vec<Certificate> {
        let path = format!("{}/tests/vectors/chains/{path}/chain.pem", env!("CARGO_MANIFEST_DIR"));
        Certificate::read_all(&std::fs::read(&path).expect(&path)).unwrap()
    }

    #[test]
    fn of_those_valid_now_the_newest_signs() {
        let (valid, expired) = (read("p256").remove(0), read("expired-leaf").remove(0));
        let now = valid.not_before();
        assert_eq!(newest(&[&valid, &expired], now), Ok(0));
        assert_eq!(newest(&[&expired, &valid], now), Ok(1));
        // Before the newer one begins, the older one signs.
        assert_eq!(newest(&[&expired, &valid], expired.not_before()), Ok(0));
        // After both, the newer one is refused with its own reason.
        let after = valid.not_after().checked_add(jiff::SignedDuration::from_secs(1)).unwrap();
        assert_eq!(newest(&[&expired, &valid], after), Ok(1));
    }

    #[test]
    fn nobody_guesses_between_two() {
        let leaf = read("p256").remove(0);
        let error = newest(&[&leaf, &leaf], leaf.not_before()).unwrap_err();
        assert_eq!(error.code().as_str(), "token-key-ambiguous");
        assert_eq!(newest(&[], leaf.not_before()), Err(TokenError::NoCertificate));
    }

    #[test]
    fn a_chain_is_put_in_order_as_far_as_it_goes() {
        let whole = read("p256");
        let mut others: Vec<_> = read("rsa2048").into_iter().chain(whole.iter().skip(1).rev().cloned()).collect();
        assert_eq!(chain(&whole[0], &others, 16), whole);
        assert_eq!(chain(&whole[0], &others, 2), whole[..2]);
        others.pop();
        assert!(chain(&whole[0], &others, 16).len() < whole.len());
    }
}
