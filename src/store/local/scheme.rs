//! Local folders as one of the stores that there are: `file:///dir`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use super::LocalStore;
use crate::store::scheme::{Env, Place, Scheme};
use crate::store::{
    Check, Diagnosis, ErrorKind, ObjectMeta, Question, Reached, Result, Store, StoreError, StoreOptions,
};

/// The scheme `file://`.
#[derive(Debug)]
pub(in crate::store) struct Local;

/// A folder that is asked why it cannot be mounted.
struct LocalDiagnosis(LocalStore);

#[async_trait]
impl Scheme for Local {
    fn name(&self) -> &'static str {
        "file"
    }

    fn backend(&self) -> &'static str {
        "local"
    }

    fn form(&self) -> &'static str {
        "file:///dir"
    }

    fn root_word(&self) -> &'static str {
        "folder"
    }

    /// All of it is the folder: a store of its own, from which nothing leads out.
    fn split(&self, rest: &str) -> Result<Place> {
        place(rest)
    }

    /// A file by itself is one of all that there are.
    fn split_object(&self, rest: &str) -> Result<Place> {
        let file = place(rest)?.root;
        Ok(Place { root: "/".to_owned(), path: file.trim_start_matches('/').to_owned() })
    }

    fn of_env(&self, env: Env<'_>) -> Result<Place> {
        let get = |name: &str| env(name).filter(|value| !value.is_empty());
        let Some(folder) = get("STORAGE_BUCKET") else {
            return Err(StoreError::invalid("no source: name one as file:///dir, or set STORAGE_BUCKET to a folder"));
        };
        place(&format!("{}/{}", folder.trim_end_matches('/'), get("STORAGE_PREFIX").unwrap_or_default()))
    }

    fn resolve(&self, options: StoreOptions, _env: Env<'_>) -> Result<StoreOptions> {
        Ok(options)
    }

    fn folder(&self, root: &str) -> Option<PathBuf> {
        Some(PathBuf::from(root))
    }

    fn remedy_of_options(&self, error: &StoreError) -> &'static str {
        match error.kind {
            ErrorKind::NotFound => "check the path; a folder of a container is not one of its host",
            ErrorKind::AccessDenied => "mount as a user that may read the folder",
            _ => "see fitsfs mount --help",
        }
    }

    fn remedy_of_mount(&self, error: &StoreError) -> &'static str {
        match error.kind {
            ErrorKind::NotFound => "; check the path; a folder of a container is not one of its host",
            ErrorKind::AccessDenied => "; mount as a user that may read the folder",
            _ => "",
        }
    }

    async fn open(&self, folder: &str, _options: &StoreOptions) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(opened(folder).await?))
    }

    async fn diagnose(&self, folder: &str, _options: &StoreOptions) -> Result<Box<dyn Diagnosis>> {
        Ok(Box::new(LocalDiagnosis(opened(folder).await?)))
    }
}

async fn opened(folder: &str) -> Result<LocalStore> {
    let folder = folder.to_owned();
    let opened = tokio::task::spawn_blocking(move || LocalStore::open(Path::new(&folder))).await;
    opened.unwrap_or_else(|_| Err(StoreError::new(ErrorKind::Server, "opening the folder ended by a bug of fitsfs")))
}

fn place(folder: &str) -> Result<Place> {
    if !folder.starts_with('/') {
        return Err(StoreError::invalid("the path of a folder is absolute: file:///dir"));
    }
    let trimmed = folder.trim_end_matches('/');
    let root = if trimmed.is_empty() { "/" } else { trimmed };
    Ok(Place { root: root.to_owned(), path: String::new() })
}

#[async_trait]
impl Diagnosis for LocalDiagnosis {
    fn store(&self) -> &dyn Store {
        &self.0
    }

    async fn reach(&mut self) -> Reached {
        Reached { checks: vec![Check::ok("folder", format!("{} is there", self.0.id()))], answers: true }
    }

    fn learnt(&self) -> Vec<Check> {
        Vec::new()
    }

    async fn versions(&self, _object: &ObjectMeta) -> Check {
        Check::ok("versions", "files are told apart by their inode and times, to the nanosecond")
    }

    fn remedy(&self, _question: Question, error: &StoreError) -> &'static str {
        Local.remedy_of_options(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_absolute_and_its_end_does_not_count() {
        let root = |rest: &str| Local.split(rest).map(|place| place.root);
        assert_eq!(root("/data/hst/").unwrap(), "/data/hst");
        assert_eq!(root("/data/a%20b").unwrap(), "/data/a%20b");
        assert_eq!(root("/").unwrap(), "/");
        assert!(root("data").is_err() && root("").is_err());
        let env = |name: &str| match name {
            "STORAGE_BUCKET" => Some("/data/".to_owned()),
            "STORAGE_PREFIX" => Some("hst/public".to_owned()),
            _ => None,
        };
        assert_eq!(Local.of_env(&env).unwrap().root, "/data/hst/public");
        assert!(Local.of_env(&|_| None).is_err());
    }
}
