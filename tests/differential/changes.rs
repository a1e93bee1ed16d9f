//! The changes: each does one thing to a recipe, under a name by which a case is known.

use serde_json::{Value, json};

use super::recipe::{AUTHENTIC_TIME, EXPIRY, Field, Recipe, SCHEME, SIGNING_TIME};

pub struct Change {
    pub name: String,
    /// What it changes. As many cases change a part as any other.
    pub part: Part,
    pub make: Box<dyn Fn(&mut Recipe) + Sync + Send>,
}

/// The parts of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Headers,
    Chain,
    Payload,
    Policy,
    Identities,
    Outside,
}

impl Part {
    pub const ALL: [Self; 6] =
        [Self::Headers, Self::Chain, Self::Payload, Self::Policy, Self::Identities, Self::Outside];
}

/// All of them. `now` is what times are relative to; `other` is a certificate of another chain.
pub fn all(now: i64, other: &[u8]) -> Vec<Change> {
    let mut changes = Changes { part: Part::Headers, all: Vec::new() };
    for part in Part::ALL {
        changes.part = part;
        match part {
            Part::Headers => changes.headers(now),
            Part::Chain => changes.chain(other),
            Part::Payload => changes.payload(),
            Part::Policy => changes.policy(),
            Part::Identities => changes.identities(),
            Part::Outside => changes.outside(),
        }
    }
    changes.all
}

struct Changes {
    /// Of what is added now.
    part: Part,
    all: Vec<Change>,
}

impl Changes {
    fn add(&mut self, name: impl Into<String>, make: impl Fn(&mut Recipe) + Sync + Send + 'static) {
        self.all.push(Change { name: name.into(), part: self.part, make: Box::new(make) });
    }

    fn headers(&mut self, now: i64) {
        for name in ["alg", "cty", "crit", SCHEME, SIGNING_TIME] {
            let short = name.trim_start_matches("io.cncf.notary.");
            self.add(format!("{short} removed"), move |recipe| recipe.protected.retain(|(known, _)| known != name));
            self.add(format!("{short} twice"), move |recipe| {
                let again: Vec<_> = recipe.protected.iter().filter(|(known, _)| known == name).cloned().collect();
                recipe.protected.extend(again);
            });
            self.add(format!("{short} in capitals"), move |recipe| {
                let known = recipe.protected.iter_mut().filter(|(known, _)| known == name);
                known.for_each(|(name, _)| *name = name.to_uppercase());
            });
            for (kind, field) in [
                ("null", Field::Null),
                ("a number", Field::Number(7)),
                ("an empty text", Field::Text(String::new())),
                ("a text", Field::Text("x".into())),
                ("an empty list", Field::List(vec![])),
                ("a list of a number", Field::List(vec![Field::Number(1)])),
            ] {
                self.add(format!("{short} is {kind}"), move |recipe| recipe.set(name, field.clone()));
            }
        }
        for alg in ["none", "HS256", "RS256", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "es256", "EdDSA"] {
            self.add(format!("alg {alg}"), move |recipe| recipe.set("alg", Field::Text(alg.into())));
        }
        for scheme in ["notary.x509.signingAuthority", "notary.X509", "notary.x509 "] {
            self.add(format!("scheme {scheme:?}"), move |recipe| recipe.set(SCHEME, Field::Text(scheme.into())));
        }
        for cty in ["application/vnd.cncf.notary.payload.v1+json ", "vnd.cncf.notary.payload.v1+json", "text/plain"] {
            self.add(format!("cty {cty:?}"), move |recipe| recipe.set("cty", Field::Text(cty.into())));
        }
        for (when, time) in [("in 1970", 0), ("long ago", -3_000_000_000), ("in the future", now + 90_000_000)] {
            self.add(format!("signingTime {when}"), move |recipe| recipe.set(SIGNING_TIME, Field::Time(time)));
        }
        for name in ["alg", "cty", "crit", SCHEME, SIGNING_TIME, EXPIRY, AUTHENTIC_TIME, "com.example.absent", ""] {
            self.add(format!("crit with {name:?}"), move |recipe| recipe.critical(name));
        }
        self.add("a further attribute", |recipe| recipe.set("com.example.x", Field::Text("y".into())));
        self.add("a further critical attribute", |recipe| {
            recipe.set("com.example.x", Field::Text("y".into()));
            recipe.critical("com.example.x");
        });
        self.add("a plugin demanded", |recipe| {
            recipe.set("io.cncf.notary.verificationPlugin", Field::Text("absent".into()));
            recipe.critical("io.cncf.notary.verificationPlugin");
        });
        self.add("a plugin demanded, not critical", |recipe| {
            recipe.set("io.cncf.notary.verificationPlugin", Field::Text("absent".into()));
        });
        for (when, time) in
            [("in a day", now + 86_400), ("now past", now - 30), ("as signed", now - 60), ("before", now - 99)]
        {
            self.add(format!("expiry {when}"), move |recipe| {
                recipe.set(EXPIRY, Field::Time(time));
                recipe.critical(EXPIRY);
            });
            self.add(format!("expiry {when}, not critical"), move |recipe| recipe.set(EXPIRY, Field::Time(time)));
        }
        for (when, time) in [("now", now), ("in 1970", 0), ("in 2050", 2_524_608_000)] {
            self.add(format!("authentic time {when}"), move |recipe| {
                recipe.set(AUTHENTIC_TIME, Field::Time(time));
                recipe.critical(AUTHENTIC_TIME);
            });
            self.add(format!("by an authority {when}"), move |recipe| {
                recipe.protected.retain(|(name, _)| name != SIGNING_TIME);
                recipe.set(SCHEME, Field::Text("notary.x509.signingAuthority".into()));
                recipe.set(AUTHENTIC_TIME, Field::Time(time));
                recipe.critical(AUTHENTIC_TIME);
                recipe.statement()["trustStores"] = json!(["signingAuthority:all"]);
            });
        }
        self.add("headers in reverse", |recipe| recipe.protected.reverse());
    }

