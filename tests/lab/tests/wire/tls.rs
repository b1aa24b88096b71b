//! HTTPS: with the authority's certificate there are answers, without it there are none.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use fitsfs_lab::{CA, Lab};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// What a client that trusts these gets of an object.
fn get(lab: &Lab, trusted: RootCertStore) -> std::io::Result<String> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the default protocols")
        .with_root_certificates(trusted)
        .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a configuration");
    let mut stream = StreamOwned::new(connection, TcpStream::connect(("127.0.0.1", lab.port()))?);
    stream.write_all(b"GET /b/k HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    // The server closes the connection without saying so in TLS.
    let _ = stream.read_to_string(&mut answer);
    Ok(answer)
}

#[test]
fn https_is_for_those_who_trust_the_authority() {
    let lab = Lab::builder().tls().start().expect("a port");
    lab.put("b", "k", "hello");
    let mut trusted = RootCertStore::empty();
    assert!(get(&lab, trusted.clone()).is_err());
    trusted.add(CertificateDer::from_pem_slice(CA.as_bytes()).expect("a certificate")).expect("an authority");
    let answer = get(&lab, trusted).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    assert!(lab.endpoint().starts_with("https://localhost:"));
    assert_eq!(lab.connections(), 2);
}
