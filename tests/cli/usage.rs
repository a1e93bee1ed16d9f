//! Help for every command, and wrong usage.

use crate::node::Node;

const COMMANDS: [&str; 19] = [
    "",
    "sign",
    "verify",
    "ls",
    "inspect",
    "cert",
    "cert generate-test",
    "cert add",
    "cert ls",
    "cert show",
    "cert rm",
    "key",
    "key add",
    "key ls",
    "key rm",
    "key default",
    "payload",
    "payload generate",
    "attach",
];

#[test]
fn every_command_has_help() {
    let node = Node::new();
    for command in COMMANDS {
        for flag in ["--help", "-h"] {
            let ran = node.run(&format!("{command} {flag}")).exits(0);
            assert!(ran.stdout.contains(&format!("Usage: {}", ["pratique", command].join(" ").trim_end())), "{ran:?}");
            assert_eq!(ran.stderr, "");
        }
    }
    let ran = node.run("--version").exits(0);
    assert_eq!(ran.stdout, concat!("pratique ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn wrong_usage_is_told_apart_from_every_answer() {
    let node = Node::new();
    let wrong = [
        "",
        "sing",
        "verify",
        "verify --frobnicate",
        "verify registry.example/app:v1 registry.example/app:v2",
        "verify registry.example/app:v1 --max-signatures 0",
        "verify registry.example/app:v1 --max-signatures many",
        "verify registry.example/app:v1 --timeout -1",
        "verify registry.example/app:v1 --output yaml",
        "verify registry.example/app:v1 -m pair",
        "verify registry.example/app:v1 --username ann",
        "verify registry.example/app:v1 --password-stdin",
        "verify registry.example/app:v1 --signature envelope",
        "verify --signature envelope",
        "verify --signature envelope --descriptor descriptor --media-type application/cose",
        "verify --descriptor descriptor registry.example/app:v1",
        "sign",
        "sign registry.example/app:v1 --signature-format pgp",
        "ls",
        "inspect",
        "cert",
        "cert add --store acme",
        "cert add ROOT.pem",
        "cert generate-test",
        "payload generate --image-info images.txt",
        "payload generate --image-info images.txt --output-dir payloads --jobs 65",
        "attach",
        "attach --payload-dir payloads --index payloads/payload-index.json",
        "attach --payload-dir payloads --profile production --trust-store ca:release",
        "attach --payload-dir payloads --profiles attach.toml",
        "attach --payload-dir payloads --trust-store release",
    ];
    for arguments in wrong {
        let ran = node.run(arguments).exits(2);
        assert_eq!(ran.stdout, "", "pratique {arguments}");
        assert!(ran.stderr.contains("--help") || ran.stderr.contains("Usage: pratique"), "{ran:?}");
    }
}

#[test]
fn a_name_that_is_no_reference_is_wrong_usage() {
    let node = Node::with_policy(crate::node::policy("strict", &["ca:ann"], &["*"]));
    for image in ["registry.example/app@sha256:12", "registry.example/App:v1", "https://a.example/b:c"] {
        for command in ["verify", "ls", "inspect"] {
            let ran = node.run(&format!("{command} {image}")).exits(2);
            assert!(ran.stderr.starts_with("error ["), "{ran:?}");
            assert_eq!(ran.stdout, "");
        }
    }
    node.run("verify registry.example/app@sha256:12").is(
        2,
        "",
        "
error [invalid-reference]: what follows the `@` is not a digest: a sha256 digest has exactly 64 lowercase hex digits
hint: write `registry/repository:tag` or `registry/repository@sha256:…`
",
    );
    node.run("verify registry.example/app@sha256:12 -o json").is(
        2,
        r#"
{
  "answer": null,
  "code": "invalid-reference",
  "failed": null,
  "reason": "what follows the `@` is not a digest: a sha256 digest has exactly 64 lowercase hex digits",
  "remedy": "write `registry/repository:tag` or `registry/repository@sha256:…`",
  "findings": []
}
"#,
        "",
    );
}
