//! Registries over TLS: a certificate of an authority that this machine trusts, and none other.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::{WantsServerCert, WebPkiClientVerifier};
use tokio_rustls::rustls::{ConfigBuilder, RootCertStore, ServerConfig};

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

/// What `hosts.toml` says of a host: its authority, that its certificate is not looked at, what is shown to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_is_believed_by_what_its_hosts_file_says() {
    let mut scene = Scene::new().await;
    scene.run("sign").exits(0);
    let authority = Authority::new();
    let tunnel = authority.tunnel(NAME, scene.registry.host()).await;
    scene.node.set("HTTPS_PROXY", format!("http://{tunnel}"));
    let image = scene.image().replace(&scene.registry.host(), NAME);
    let verify = format!("verify --output json --hosts-dir certs.d {image}");
    let hosts = format!("certs.d/{NAME}/hosts.toml");

    scene.node.write_home(&format!("certs.d/{NAME}/right.pem"), authority.pem());
    scene.node.write_home(&format!("certs.d/{NAME}/wrong.pem"), Authority::new().pem());
    for (text, is_trusted) in [
        ("ca = \"right.pem\"", true),
        ("ca = [\"wrong.pem\", \"right.pem\"]", true),
        ("ca = \"wrong.pem\"", false),
        ("skip_verify = true", true),
        ("skip_verify = false", false),
        ("server = \"https://registry.example\"\nca = \"right.pem\"", true),
        // What is said of a mirror says nothing of the registry.
        ("[host.\"https://registry.example/none\"]\nca = \"right.pem\"", false),
    ] {
        scene.node.write_home(&hosts, text);
        let ran = scene.node.run(&verify);
        if is_trusted {
            ran.answers(0, "admit", "admitted", None);
        } else {
            ran.answers(3, "inconclusive", "registry-tls", Some("retrieval"));
        }
    }

    // Docker's way.
    std::fs::remove_file(scene.node.home().join(&hosts)).unwrap();
    scene.node.run(&verify).answers(3, "inconclusive", "registry-tls", Some("retrieval"));
    scene.node.write_home(&format!("certs.d/{NAME}/ca.crt"), authority.pem());
    scene.node.run(&verify).answers(0, "admit", "admitted", None);

    // A file that cannot be understood is not gone round, and one that is not looked at is.
    scene.node.write_home(&hosts, "ca = 1");
    scene.node.run(&verify).answers(3, "inconclusive", "hosts-invalid", Some("retrieval"));
    let without = format!("verify --output json --hosts-dir= {image}");
    scene.node.run(&without).answers(3, "inconclusive", "registry-tls", Some("retrieval"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_certificate_of_the_hosts_file_is_shown() {
    let mut scene = Scene::new().await;
    scene.run("sign").exits(0);
    let authority = Authority::new();
    let tunnel = authority.tunnel_for_clients(NAME, scene.registry.host()).await;
    scene.node.set("HTTPS_PROXY", format!("http://{tunnel}"));
    let image = scene.image().replace(&scene.registry.host(), NAME);
    let verify = format!("verify --output json --hosts-dir certs.d {image}");
    let write = |name: &str, text: &str| scene.node.write_home(&format!("certs.d/{NAME}/{name}"), text);
    let (certificate, key) = authority.client();
    write("ca.pem", &authority.pem());
    write("client.pem", &certificate);
    write("client.key", &key);
    write("both.pem", &format!("{certificate}{key}"));
    for client in ["[[\"client.pem\", \"client.key\"]]", "\"both.pem\""] {
        write("hosts.toml", &format!("ca = \"ca.pem\"\nclient = {client}"));
        scene.node.run(&verify).answers(0, "admit", "admitted", None);
    }
    write("hosts.toml", "ca = \"ca.pem\"");
    let refused = scene.node.run(&verify);
    assert_eq!(refused.exit, 3, "{}", refused.stdout);
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

    /// A client certificate and its key.
    fn client(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["client.example".to_owned()]).unwrap();
        (certificate.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    /// An HTTP proxy that ends TLS itself, under this name, and hands what it reads to the registry.
    async fn tunnel(&self, name: &str, registry: String) -> String {
        self.tunnel_with(ServerConfig::builder().with_no_client_auth(), name, registry).await
    }

    /// The same, for whoever shows a certificate of this authority.
    async fn tunnel_for_clients(&self, name: &str, registry: String) -> String {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        self.tunnel_with(ServerConfig::builder().with_client_cert_verifier(verifier), name, registry).await
    }

    async fn tunnel_with(
        &self,
        config: ConfigBuilder<ServerConfig, WantsServerCert>,
        name: &str,
        registry: String,
    ) -> String {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
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
