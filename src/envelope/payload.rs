//! The document that is signed: a descriptor of the target artifact (Notary signature specification, "Payload").

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use super::members::unique_pairs;
use crate::oci::{Descriptor, Digest, InvalidJson, parse_json};

/// The payload of a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// What is signed. Its annotations are the user metadata.
    pub target_artifact: Descriptor,
}

impl Payload {
    /// The payload in these bytes. Members that stand twice are refused, unknown ones ignored; what the
    /// image specification gives a form to must have it, though nothing here depends on it.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidJson> {
        let wire: WirePayload = parse_json(bytes)?;
        parse_json::<PayloadForm>(bytes)?;
        let target = wire.target_artifact;
        Ok(Self {
            target_artifact: Descriptor {
                annotations: target.annotations,
                ..Descriptor::new(target.media_type, target.digest, target.size)
            },
        })
    }

    /// The bytes that are signed: only the members that the reference implementation writes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let target = &self.target_artifact;
        let wire = WirePayload {
            target_artifact: WireDescriptor {
                media_type: target.media_type.clone(),
                digest: target.digest.clone(),
                size: target.size,
                annotations: target.annotations.clone(),
            },
        };
        // A struct of strings and numbers always has a JSON form.
        serde_json::to_vec(&wire).unwrap_or_default()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePayload {
    target_artifact: WireDescriptor,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDescriptor {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_pairs")]
    annotations: BTreeMap<String, String>,
}

/// The members of a descriptor that are of no use here (OCI image specification, "Descriptors": `urls`, `data`,
/// `platform`, `artifactType`). One that is malformed makes it no descriptor, and the reference implementation refuses it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "read for their form alone")]
struct PayloadForm {
    target_artifact: DescriptorForm,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "read for their form alone")]
struct DescriptorForm {
    urls: Option<Vec<String>>,
    data: Option<Base64>,
    platform: Option<PlatformForm>,
    artifact_type: Option<String>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "read for their form alone")]
struct PlatformForm {
    architecture: Option<String>,
    os: Option<String>,
    #[serde(rename = "os.version")]
    os_version: Option<String>,
    #[serde(rename = "os.features")]
    os_features: Option<Vec<String>>,
    variant: Option<String>,
}

/// Bytes in standard base64.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Base64;

impl TryFrom<String> for Base64 {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        BASE64_STANDARD.decode(text).map(|_| Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    #[test]
    fn a_payload_survives_the_round_trip() {
        let text = format!(
            r#"{{"targetArtifact":{{"mediaType":"a/b","digest":"{D}","size":2,"annotations":{{"build":"7"}}}}}}"#
        );
        let payload = Payload::parse(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(payload.to_bytes()).unwrap(), text);
    }

    #[test]
    fn sizes_are_integers_annotations_are_text_and_nothing_stands_twice() {
        for bad in [
            format!(r#"{{"targetArtifact":{{"mediaType":"a/b","digest":"{D}","size":2.0}}}}"#),
            format!(r#"{{"targetArtifact":{{"mediaType":"a/b","digest":"{D}","size":"2"}}}}"#),
            format!(r#"{{"targetArtifact":{{"mediaType":"a/b","digest":"{D}","size":-2}}}}"#),
            format!(r#"{{"targetArtifact":{{"mediaType":"a/b","digest":"{D}","size":2,"annotations":{{"a":1}}}}}}"#),
            format!(
                r#"{{"targetArtifact":{{"mediaType":"a/b","digest":"{D}","size":2,"annotations":{{"a":"1","a":"2"}}}}}}"#
            ),
            format!(r#"{{"targetArtifact":{{"mediaType":"a/b","digest":"{D}","digest":"{D}","size":2}}}}"#),
            r#"{"targetArtifact":{"mediaType":"a/b","digest":"md5:00","size":2}}"#.to_owned(),
            "{}".to_owned(),
        ] {
            assert!(matches!(Payload::parse(bad.as_bytes()), Err(InvalidJson::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn members_that_are_of_no_use_must_have_their_form() {
        let payload = |member: &str| {
            let text = format!(r#"{{"targetArtifact":{{"mediaType":"a/b","digest":"{D}","size":2,{member}}}}}"#);
            Payload::parse(text.as_bytes())
        };
        for (good, bad) in [
            (r#""urls":["https://example.com/x"]"#, r#""urls":[1]"#),
            (r#""data":"e30=""#, r#""data":"!""#),
            (r#""platform":{"os":"linux","os.features":["x"]}"#, r#""platform":{"os":1}"#),
            (r#""artifactType":"a/b""#, r#""artifactType":1"#),
            (r#""urls":null"#, r#""urls":"https://example.com/x""#),
        ] {
            assert!(payload(good).is_ok(), "{good}");
            assert!(matches!(payload(bad), Err(InvalidJson::Malformed(_))), "{bad}");
        }
    }
}
