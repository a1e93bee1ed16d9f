use super::*;

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

fn parse(text: &str) -> Result<BuildOutput, InvalidBuildOutput> {
    BuildOutput::parse(text.as_bytes(), None)
}

fn names(output: &BuildOutput) -> Vec<String> {
    output.images.iter().map(|image| image.reference.to_string()).collect()
}

/// As docker-tools writes it after publishing, with members that do not matter here.
fn image_info() -> String {
    let (amd64, arm64, index, alone) = (digest('1'), digest('2'), digest('3'), digest('4'));
    format!(
        r#"{{
  "schemaVersion": "2.0",
  "repos": [
    {{
      "repo": "ships/rudder",
      "images": [
        {{
          "productVersion": "4.2.1",
          "manifest": {{
            "digest": "registry.example/ships/rudder@{index}",
            "syndicatedDigests": ["mirror.example/ships/rudder@{index}"],
            "created": "2026-10-01T09:12:44.1234567Z",
            "sharedTags": ["4.2", "latest"]
          }},
          "platforms": [
            {{
              "dockerfile": "src/rudder/4.2/trixie/amd64/Dockerfile",
              "simpleTags": ["4.2-amd64"],
              "digest": "registry.example/ships/rudder@{amd64}",
              "baseImageDigest": "registry.example/base/trixie@{alone}",
              "osType": "Linux",
              "osVersion": "trixie",
              "architecture": "amd64",
              "created": "2026-10-01T09:10:02.7654321Z",
              "commitUrl": "https://git.example/ships/blob/0c0ffee/src/rudder/4.2/trixie/amd64/Dockerfile",
              "layers": [{{"digest": "{index}", "size": 9}}, "{alone}"]
            }},
            {{
              "dockerfile": "src/rudder/4.2/trixie/arm64v8/Dockerfile",
              "digest": "registry.example/ships/rudder@{arm64}",
              "osType": "Linux", "osVersion": "trixie", "architecture": "arm64", "commitUrl": ""
            }}
          ]
        }}
      ]
    }},
    {{
      "repo": "ships/keel",
      "images": [
        {{"platforms": [
          {{"dockerfile": "src/keel/Dockerfile", "digest": "registry.example/ships/keel@{alone}"}},
          {{"dockerfile": "src/keel/Dockerfile.unbuilt", "digest": ""}},
          {{"dockerfile": "src/keel/Dockerfile.null", "digest": null}}
        ]}},
        {{"platforms": [], "manifest": null}}
      ]
    }}
  ]
}}"#
    )
}

#[test]
fn image_info_names_platforms_and_manifest_lists_and_nothing_else() {
    let output = parse(&image_info()).unwrap();
    assert!(output.is_complete);
    let expected = [("rudder", '1'), ("rudder", '2'), ("rudder", '3'), ("keel", '4')];
    let expected = expected.map(|(name, digit)| format!("registry.example/ships/{name}@{}", digest(digit)));
    assert_eq!(names(&output), expected);
    assert!(output.images.iter().all(|image| image.descriptor.is_none()));
    // .NET writes a byte order mark in front.
    assert_eq!(BuildOutput::parse(&[b"\xef\xbb\xbf", image_info().as_bytes()].concat(), None).unwrap(), output);
}

#[test]
fn the_registry_goes_in_front_of_the_repositories_of_image_info() {
    let output = BuildOutput::parse(image_info().as_bytes(), Some("staging.example:5000/public/")).unwrap();
    assert_eq!(names(&output)[3], format!("staging.example:5000/public/ships/keel@{}", digest('4')));
    let bare = image_info().replace("registry.example/ships/rudder@", "").replace("registry.example/", "");
    assert_eq!(parse(&bare).unwrap_err(), InvalidBuildOutput::NoRegistry("ships/rudder".into()));
    let placed = BuildOutput::parse(bare.as_bytes(), Some("staging.example:5000/public")).unwrap();
    assert_eq!(placed, output);
}

fn metadata(name: &str, descriptor: &str) -> String {
    let digest = digest('5');
    format!(
        r#"{{
  "buildx.build.provenance": {{"builder": {{"id": ""}}}},
  "buildx.build.ref": "builder/builder0/abcdef",
  {descriptor}
  "containerimage.digest": "{digest}",
  "image.name": "{name}"
}}"#
    )
}

fn described(digit: char) -> String {
    format!(
        r#""containerimage.descriptor": {{"mediaType": "application/vnd.oci.image.index.v1+json", "digest": "{}", "size": 856,
            "annotations": {{"org.opencontainers.image.created": "2026-10-01T09:10:02Z"}}}},"#,
        digest(digit)
    )
}

