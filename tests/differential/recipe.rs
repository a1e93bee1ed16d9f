//! What an envelope is made of before it is signed, so that a change can be made anywhere and the signature still holds.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ciborium::Value;
use pratique::envelope::Format;
use pratique::oci::Descriptor;
use pratique::pki::{Certificate, KeySpec, PrivateKey};
use serde_json::json;

pub const SCHEME: &str = "io.cncf.notary.signingScheme";
pub const SIGNING_TIME: &str = "io.cncf.notary.signingTime";
pub const AUTHENTIC_TIME: &str = "io.cncf.notary.authenticSigningTime";
pub const EXPIRY: &str = "io.cncf.notary.expiry";
pub const PAYLOAD_TYPE: &str = "application/vnd.cncf.notary.payload.v1+json";

/// A value of a header, whatever the format.
#[derive(Clone, Debug)]
pub enum Field {
    Text(String),
    /// The name of a header: a number in COSE where it has one.
    Name(String),
    Number(i64),
    /// Seconds since 1970.
    Time(i64),
    List(Vec<Field>),
    Null,
}

/// A chain with its leaf's key.
pub struct Signer {
    pub name: &'static str,
    pub key: PrivateKey,
    pub chain: Vec<Vec<u8>>,
}

/// A signature to be: each part can be changed alone.
#[derive(Clone)]
pub struct Recipe {
    pub format: Format,
    pub protected: Vec<(String, Field)>,
    pub payload: String,
    pub chain: Vec<Vec<u8>>,
    pub policy: serde_json::Value,
    nowhere: serde_json::Value,
    /// Changes to the envelope when it is signed.
    pub after: Vec<fn(&mut Vec<u8>)>,
    /// Further members beside the payload (JWS) or in the unprotected header (COSE), as text.
    pub beside: Vec<(&'static str, &'static str)>,
}

impl Recipe {
    /// A good one.
    pub fn new(format: Format, signer: &Signer, artifact: &Descriptor, now: i64) -> Self {
        let artifact =
            json!({"mediaType": artifact.media_type, "digest": artifact.digest.to_string(), "size": artifact.size});
        Self {
            format,
            protected: vec![
                ("alg".into(), Field::Text(header_name(&signer.key).into())),
                ("cty".into(), Field::Text(PAYLOAD_TYPE.into())),
                ("crit".into(), Field::List(vec![Field::Name(SCHEME.into())])),
                (SCHEME.into(), Field::Text("notary.x509".into())),
                (SIGNING_TIME.into(), Field::Time(now - 60)),
            ],
            payload: json!({"targetArtifact": artifact}).to_string(),
            chain: signer.chain.clone(),
            policy: policy(),
            nowhere: json!({}),
            after: Vec::new(),
            beside: Vec::new(),
        }
    }

    pub fn set(&mut self, name: &str, field: Field) {
        self.protected.retain(|(known, _)| known != name);
        self.protected.push((name.into(), field));
    }

    pub fn critical(&mut self, name: &str) {
        if let Some((_, Field::List(names))) = self.protected.iter_mut().find(|(known, _)| known == "crit") {
            names.push(Field::Name(name.into()));
        }
    }

    /// The policy's first statement. Once another change has taken it away, what is written here goes nowhere.
    pub fn statement(&mut self) -> &mut serde_json::Value {
        let first = self.policy["trustPolicies"].as_array_mut().and_then(|statements| statements.first_mut());
        first.unwrap_or(&mut self.nowhere)
    }

    /// The envelope, signed.
    pub fn envelope(&self, key: &PrivateKey) -> Vec<u8> {
        let mut envelope = match self.format {
            Format::Jws => self.jws(key),
            Format::Cose => self.cose(key),
        };
        self.after.iter().for_each(|change| change(&mut envelope));
        envelope
    }

    fn jws(&self, key: &PrivateKey) -> Vec<u8> {
        let members: Vec<String> =
            self.protected.iter().map(|(name, field)| format!("{}:{}", json!(name), as_json(field))).collect();
        let protected = BASE64_URL_SAFE_NO_PAD.encode(format!("{{{}}}", members.join(",")));
        let payload = BASE64_URL_SAFE_NO_PAD.encode(&self.payload);
        let signature = key.sign(format!("{protected}.{payload}").as_bytes()).unwrap();
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
        let chain: Vec<String> = self.chain.iter().map(|der| BASE64_STANDARD.encode(der)).collect();
        let beside =
            self.beside.iter().fold(String::new(), |text, (name, value)| text + &format!(",{}:{value}", json!(name)));
        format!(
            r#"{{"payload":"{payload}","protected":"{protected}","header":{{"x5c":{}}},"signature":"{signature}"{beside}}}"#,
            json!(chain)
        )
        .into_bytes()
    }

