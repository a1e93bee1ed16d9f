//! Media types that pratique tells apart. Compared as exact strings: a parameter makes it another type.

/// OCI image manifest.
pub const IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const IMAGE_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker's image manifest, version 2 schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's manifest list.
pub const DOCKER_MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The retired OCI artifact manifest, which some signatures are still stored as.
pub const ARTIFACT_MANIFEST: &str = "application/vnd.oci.artifact.manifest.v1+json";
/// The empty JSON object as a config (image specification 1.1, "Guidance for an Empty Descriptor").
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// The artifact type of a Notary signature manifest.
pub const NOTARY_SIGNATURE: &str = "application/vnd.cncf.notary.signature";
/// A JWS signature envelope.
pub const JWS_ENVELOPE: &str = "application/jose+json";
/// A COSE signature envelope.
pub const COSE_ENVELOPE: &str = "application/cose";
/// The payload of a Notary signature, version 1.
pub const NOTARY_PAYLOAD: &str = "application/vnd.cncf.notary.payload.v1+json";
/// Bytes of which nothing is known: what a blob is signed as unless its signer says otherwise.
pub const OCTET_STREAM: &str = "application/octet-stream";

/// Whether this is a manifest or a list of them: what a registry stores as a manifest, and not as a blob.
pub fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, IMAGE_MANIFEST | DOCKER_MANIFEST | ARTIFACT_MANIFEST) || is_index(media_type)
}

/// Whether a media type is written as one: a type or type and subtype of the characters that RFC 9110, section 5.6.2, lets
/// stand in a token, and, behind a semicolon, whatever parameters on one line. The reference implementation takes a type
/// without a subtype, too.
pub fn is_well_formed(media_type: &str) -> bool {
    let (name, parameters) = media_type.split_once(';').unwrap_or((media_type, ""));
    let is_token = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    let parts: Vec<&str> = name.trim_end_matches(' ').split('/').collect();
    parts.len() <= 2 && parts.into_iter().all(is_token) && parameters.bytes().all(|b| matches!(b, b' '..=b'~'))
}

/// Whether this is one of the two kinds of list of manifests.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, IMAGE_INDEX | DOCKER_MANIFEST_LIST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_made_of_tokens() {
        for good in ["text/plain", "image", "application/vnd.cncf.x.v1+json", "text/plain; charset=utf-8"] {
            assert!(is_well_formed(good), "{good}");
        }
        for bad in ["", "/", "text/", "/plain", "a/b/c", "text /plain", "te\nxt", "text/plain;\n", "täxt", ";a=b"] {
            assert!(!is_well_formed(bad), "{bad:?}");
        }
    }
}