#[test]
fn buildkit_names_one_image_under_each_of_its_names() {
    let output =
        parse(&metadata("registry.example/app:v1,registry.example/app:latest, mirror.example/app:v1", "")).unwrap();
    assert!(!output.is_complete, "the index stands for its platforms");
    let (registry, mirror) =
        (format!("registry.example/app@{}", digest('5')), format!("mirror.example/app@{}", digest('5')));
    assert_eq!(names(&output), [&registry, &registry, &mirror].map(String::as_str));
    let output = parse(&metadata(&format!("registry.example/app@{}", digest('5')), &described('5'))).unwrap();
    let descriptor = output.images[0].descriptor.as_ref().unwrap();
    assert_eq!((descriptor.size, descriptor.annotations.len()), (856, 0), "what is not signed is left out");
}

#[test]
fn a_bake_names_one_image_for_each_target() {
    let bake = format!(
        r#"{{"buildx.build.warnings": [], "db": {}, "web": {}}}"#,
        metadata("registry.example/db:v1", ""),
        metadata("registry.example/web:v1", &described('5'))
    );
    let expected = ["db", "web"].map(|name| format!("registry.example/{name}@{}", digest('5')));
    assert_eq!(names(&parse(&bake).unwrap()), expected);
}

#[test]
fn a_list_has_one_reference_a_line() {
    let digest = digest('6');
    let list = format!(
        "# release 7\n\nregistry.example/app@{digest}\r\n  registry.example/app:v1@{digest}\nregistry.example/db:v2"
    );
    let output = parse(&list).unwrap();
    let app = format!("registry.example/app@{digest}");
    assert_eq!(names(&output), [app.as_str(), &app, "registry.example/db:v2"]);
}

#[test]
fn what_is_no_such_file_says_what_is_wrong() {
    let code = |text: &str| parse(text).unwrap_err().code().as_str();
    for (text, expected) in [
        ("", "build-output-empty"),
        ("\n# nothing\n", "build-output-empty"),
        (r#"{"repos": []}"#, "build-output-empty"),
        ("{}", "build-output-malformed"),
        ("[]", "build-output-malformed"),
        (r#"{"name": "app"}"#, "build-output-malformed"),
        (r#"{"repos": {}}"#, "build-output-malformed"),
        (r#"{"repos": [], "repos": []}"#, "build-output-malformed"),
        (r#"{"repos": [{"images": []}]}"#, "build-output-malformed"),
        (r#"{"repos": [{"repo": "a", "images": [{"platforms": [{"digest": 7}]}]}]}"#, "build-output-malformed"),
        (r#"{"containerimage.digest": "x", "containerimage.digest": "y"}"#, "build-output-malformed"),
        ("registry.example/App", "build-output-image"),
        ("registry.example/app@sha256:../../etc/passwd", "build-output-image"),
        ("../../etc/passwd", "build-output-image"),
        (&metadata("", ""), "build-output-image"),
        (&metadata("registry.example/app", &described('6')), "build-output-image"),
    ] {
        assert_eq!(code(text), expected, "{text}");
    }
    assert_eq!(BuildOutput::parse(b"\xff\xfe", None).unwrap_err(), InvalidBuildOutput::NotText);
}

#[test]
fn hostile_digests_never_become_names() {
    for bad in [
        "sha256:../../../../etc/passwd",
        "sha256:",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "sha256:1111",
        &format!("sha256:{}/../x", "1".repeat(59)),
        &"1".repeat(64),
    ] {
        let text = format!(
            r#"{{"repos": [{{"repo": "r.example/a", "images": [{{"platforms": [{{"digest": "r.example/a@{bad}"}}]}}]}}]}}"#
        );
        assert_eq!(parse(&text).unwrap_err().code().as_str(), "build-output-image", "{bad}");
    }
}

#[test]
fn size_depth_and_number_have_limits() {
    let line = format!("r.example/a@{}\n", digest('7'));
    assert_eq!(parse(&line.repeat(MAX_BUILT_IMAGES)).unwrap().images.len(), MAX_BUILT_IMAGES);
    assert_eq!(parse(&line.repeat(MAX_BUILT_IMAGES + 1)).unwrap_err(), InvalidBuildOutput::TooMany);
    let huge = vec![b'\n'; MAX_BUILD_OUTPUT + 1];
    assert_eq!(BuildOutput::parse(&huge, None).unwrap_err(), InvalidBuildOutput::TooLarge);
    let deep = format!(r#"{{"repos": {}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(parse(&deep).unwrap_err(), InvalidBuildOutput::Json(InvalidJson::TooDeep));
}