    fn cose(&self, key: &PrivateKey) -> Vec<u8> {
        let protected = self.protected.iter().map(|(name, field)| (label(name), as_cbor(name, field))).collect();
        let protected = Value::Bytes(encoded(&Value::Map(protected)));
        let payload = Value::Bytes(self.payload.clone().into_bytes());
        let signed = Value::Array(vec![
            Value::Text("Signature1".into()),
            protected.clone(),
            Value::Bytes(vec![]),
            payload.clone(),
        ]);
        let signature = Value::Bytes(key.sign(&encoded(&signed)).unwrap());
        let mut unprotected =
            vec![(Value::from(33), Value::Array(self.chain.iter().cloned().map(Value::Bytes).collect()))];
        unprotected.extend(self.beside.iter().map(|(name, value)| (label(name), Value::Text((*value).into()))));
        let sign1 = Value::Array(vec![protected, Value::Map(unprotected), payload, signature]);
        encoded(&Value::Tag(18, Box::new(sign1)))
    }
}

/// One strict statement for everything.
fn policy() -> serde_json::Value {
    json!({
        "version": "1.0",
        "trustPolicies": [{
            "name": "all",
            "registryScopes": ["*"],
            "signatureVerification": {"level": "strict"},
            "trustStores": ["ca:all"],
            "trustedIdentities": ["*"],
        }],
    })
}

fn as_json(field: &Field) -> String {
    match field {
        Field::Text(text) | Field::Name(text) => json!(text).to_string(),
        Field::Number(number) => number.to_string(),
        Field::Time(seconds) => json!(jiff::Timestamp::from_second(*seconds).unwrap().to_string()).to_string(),
        Field::List(fields) => format!("[{}]", fields.iter().map(as_json).collect::<Vec<_>>().join(",")),
        Field::Null => "null".into(),
    }
}

fn as_cbor(name: &str, field: &Field) -> Value {
    match field {
        Field::Text(text) if name == "alg" => algorithm(text).map_or_else(|| text.as_str().into(), Value::from),
        Field::Text(text) => text.as_str().into(),
        Field::Name(name) => label(name),
        Field::Number(number) => (*number).into(),
        Field::Time(seconds) => Value::Tag(1, Box::new((*seconds).into())),
        Field::List(fields) => Value::Array(fields.iter().map(|field| as_cbor("", field)).collect()),
        Field::Null => Value::Null,
    }
}

/// The name of a key's algorithm in a header.
fn header_name(key: &PrivateKey) -> &'static str {
    match key.spec() {
        KeySpec::Rsa2048 => "PS256",
        KeySpec::Rsa3072 => "PS384",
        KeySpec::Rsa4096 => "PS512",
        KeySpec::EcP256 => "ES256",
        KeySpec::EcP384 => "ES384",
        KeySpec::EcP521 => "ES512",
    }
}

fn algorithm(name: &str) -> Option<i64> {
    let known = [("PS256", -37), ("PS384", -38), ("PS512", -39), ("ES256", -7), ("ES384", -35), ("ES512", -36)];
    known.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

fn label(name: &str) -> Value {
    match name {
        "alg" => 1.into(),
        "crit" => 2.into(),
        "cty" => 3.into(),
        other => other.into(),
    }
}

fn encoded(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

impl Signer {
    /// One of the vectors' chains; none where its key is one that signs nothing here.
    pub fn of(name: &'static str) -> Option<Self> {
        let folder = super::vectors().join("chains").join(name);
        let key = PrivateKey::from_pem(&std::fs::read(folder.join("leaf.key")).ok()?).ok()?;
        let chain = Certificate::read_all(&std::fs::read(folder.join("chain.pem")).unwrap()).unwrap();
        Some(Self { name, key, chain: chain.iter().map(|certificate| certificate.der().to_vec()).collect() })
    }
}