    fn chain(&mut self, other: &[u8]) {
        self.add("chain in reverse", |recipe| recipe.chain.reverse());
        self.add("chain without leaf", |recipe| drop((!recipe.chain.is_empty()).then(|| recipe.chain.remove(0))));
        self.add("chain without root", |recipe| drop(recipe.chain.pop()));
        self.add("chain without the second", |recipe| drop((recipe.chain.len() > 1).then(|| recipe.chain.remove(1))));
        self.add("chain of the leaf", |recipe| recipe.chain.truncate(1));
        self.add("chain empty", |recipe| recipe.chain.clear());
        self.add("leaf twice", |recipe| recipe.chain.extend_from_within(..recipe.chain.len().min(1)));
        self.add("root twice", |recipe| recipe.chain.extend(recipe.chain.last().cloned()));
        let foreign = other.to_vec();
        self.add("a foreign root after", move |recipe| recipe.chain.push(foreign.clone()));
        let foreign = other.to_vec();
        self.add("a foreign root instead", move |recipe| {
            recipe.chain.pop();
            recipe.chain.push(foreign.clone());
        });
        self.add("an empty certificate after", |recipe| recipe.chain.push(vec![]));
        self.add("a byte after the leaf", |recipe| recipe.chain.iter_mut().take(1).for_each(|der| der.push(0)));
        self.add("a bit of the leaf", |recipe| {
            recipe.chain.iter_mut().take(1).filter_map(|der| der.last_mut()).for_each(|byte| *byte ^= 1);
        });
    }

