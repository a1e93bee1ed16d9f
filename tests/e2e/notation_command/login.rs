//! Logging in and out of a registry: what is told, and what the credential helper is.

use std::fs;

use super::pair::Pair;
use crate::node::Node;

#[test]
fn a_login_is_kept_by_the_helper_and_told_alike() {
    let node = Node::start();
    let pair = Pair::new();
    pair.helper();
    pair.set("PATH", &format!("{}:/usr/bin:/bin", pair.path("bin", "").display()));
    let registry = node.registry();
    let config = |text: &str| pair.write(".config/notation/config.json", text);
    let both = format!(
        "login --insecure-registry -u ann -p secret {registry}\nlogout {registry}\nlogin --insecure-registry -u ann {registry}"
    );
    for configuration in [
        r#"{"credsStore": "fake"}"#.to_owned(),
        format!(r#"{{"credHelpers": {{"{registry}": "fake"}}}}"#),
        r#"{"credsStore": "none"}"#.to_owned(),
        "{}".to_owned(),
    ] {
        config(&configuration);
        pair.run_apart(&both);
    }
    let kept = |home: &str| fs::read_to_string(pair.path(home, "helper.log")).unwrap_or_default();
    assert_eq!(kept("a"), kept("b"));
    assert!(
        kept("a").contains(r#"store {"ServerURL":""#) && kept("a").contains(r#""Username":"ann","Secret":"secret"}"#)
    );
    assert!(kept("a").contains(&format!("erase {registry}")), "{}", kept("a"));
}
