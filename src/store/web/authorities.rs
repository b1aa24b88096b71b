//! Which certificates are trusted: those of the system's authorities, or those of a file that the user names, which
//! replaces the system's.

use std::path::Path;

use aws_smithy_http_client::tls::{TlsContext, TrustStore};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::store::{ErrorKind, Result, StoreError};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// What a connection demands of certificates; `named_by` says for messages where the file is named.
pub fn context(bundle: Option<&Path>, named_by: &str) -> Result<TlsContext> {
    let trusted = bundle.map_or_else(|| Ok(TrustStore::default()), |path| read(path, named_by))?;
    let unusable = |error| StoreError::new(ErrorKind::Invalid, format!("TLS cannot be set up: {error}"));
    TlsContext::builder().with_trust_store(trusted).build().map_err(unusable)
}

fn read(path: &Path, named_by: &str) -> Result<TrustStore> {
    let invalid = |what: String| {
        let message = format!("the CA bundle {path:?} (of {named_by}) {what}");
        StoreError::new(ErrorKind::Invalid, message)
    };
    let text = std::fs::read(path).map_err(|error| invalid(format!("cannot be read: {error}")))?;
    let mut trusted = TrustStore::empty();
    let mut count = 0;
    for pem in certificates(&String::from_utf8_lossy(&text)).filter(|pem| is_usable(pem)) {
        trusted.add_pem_certificate(pem);
        count += 1;
    }
    if count == 0 { Err(invalid("holds no certificate in PEM".to_owned())) } else { Ok(trusted) }
}

/// The certificates of a bundle; what is written between them is for people.
fn certificates(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(END).filter_map(|part| part.ends_with(END).then(|| part.find(BEGIN).map(|at| &part[at..]))?)
}

/// The SDK takes it for granted that certificates can be parsed. Bundles of institutes may hold some that cannot: one
/// of those is no reason to distrust the others.
fn is_usable(pem: &str) -> bool {
    let usable = CertificateDer::from_pem_slice(pem.as_bytes())
        .is_ok_and(|certificate| RootCertStore::empty().add(certificate).is_ok());
    if !usable {
        tracing::warn!("a certificate of the CA bundle cannot be parsed, and does not count");
    }
    usable
}

#[cfg(test)]
mod tests {
    use super::*;

    const CA: &str = include_str!("../../../tests/lab/tls/ca.pem");

    #[test]
    fn a_bundle_is_all_the_certificates_that_can_be_parsed() {
        let text = format!("Institute\n{CA}\n{BEGIN}\nbm9uZQ==\n{END}\nand {BEGIN} that does not end");
        let found: Vec<_> = certificates(&text).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found.iter().map(|pem| is_usable(pem)).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn a_bundle_that_cannot_be_used_is_told_with_its_path() {
        let empty = tempfile::NamedTempFile::new().unwrap();
        for (path, what) in [(Path::new("/no/such.pem"), "cannot be read"), (empty.path(), "no certificate in PEM")] {
            let error = context(Some(path), "A_VARIABLE").unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid);
            assert!(error.message.contains(what) && error.message.contains(path.to_str().unwrap()), "{error}");
        }
    }
}