    fn payload(&mut self) {
        for (name, from, to) in [
            ("another size", "\"size\":", "\"size\":1"),
            ("size a fraction", "\"size\":401", "\"size\":401.0"),
            ("size with an exponent", "\"size\":401", "\"size\":4.01e2"),
            ("size a text", "\"size\":401", "\"size\":\"401\""),
            ("size negative", "\"size\":401", "\"size\":-401"),
            ("size null", "\"size\":401", "\"size\":null"),
            ("size twice", "\"size\":401", "\"size\":401,\"size\":401"),
            ("size twice, the first another", "\"size\":401", "\"size\":7,\"size\":401"),
            ("digest in capitals", "\"sha256:8ff", "\"sha256:8FF"),
            ("digest of another algorithm", "\"sha256:", "\"sha512:"),
            ("digest of another content", "\"sha256:8ff8", "\"sha256:8ff9"),
            ("mediaType of another kind", "image.manifest", "image.index"),
            ("mediaType in capitals", "application/vnd", "Application/vnd"),
            ("mediaType removed", "\"mediaType\"", "\"other\""),
            ("size removed", "\"size\"", "\"other\""),
            ("digest removed", "\"digest\"", "\"other\""),
            ("targetArtifact removed", "targetArtifact", "target"),
            ("targetArtifact in capitals", "targetArtifact", "TargetArtifact"),
            ("size in capitals", "\"size\"", "\"Size\""),
            ("annotations", "\"size\"", "\"annotations\":{\"a\":\"b\"},\"size\""),
            ("annotations of a number", "\"size\"", "\"annotations\":{\"a\":1},\"size\""),
            ("annotations null", "\"size\"", "\"annotations\":null,\"size\""),
            ("a further member of the artifact", "\"size\"", "\"platform\":{\"os\":\"linux\"},\"size\""),
            ("urls", "\"size\"", "\"urls\":[\"http://example.com\"],\"size\""),
            ("urls of a number", "\"size\"", "\"urls\":[1],\"size\""),
            ("platform of a number", "\"size\"", "\"platform\":{\"os\":1},\"size\""),
            ("artifactType", "\"size\"", "\"artifactType\":\"a/b\",\"size\""),
            ("artifactType a number", "\"size\"", "\"artifactType\":1,\"size\""),
            ("data", "\"size\"", "\"data\":\"AAAA\",\"size\""),
            ("data no base64", "\"size\"", "\"data\":\"!\",\"size\""),
            ("a further member of the payload", "{\"targetArtifact\"", "{\"x\":{},\"targetArtifact\""),
            ("targetArtifact twice", "{\"targetArtifact\"", "{\"targetArtifact\":{},\"targetArtifact\""),
            ("payload in a list", "{\"targetArtifact\"", "[{\"targetArtifact\""),
            ("blank before the payload", "{\"targetArtifact\"", " {\"targetArtifact\""),
            ("a mark before the payload", "{\"targetArtifact\"", "\u{feff}{\"targetArtifact\""),
        ] {
            self.add(name, move |recipe| recipe.payload = recipe.payload.replacen(from, to, 1));
        }
        for (name, after) in
            [("blank", " "), ("a line", "\n"), ("a brace", "}"), ("a document", "{}"), ("a zero", "\0")]
        {
            self.add(format!("{name} after the payload"), move |recipe| recipe.payload.push_str(after));
        }
        for payload in ["", "{}", "null", "[]", "1", "{\"targetArtifact\":null}", "{\"targetArtifact\":[]}"] {
            self.add(format!("payload {payload:?}"), move |recipe| recipe.payload = payload.into());
        }
    }

    /// Writes each of these values into the statement.
    fn statement(&mut self, member: &'static str, values: Vec<Value>) {
        for value in values {
            self.add(format!("{member} {value}"), move |recipe| {
                recipe.statement()[member] = value.clone();
            });
        }
    }

    fn identities(&mut self) {
        self.statement(
            "trustedIdentities",
            vec![
                json!([]),
                json!(null),
                json!("*"),
                json!(["*", "*"]),
                json!(["*", "x509.subject:C=US,ST=WA,O=x"]),
                json!([""]),
            ],
        );
        self.statement("trustedIdentities", IDENTITIES.map(|identity| json!([identity])).to_vec());
        self.statement(
            "trustedIdentities",
            vec![
                json!(["x509.subject:C=US,ST=WA,O=Acme Rockets", "x509.subject:C=US,ST=WA,O=Acme Rockets"]),
                json!(["x509.subject:C=US,ST=WA,O=Acme Rockets", "x509.subject:C=US,ST=WA,O=Acme Rockets,CN=x"]),
                json!(["x509.subject:C=US,ST=WA,O=Acme Rockets", "x509.subject:C=DE,ST=BE,O=Acme Rockets"]),
                json!(["x509.subject:C=US,ST=WA,O=Acme Rockets", "other:value"]),
            ],
        );
    }

