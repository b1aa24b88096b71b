//! Extended attributes: where a file comes from, and what is in it.
//!
//! They are readable by name and not listed, since programs that copy files copy every attribute that is listed.

use crate::gunzip;
use crate::store::Object;

/// The attribute that holds the map of HDUs, or of the blocks of an ASDF file; it and [`ARCHIVE`] may cost requests.
pub const LAYOUT: &str = "user.fitsfs.layout";

/// The attribute that tells how many bytes of a file are in the cache on disk.
pub const CACHED: &str = "user.fitsfs.cached";

/// The attribute that tells whether a file in an archive can be read.
pub const ARCHIVE: &str = "user.fitsfs.archive";

/// The attribute that tells where a file comes from.
pub const URL: &str = "user.fitsfs.url";

/// The attribute that tells its store from those of other endpoints, which URLs do not.
pub const STORE: &str = "user.fitsfs.store";

/// The attribute with its version id.
pub const VERSION: &str = "user.fitsfs.version";

/// The attribute with its storage class.
pub const STORAGE_CLASS: &str = "user.fitsfs.storage_class";

const ETAG: &str = "user.fitsfs.etag";

/// Whether an attribute is of a version of an object, as its store tells it.
pub fn is_of_version(name: &str) -> bool {
    matches!(name, ARCHIVE | CACHED | VERSION | STORAGE_CLASS | ETAG)
}

/// The value of an attribute that needs no request; none if the file does not have it.
pub fn value(object: &Object, name: &str) -> Option<Vec<u8>> {
    let meta = &object.meta;
    match name {
        URL => Some(object.url().into_bytes()),
        STORE => Some(gunzip::outer_store(object.source.store.id()).as_bytes().to_vec()),
        ETAG => meta.version.etag.as_deref().map(|etag| etag.as_bytes().to_vec()),
        VERSION => meta.version.id.as_deref().map(|id| id.as_bytes().to_vec()),
        STORAGE_CLASS => Some(meta.storage_class.as_ref().map_or("STANDARD", |class| &class.name).as_bytes().to_vec()),
        _ => None,
    }
}
