use super::*;

fn entries(text: &str) -> Vec<HostEntry> {
    parse(text.as_bytes()).unwrap_or_else(|Mistake(fault)| panic!("{fault}:\n{text}"))
}

/// The hosts with the paths of their API, in order; the registry itself is `-`.
fn addresses(text: &str) -> Vec<String> {
    let address = |entry: &HostEntry| match &entry.address {
        Some(Address { base, path }) => format!("{}{path}", base.as_str().trim_end_matches('/')),
        None => "-".to_owned(),
    };
    entries(text).iter().map(address).collect()
}

#[test]
fn hosts_are_asked_in_the_files_order_and_the_server_last() {
    #[rustfmt::skip]
    let cases: &[(&str, &[&str])] = &[
        ("", &["-"]),
        ("# nothing\n", &["-"]),
        ("server = \"\"", &["-"]),
        ("server = \"https://docker.io\"", &["https://docker.io/v2"]),
        ("server = \"registry.example:5000\"", &["https://registry.example:5000/v2"]),
        ("[host.\"https://z.example\"]\n[host.\"https://a.example\"]\n[host.\"http://m.example\"]",
            &["https://z.example/v2", "https://a.example/v2", "http://m.example/v2", "-"]),
        ("server = \"https://o.example\"\n[host.\"https://z.example\".header]\nx = \"1\"\n[host.\"https://a.example\"]",
            &["https://z.example/v2", "https://a.example/v2", "https://o.example/v2"]),
        // The path of the API.
        ("[host.\"https://m.example/us\"]", &["https://m.example/us/v2", "-"]),
        ("[host.\"https://m.example//us//\"]", &["https://m.example/us/v2", "-"]),
        ("[host.\"https://m.example/us/v2\"]", &["https://m.example/us/v2", "-"]),
        ("[host.\"https://m.example/v2/up\"]\noverride_path = true", &["https://m.example/v2/up", "-"]),
        ("[host.\"https://m.example\"]\noverride_path = true", &["https://m.example", "-"]),
        ("override_path = true\nserver = \"https://o.example/x\"", &["https://o.example/x"]),
        // What nobody knows.
        ("colour = 1\n[host.\"https://m.example\"]\ncolour = \"red\"\n[other]\nx = 1", &["https://m.example/v2", "-"]),
    ];
    for (text, expected) in cases {
        assert_eq!(addresses(text), *expected, "{text}");
    }
}

#[test]
fn a_host_may_do_what_is_listed_and_without_a_word_everything() {
    use Capability::{Pull, Push, Referrers, Resolve};
    let of = |text: &str| entries(&format!("[host.\"m.example\"]\n{text}"))[0].capabilities.clone();
    assert_eq!(of(""), Capabilities::default());
    assert_eq!(of("capabilities = []"), Capabilities::default());
    assert_eq!(of("capabilities = [\"pull\", \"Resolve\"]"), Capabilities(vec![Pull, Resolve]));
    assert_eq!(of("capabilities = [\"push\", \"referrers\"]"), Capabilities(vec![Push, Referrers]));
    // A server that is not named is the registry itself, which can do everything.
    assert_eq!(entries("capabilities = [\"pull\"]")[0].capabilities, Capabilities::default());
    let named = entries("server = \"o.example\"\ncapabilities = [\"pull\"]");
    assert_eq!(named[0].capabilities, Capabilities(vec![Pull]));
}

#[test]
fn certificates_are_named_in_every_form() {
    let entry = |text: &str| entries(text)[0].clone();
    assert_eq!(entry("ca = \"a.pem\"").ca, [PathBuf::from("a.pem")]);
    assert_eq!(entry("ca = [\"a.pem\", \"/b.pem\"]").ca, [PathBuf::from("a.pem"), PathBuf::from("/b.pem")]);
    let pair = |certificate: &str, key: Option<&str>| Some((PathBuf::from(certificate), key.map(PathBuf::from)));
    assert_eq!(entry("client = \"c.pem\"").client, pair("c.pem", None));
    assert_eq!(entry("client = [\"c.pem\"]").client, pair("c.pem", None));
    assert_eq!(entry("client = [[\"c.cert\", \"c.key\"]]").client, pair("c.cert", Some("c.key")));
    assert_eq!(entry("client = [[\"c.pem\", \"\"]]").client, pair("c.pem", None));
    assert_eq!(entry("client = []").client, None);
    assert_eq!((entry("").skip_verify, entry("skip_verify = false").skip_verify), (None, Some(false)));
}