    fn policy(&mut self) {
        self.statement("name", vec![json!(""), json!(null), json!(1), json!(" ")]);
        self.statement(
            "registryScopes",
            vec![
                json!([]),
                json!(null),
                json!("*"),
                json!(["*", "*"]),
                json!(["*", super::REPOSITORY]),
                json!([super::REPOSITORY]),
                json!(["LOCALHOST:5000/net-monitor"]),
                json!(["localhost:5000/net"]),
                json!(["localhost:5000/net-monitor/"]),
                json!(["localhost:5000/net-monitor:v1"]),
                json!(["localhost:5000/*"]),
                json!(["localhost/net-monitor", super::REPOSITORY]),
            ],
        );
        self.statement(
            "trustStores",
            [
                "ca:all",
                "ca:other",
                "ca:absent",
                "ca:",
                "ca",
                "CA:all",
                "ca:../ca/all",
                "tsa:tsa",
                "signingAuthority:all",
                ":all",
                "ca:all:x",
            ]
            .map(|store| json!([store]))
            .to_vec(),
        );
        self.statement(
            "trustStores",
            vec![
                json!([]),
                json!(null),
                json!("ca:all"),
                json!(["ca:all", "ca:all"]),
                json!(["ca:other", "ca:all"]),
                json!(["ca:all", "ca:absent"]),
                json!(["signingAuthority:all", "ca:all"]),
                json!([1]),
            ],
        );
        self.statement(
            "signatureVerification",
            vec![
                json!(null),
                json!({}),
                json!({"level": ""}),
                json!({"level": "Strict"}),
                json!({"level": "permissive"}),
                json!({"level": "audit"}),
                json!({"level": "skip"}),
                json!({"level": "strict", "override": {}}),
                json!({"level": "strict", "override": {"revocation": "skip"}}),
                json!({"level": "strict", "override": {"expiry": "log"}}),
                json!({"level": "strict", "override": {"expiry": "skip"}}),
                json!({"level": "strict", "override": {"authenticity": "log"}}),
                json!({"level": "strict", "override": {"integrity": "log"}}),
                json!({"level": "strict", "override": {"Expiry": "log"}}),
                json!({"level": "strict", "override": {"expiry": "LOG"}}),
                json!({"level": "strict", "override": {"authenticTimestamp": "log"}}),
                json!({"level": "strict", "override": null}),
                json!({"level": "strict", "override": {"other": "log"}}),
                json!({"level": "strict", "verifyTimestamp": "always"}),
                json!({"level": "strict", "verifyTimestamp": "never"}),
                json!({"level": "strict", "verifyTimestamp": "afterCertExpiry"}),
                json!({"level": "strict", "verifyTimestamp": ""}),
                json!({"level": "strict", "other": 1}),
                json!({"level": "audit", "override": {"authenticity": "enforce"}}),
                json!({"level": "skip", "override": {"expiry": "log"}}),
            ],
        );
        for version in [json!("1.1"), json!(1.0), json!(null), json!(""), json!("1.0 ")] {
            self.add(format!("version {version}"), move |recipe| recipe.policy["version"] = version.clone());
        }
        self.add("audit with a missing store", |recipe| {
            recipe.statement()["signatureVerification"] = json!({"level": "audit"});
            recipe.statement()["trustStores"] = json!(["ca:absent"]);
        });
        self.add("no statement", |recipe| recipe.policy["trustPolicies"] = json!([]));
        self.add("a further member of the policy", |recipe| recipe.policy["x"] = json!([1]));
        self.add("a statement twice", |recipe| {
            let again = recipe.statement().clone();
            if let Some(statements) = recipe.policy["trustPolicies"].as_array_mut() {
                statements.push(again);
            }
        });
        self.add("skip without stores", |recipe| {
            *recipe.statement() = json!({"name": "skip", "registryScopes": [super::REPOSITORY],
                "signatureVerification": {"level": "skip"}});
        });
        self.add("a second statement that is better", |recipe| {
            let mut better = recipe.statement().clone();
            better["name"] = json!("better");
            better["registryScopes"] = json!([super::REPOSITORY]);
            if let Some(statements) = recipe.policy["trustPolicies"].as_array_mut() {
                statements.push(better);
            }
        });
    }

