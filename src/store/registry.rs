//! Which stores there are: the scheme of a source's URL, and `STORAGE_BACKEND`, choose one of a table.
//!
//! A new store is a module beside `s3` that implements [`Scheme`], and one line of [`SCHEMES`].

use super::scheme::Scheme;
use super::{Result, StoreError, azure, gcs, s3};

/// The stores that there are.
static SCHEMES: [&dyn Scheme; 3] = [&s3::S3, &azure::AZURE, &gcs::GCS];

/// Schemes and backends that other programs know, so that their names are no secrets.
const OTHER_SCHEMES: [&str; 3] = ["http", "https", "file"];
const OTHER_BACKENDS: [&str; 1] = ["local"];

/// The scheme of this name, in lower or upper case.
pub(super) fn named(name: &str) -> Result<&'static dyn Scheme> {
    let name = name.to_ascii_lowercase();
    if let Some(scheme) = SCHEMES.into_iter().find(|scheme| scheme.name() == name) {
        return Ok(scheme);
    }
    Err(StoreError::invalid(match OTHER_SCHEMES.contains(&name.as_str()) {
        true => format!("{name}:// sources are not supported: {}", supported()),
        false => format!("unknown scheme in the source: {}", supported()),
    }))
}

/// The scheme that `STORAGE_BACKEND` names.
pub(super) fn of_backend(backend: &str) -> Result<&'static dyn Scheme> {
    if let Some(scheme) = SCHEMES.into_iter().find(|scheme| scheme.backend() == backend) {
        return Ok(scheme);
    }
    Err(StoreError::invalid(match OTHER_BACKENDS.contains(&backend) {
        true => format!("STORAGE_BACKEND={backend} is not supported: {}", supported()),
        false => format!("STORAGE_BACKEND is not a known backend: {}", supported()),
    }))
}

/// The backend where `STORAGE_BACKEND` names none.
pub(super) fn default_backend() -> &'static str {
    s3::BACKEND
}

/// What a source may be, for messages.
pub(super) fn supported() -> String {
    let forms: Vec<_> = SCHEMES.iter().map(|scheme| format!("{}[/prefix]", scheme.form())).collect();
    format!("this version supports one source of the form {}", forms.join(" or "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_store_has_a_scheme_and_a_backend_of_its_own() {
        let names: BTreeSet<_> = SCHEMES.iter().map(|scheme| scheme.name()).collect();
        let backends: BTreeSet<_> = SCHEMES.iter().map(|scheme| scheme.backend()).collect();
        assert_eq!((names.len(), backends.len()), (SCHEMES.len(), SCHEMES.len()));
        for scheme in SCHEMES {
            assert_eq!(named(&scheme.name().to_uppercase()).unwrap(), scheme);
            assert_eq!(of_backend(scheme.backend()).unwrap(), scheme);
            let begins = format!("{}://", scheme.name());
            assert!(scheme.form().starts_with(&begins), "{}", scheme.form());
        }
        assert!(of_backend(default_backend()).is_ok());
    }
}