#[test]
fn headers_and_time_limits_are_read() {
    let entry = entries("dial_timeout = \"1m30s\"\n[header]\nX-One = \"1\"\nx-two = [\"a\", \"b\"]")[0].clone();
    assert_eq!(entry.dial_timeout, Some(Duration::from_secs(90)));
    let values = |name: &str| entry.headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!((values("x-one"), values("X-Two")), (vec!["1"], vec!["a", "b"]));
    for (text, expected) in [("500ms", 500), ("1.5s", 1500), ("3s", 3000)] {
        let read = entries(&format!("dial_timeout = \"{text}\""))[0].dial_timeout;
        assert_eq!(read, Some(Duration::from_millis(expected)), "{text}");
    }
    assert_eq!(entries("dial_timeout = \"0s\"")[0].dial_timeout, None);
}

#[test]
fn a_value_of_bad_form_is_a_mistake_that_names_its_key() {
    let many: String =
        (0..=MAX_REGISTRY_HOSTS).map(|n| format!("[host.\"m{n}.example\"]\n")).collect::<Vec<_>>().concat();
    #[rustfmt::skip]
    let cases = [
        ("server = ", "line 1: "),
        ("\nserver = \"a\"\nserver = \"b\"", "line 3: "),
        ("server = 1", "`server`: not a text"),
        ("server = \"ftp://o.example\"", "`server`: not a URL of http or https"),
        ("server = \"https://ann:1@o.example\"", "`server`: a name and a password have no place in it"),
        ("server = \"https://o.example?x=1\"", "`server`: nothing follows the path"),
        ("host = 1", "`host`: not a table of hosts"),
        ("[host]\n\"m.example\" = 1", "`host.\"m.example\"`: not a table"),
        ("[host.\"https://:x\"]", "`host.\"https://:x\"`: not a URL"),
        ("capabilities = \"pull\"", "`capabilities`: not a list"),
        ("[host.\"m\"]\ncapabilities = [\"pul\"]", "`host.\"m\".capabilities`: only `pull`"),
        ("ca = 1", "`ca`: not a path or a list"),
        ("ca = [1]", "`ca`: every path"),
        ("client = 1", "`client`: not a path"),
        ("client = [[\"a\"]]", "`client`: not a path"),
        ("client = [\"a\", \"b\"]", "`client`: more than one"),
        ("skip_verify = \"yes\"", "`skip_verify`: not `true` or `false`"),
        ("[host.\"m\"]\noverride_path = 1", "`host.\"m\".override_path`: not"),
        ("dial_timeout = 3", "`dial_timeout`: not a text"),
        ("dial_timeout = \"-3s\"", "`dial_timeout`: not a duration"),
        ("dial_timeout = \"soon\"", "`dial_timeout`: not a duration"),
        ("header = 1", "`header`: not a table"),
        ("[header]\nx = 1", "`header.x`: not a text"),
        ("[header]\n\"x y\" = \"1\"", "`header.x y`: no name of a header"),
        ("[header]\nHost = \"o\"", "`header.Host`: this header belongs to the connection"),
        ("[header]\nx = \"a\\nsecret\"", "`header.x`: not a text"),
        (many.as_str(), "`host`: it has more than 32 hosts"),
    ];
    for (text, expected) in cases {
        let Mistake(fault) = parse(text.as_bytes()).expect_err(text);
        assert!(fault.starts_with(expected), "{text}: {fault}");
        assert!(!fault.contains("secret"), "{fault}");
    }
    assert_eq!(parse(b"\xff").unwrap_err(), Mistake("it is not text in UTF-8".into()));
}

#[test]
fn the_value_of_a_header_is_never_shown() {
    let text = format!("{:?}", entries("[header]\nauthorization = \"Basic c2VjcmV0\""));
    assert!(text.contains("authorization") && !text.contains("c2VjcmV0"), "{text}");
}