    fn outside(&mut self) {
        self.add("a line after the envelope", |recipe| recipe.after.push(|bytes| bytes.push(b'\n')));
        self.add("a zero after the envelope", |recipe| recipe.after.push(|bytes| bytes.push(0)));
        self.add("a blank before the envelope", |recipe| recipe.after.push(|bytes| bytes.insert(0, b' ')));
        self.add("the envelope cut", |recipe| recipe.after.push(|bytes| bytes.truncate(bytes.len() - 1)));
        self.add("padding", |recipe| recipe.after.push(|bytes| replace(bytes, "\",\"protected", "=\",\"protected")));
        self.add("payload in capitals", |recipe| {
            recipe.after.push(|bytes| replace(bytes, "\"payload\"", "\"Payload\""));
        });
        self.add("protected in capitals", |recipe| {
            recipe.after.push(|bytes| replace(bytes, "\"protected\"", "\"PROTECTED\""));
        });
        self.add("header removed", |recipe| recipe.after.push(|bytes| replace(bytes, "\"header\"", "\"head\"")));
        self.add("x5c in capitals", |recipe| recipe.after.push(|bytes| replace(bytes, "\"x5c\"", "\"X5C\"")));
        self.add("x5c removed", |recipe| recipe.after.push(|bytes| replace(bytes, "\"x5c\"", "\"x5d\"")));
        for (name, value) in
            [("payload", "\"e30\""), ("x", "1"), ("signatures", "[]"), ("header", "{}"), ("alg", "\"none\"")]
        {
            self.add(format!("{name} beside"), move |recipe| recipe.beside.push((name, value)));
        }
        self.add("a bit of the signature", |recipe| {
            recipe.after.push(|bytes| {
                let at = bytes.len() - 9;
                bytes[at] ^= 1;
            });
        });
        self.add("another tag", |recipe| recipe.after.push(|bytes| bytes[0] ^= 1));
        self.add("a long head", |recipe| recipe.after.push(|bytes| drop(bytes.splice(1..2, [0x98, 4]))));
    }
}

/// What operators may write, and what they should not.
const IDENTITIES: [&str; 36] = [
    "x509.subject:C=US,ST=WA,O=Acme Rockets",
    "x509.subject:C=US,S=WA,O=Acme Rockets",
    "x509.subject: C=US , ST=WA;O=Acme Rockets",
    "x509.subject:C=US,ST=WA,O=ACME Rockets",
    "x509.subject:c=US,ST=WA,O=Acme Rockets",
    "x509.subject:C=US,ST=WA",
    "x509.subject:C=US,ST=WA,O=a+OU=b",
    "x509.subject:C=US,C=US,ST=WA,O=a",
    "x509.subject:C=US,ST=WA,O=\\41cme Rockets",
    "x509.subject:C=US,ST=WA,O=#61",
    "x509.subject:",
    "x509.subject",
    "other:x",
    "x509.Subject:C=US,ST=WA,O=Acme Rockets",
    " x509.subject:C=US,ST=WA,O=Acme Rockets",
    "x509.subject :C=US,ST=WA,O=Acme Rockets",
    "x509.subject:O=Acme Rockets,C=US,ST=WA",
    "x509.subject:C=US,ST=WA,O=Acme Rockets,CN=x",
    "x509.subject:C=US,ST=WA,O=Acme Rockets,OU=",
    "x509.subject:C=US,ST=WA,O=Acme Rockets,1.2.3=x",
    "x509.subject:C=US,ST=WA,O=",
    "x509.subject:C=US,ST=WA,S=WA,O=Acme Rockets",
    "x509.subject:C=US,ST=WA,O=Acme  Rockets",
    "x509.subject:C=US,ST=WA,O=Acme Rockets\\ ",
    "x509.subject:C=US,ST=WA,O=\\ Acme Rockets",
    "x509.subject:C=US,ST=WA,O=\"Acme Rockets\"",
    "x509.subject:C=US,ST=WA,O=Acme\\20Rockets",
    "x509.subject:C=US,ST=WA,O=Acme\\Rockets",
    "x509.subject:C=US,ST=WA,O=Acme Rockets\\",
    "x509.subject:C=US,ST=WA,O=Acme Rockets,",
    "x509.subject:C=US,,ST=WA,O=Acme Rockets",
    "x509.subject:C=US;ST=WA;O=Acme Rockets",
    "x509.subject:C=US,ST=WA,O=Acme Rockets,emailAddress=a",
    "x509.subject:C=US,ST=WA,organizationName=Acme Rockets",
    "x509.subject:C=US,ST=WA,O=Acme Rockets\u{0}",
    "x509.subject:C = US,ST\t=WA,O=Acme Rockets",
];

fn replace(bytes: &mut Vec<u8>, from: &str, to: &str) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        *bytes = text.replacen(from, to, 1).into_bytes();
    }
}
