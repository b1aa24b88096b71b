//! HTTPS with a certificate that no system knows: for `localhost` and 127.0.0.1, by an authority of its own.

use std::io;
use std::sync::Arc;

use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The certificate of the authority, as PEM: whoever trusts it may speak with the server.
pub const CA: &str = include_str!("../tls/ca.pem");

const SERVER: &[u8] = include_bytes!("../tls/server.pem");
const KEY: &[u8] = include_bytes!("../tls/server.key");

pub(crate) fn config() -> io::Result<Arc<ServerConfig>> {
    let certificate = CertificateDer::from_pem_slice(SERVER).map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_slice(KEY).map_err(io::Error::other)?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![certificate], key));
    config.map(Arc::new).map_err(io::Error::other)
}
