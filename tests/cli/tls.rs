//! Registries over TLS: a certificate of an authority that this machine trusts, and none other.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::node::Scene;

/// A name that is not loopback's, so that only TLS will do for it.
const NAME: &str = "registry.example";

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_with_a_certificate_of_a_trusted_authority_is_asked_and_another_is_not() {
    let mut scene = Scene::new().await;
    scene.run("sign").exits(0);
    let authority = Authority::new();
    let tunnel = authority.tunnel(NAME, scene.registry.host()).await;
    scene.node.set("HTTPS_PROXY", format!("http://{tunnel}"));
    let verify = format!("verify --output json {}", scene.image().replace(&scene.registry.host(), NAME));

    scene.node.write("stranger.pem", Authority::new().pem());
    scene.node.set("SSL_CERT_FILE", scene.node.path("stranger.pem").display().to_string());
    scene.node.run(&verify).answers(3, "inconclusive", "registry-tls", Some("retrieval"));

    scene.node.write("authority.pem", authority.pem());
    scene.node.set("SSL_CERT_FILE", scene.node.path("authority.pem").display().to_string());
    scene.node.run(&verify).answers(0, "admit", "admitted", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_name_is_not_believed() {
    let mut scene = Scene::new().await;
    scene.run("sign").exits(0);
    let authority = Authority::new();
    let tunnel = authority.tunnel("other.example", scene.registry.host()).await;
    scene.node.set("HTTPS_PROXY", format!("http://{tunnel}"));
    scene.node.write("authority.pem", authority.pem());
    scene.node.set("SSL_CERT_FILE", scene.node.path("authority.pem").display().to_string());
    let verify = format!("verify --output json {}", scene.image().replace(&scene.registry.host(), NAME));
    scene.node.run(&verify).answers(3, "inconclusive", "registry-tls", Some("retrieval"));
}

/// Issues certificates for servers.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// An HTTP proxy that ends TLS itself, under this name, and hands what it reads to the registry.
    async fn tunnel(&self, name: &str, registry: String) -> String {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        let acceptor =
            TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate.der().clone()], key).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, acceptor.clone(), registry.clone()));
            }
        });
        address
    }
}

async fn serve(mut client: TcpStream, acceptor: TlsAcceptor, registry: String) -> Option<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(client.read_u8().await.ok()?);
    }
    assert!(request.starts_with(b"CONNECT registry.example:443 "), "{}", String::from_utf8_lossy(&request));
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
    // A client that does not believe the certificate ends here.
    let mut client = acceptor.accept(client).await.ok()?;
    let mut registry = TcpStream::connect(registry).await.ok()?;
    tokio::io::copy_bidirectional(&mut client, &mut registry).await.ok().map(|_| ())
}
