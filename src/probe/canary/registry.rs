//! A registry on this machine alone, with one image and for as long as one pull takes.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::image::Canary;
use crate::oci::{Digest, media_type};

/// The image's repository.
const REPOSITORY: &str = "pratique-canary/unsigned";
const TAG: &str = "v1";
/// The longest head of a request that is read, in bytes: what most servers take.
const MAX_HEAD: usize = 8 * 1024;

/// Serves until it is dropped.
pub(super) struct Registry {
    port: u16,
    serving: JoinHandle<()>,
}

impl Registry {
    /// Listens on a port of the kernel's choice, on the loopback address.
    pub(super) async fn serve(canary: Canary) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let canary = Arc::new(canary);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let canary = Arc::clone(&canary);
                // A client that goes away is no concern of anybody's.
                tokio::spawn(async move { drop(answer(stream, &canary).await) });
            }
        });
        Ok(Self { port, serving })
    }

    /// The image, as one asks for it.
    pub(super) fn reference(&self) -> String {
        format!("127.0.0.1:{}/{REPOSITORY}:{TAG}", self.port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(mut stream: TcpStream, canary: &Canary) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > MAX_HEAD || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.split_ascii_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    stream.write_all(&reply(method, path, canary)).await?;
    stream.shutdown().await
}

fn reply(method: &str, path: &str, canary: &Canary) -> Vec<u8> {
    let found = match path {
        "/v2/" => Some(("application/json", &b"{}"[..])),
        _ => path.strip_prefix(&format!("/v2/{REPOSITORY}/")).and_then(|rest| found(rest, canary)),
    };
    let (status, (kind, bytes)) = match found {
        Some(found) => ("200 OK", found),
        None => ("404 Not Found", ("application/json", &br#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#[..])),
    };
    let digest = Digest::sha256(bytes);
    let head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
         Docker-Content-Digest: {digest}\r\nDocker-Distribution-Api-Version: registry/2.0\r\n\r\n",
        bytes.len()
    );
    let body = if method == "HEAD" { &[][..] } else { bytes };
    [head.as_bytes(), body].concat()
}

/// A manifest by its tag or its digest, or a blob by its digest.
fn found<'a>(path: &str, canary: &'a Canary) -> Option<(&'static str, &'a [u8])> {
    let is = |bytes: &[u8], digest: &str| Digest::sha256(bytes).as_str() == digest;
    match path.split_once('/')? {
        ("manifests", named) if named == TAG || is(&canary.manifest, named) => {
            Some((media_type::IMAGE_MANIFEST, &canary.manifest))
        }
        ("blobs", digest) if is(&canary.config, digest) => Some((media_type::OCTET_STREAM, &canary.config)),
        ("blobs", digest) if is(&canary.layer, digest) => Some((media_type::OCTET_STREAM, &canary.layer)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: &str, path: &str, canary: &Canary) -> String {
        String::from_utf8_lossy(&reply(method, path, canary)).lines().next().unwrap().to_owned()
    }

    #[test]
    fn the_image_is_found_by_tag_and_digests_and_nothing_else_is() {
        let canary = Canary::new("x");
        let (manifest, layer) = (canary.manifest_descriptor().digest, canary.layer_descriptor().digest);
        for (path, expected) in [
            ("/v2/".to_owned(), "HTTP/1.1 200 OK"),
            (format!("/v2/{REPOSITORY}/manifests/v1"), "HTTP/1.1 200 OK"),
            (format!("/v2/{REPOSITORY}/manifests/{manifest}"), "HTTP/1.1 200 OK"),
            (format!("/v2/{REPOSITORY}/blobs/{layer}"), "HTTP/1.1 200 OK"),
            (format!("/v2/{REPOSITORY}/referrers/{manifest}"), "HTTP/1.1 404 Not Found"),
            (format!("/v2/{REPOSITORY}/manifests/{}", manifest.fallback_tag()), "HTTP/1.1 404 Not Found"),
            ("/v2/other/manifests/v1".to_owned(), "HTTP/1.1 404 Not Found"),
        ] {
            assert_eq!(status("GET", &path, &canary), expected, "{path}");
        }
        assert!(reply("HEAD", "/v2/", &canary).ends_with(b"\r\n\r\n"));
    }

    #[tokio::test]
    async fn a_pull_is_answered() {
        let registry = Registry::serve(Canary::new("x")).await.unwrap();
        let (address, _) = registry.reference().split_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("{}"), "{answer}");
    }
}
