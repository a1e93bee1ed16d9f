//! What needs no registry: mistakes in the arguments, files, help, and what `generate-test` has made.

use super::pair::{Pair, compact};
use crate::notation::policy;
use crate::tools::tool;

/// What needs no registry: mistakes in the arguments, and files.
const ALONE: &str = "
version x
completion bash x
--version
bogus
--bogus
--bogus x key list
--bogus=x key list
-x cert list
key --bogus x list
key --bogus list
-- key list
bogus --bogus
bogus --help
--help bogus
-h key
-h key none
-h
versoin
-x
verify
verify --nope
verify x/y:1
verify --max-signatures x a/b:1
verify --scope x a/b:1
list
list x
list --max-signatures 0 x/y:1
list --oci-layout img:v1
inspect -o yaml x/y:1
sign
sign --id x a/b:1
sign --plugin x a/b:1
sign --key a --id x --plugin p a/b:1
sign --key a --plugin p a/b:1
sign -e 1 a/b:1
sign -e abc a/b:1
sign -e
sign -k
sign --timestamp-url x a/b:1
sign --force-referrers-tag=x a/b:1
sign a/b:1
cert add
cert add a
cert add --type ca a
cert add --type ca --store s none
cert add -t xx -s a f
cert show
cert show a
cert show -t ca -s s a b
cert show -t ca -s s a
cert delete
cert delete -t ca -s s --all x
cert delete -t ca -s s -y x
cert delete -t ca -s s --all -y
cert list
cert list x
cert generate-test
cert generate-test -b x x
cert generate-test --default one
cert generate-test two
cert generate-test two
cert list
cert ls -t ca
certificate list -s two
cert delete -t ca -s two two.crt
cert delete -t ca -s two -y two.crt
cert add -t ca -s more none HOME/.config/notation/localkeys/two.crt HOME/.config/notation/localkeys/two.crt
cert delete -t ca -s more -y --all
key list
key update
key update none
key update --default none
key set --default two
key list
key add
key add x
key add --plugin p x
key add --plugin p --id i x
key delete
key delete none one
key delete one two
key delete one
key ls
policy show
policy show x
policy import
policy import a b
policy import none.json
policy import cut-off.json
policy import no-scopes.json
policy import no-stores.json
policy import store.json
policy import identity.json
policy import level.json
policy import scope.json
policy import --force policy.json
policy import skip-all.json
policy import policy.json
policy import policy.json
policy import --force policy.json
policy show
sign --timestamp-url http://x --timestamp-root-cert none a/b:1
sign -k two --timestamp-url= --timestamp-root-cert none a/b:1
sign -k two --timestamp-url x --timestamp-root-cert= a/b:1
sign -k two --timestamp-url x --timestamp-root-cert none a/b:1
sign -k two --timestamp-url http://x --timestamp-root-cert none a/b:1
sign -k two --timestamp-url http://x --timestamp-root-cert policy.json a/b:1
sign -k two --timestamp-url http://x --timestamp-root-cert empty a/b:1
plugin list
plugin install
plugin install --file
plugin install --file x
plugin install --url x
plugin install x
plugin install --file --url x
plugin uninstall
plugin uninstall -y x
login
logout
logout x
";

#[test]
fn what_needs_no_registry_is_said_alike() {
    let pair = Pair::new();
    pair.write("policy.json", &policy("*", "one", "*"));
    pair.write("cut-off.json", "{");
    pair.write("empty", "");
    for (name, from, to) in [
        ("no-scopes", r#"["*"],"#, "[],"),
        ("no-stores", r#""ca:one""#, ""),
        ("store", "ca:one", "ca:"),
        ("identity", r#"["*"]}"#, r#"["x509.subject: C=US"]}"#),
        ("level", "strict", "loose"),
        ("scope", r#"["*"],"#, r#"["https://registry.example/a"],"#),
    ] {
        let policy = compact(&policy("*", "one", "*"));
        assert!(policy.contains(from), "{policy}");
        pair.write(&format!("{name}.json"), &policy.replacen(from, to, 1));
    }
    let skipping = compact(&policy("*", "one", "*")).replace("strict", "skip");
    pair.write("skip-all.json", &skipping.replace(r#"["ca:one"]"#, "[]").replace(r#"["*"]}"#, "[]}"));
    pair.run_apart(ALONE);
}

#[test]
fn help_has_the_same_usage_and_flags() {
    let pair = Pair::new();
    let commands = [
        "verify",
        "sign",
        "list",
        "inspect",
        "cert",
        "cert add",
        "cert delete",
        "cert list",
        "cert show",
        "cert generate-test",
        "key",
        "key add",
        "key list",
        "key update",
        "key delete",
        "policy",
        "policy show",
        "policy import",
        "plugin",
        "plugin install",
        "plugin list",
        "plugin uninstall",
        "login",
        "logout",
        "version",
        "completion",
        "completion zsh",
        "",
    ];
    for command in commands {
        let line = format!("{command} --help");
        let usage = |said: &str| said.split_once("\nUsage:\n").map(|(_, usage)| usage.to_owned());
        let theirs = usage(&pair.said(&tool("notation"), "a", &line)).expect("a usage");
        assert_eq!(usage(&pair.said(&pair.ours(), "b", &line)), Some(theirs), "{line}");
    }
}

#[test]
fn what_generate_test_made_is_taken_back() {
    let pair = Pair::new();
    let said = |line: &str| pair.said(&pair.ours(), "b", line);
    said("cert generate-test --default one");
    let gone = said("cert cleanup-test -y one");
    for line in [
        "Successfully deleted one.crt from trust store one of type ca",
        "Successfully removed key one from the key list",
        "Cleanup completed successfully",
    ] {
        assert!(gone.contains(line), "{gone}");
    }
    assert!(!said("key list").contains("one") && !said("cert list").contains("one"));
    assert!(said("cert cleanup-test -y one").contains("Key one does not exist in the key list"));
    assert!(said("cert cleanup-test -y ..").contains("certificate common name must follow [a-zA-Z0-9_.-]+ format"));
    let made = said("policy init --name one --trust-store ca:one --trusted-identity *");
    assert!(made.contains("Successfully initialized"), "{made}");
    assert!(said("policy show").contains(r#""registryScopes""#));
}
