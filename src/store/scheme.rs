//! What tells one kind of store from another before a source of it is opened: its URLs, its variables, its options.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Diagnosis, Restorer, Result, Store, StoreError, StoreOptions};

/// Looks up a variable of the environment.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A kind of store.
#[async_trait]
pub(super) trait Scheme: fmt::Debug + Sync {
    /// What its URLs begin with, in lower case.
    fn name(&self) -> &'static str;

    /// What `STORAGE_BACKEND` calls it.
    fn backend(&self) -> &'static str;

    /// How the root of a source is written: a URL without prefix.
    fn form(&self) -> &'static str;

    /// What the root of a source is, in a word.
    fn root_word(&self) -> &'static str;

    /// Splits what follows `scheme://` into the root, which is checked, and the raw path in it.
    fn split(&self, rest: &str) -> Result<Place>;

    /// The same of the URL of an object, where that means something else than the URL of what is mounted.
    fn split_object(&self, rest: &str) -> Result<Place> {
        self.split(rest)
    }

    /// Whether URLs of folders end with a slash, and those of files do not.
    fn has_slash_after_folders(&self) -> bool {
        false
    }

    /// A root for people, where it may hold what is not shown.
    fn shown_root<'a>(&self, root: &'a str) -> Cow<'a, str> {
        root.into()
    }

    /// The scheme that the environment means, where a backend has several.
    fn in_env(&self, _env: Env<'_>) -> Option<&'static dyn Scheme> {
        None
    }

    /// The source that `STORAGE_BUCKET`, `STORAGE_PREFIX` and what else belongs to the backend name. An empty variable
    /// counts as unset.
    fn of_env(&self, env: Env<'_>) -> Result<Place>;

    /// Fills what this store's options leave open from the environment, and checks them. Those of others stay as they
    /// are: only the credentials that a source needs are looked for.
    fn resolve(&self, options: StoreOptions, env: Env<'_>) -> Result<StoreOptions>;

    /// The folder of this machine that a root is, if it is one.
    fn folder(&self, _root: &str) -> Option<PathBuf> {
        None
    }

    /// What to do about options with which no store can be opened.
    fn remedy_of_options(&self, error: &StoreError) -> &'static str;

    /// What to do about an error that prevents a mount, after a semicolon; nothing where the error says it all.
    fn remedy_of_mount(&self, error: &StoreError) -> &'static str;

    /// Opens the store at a root. Sends no request.
    async fn open(&self, root: &str, options: &StoreOptions) -> Result<Arc<dyn Store>>;

    /// The same for `fitsfs check`.
    async fn diagnose(&self, root: &str, options: &StoreOptions) -> Result<Box<dyn Diagnosis>>;

    /// The same for `fitsfs restore`.
    async fn restorer(&self, _root: &str, _options: &StoreOptions) -> Result<Box<dyn Restorer>> {
        let name = self.name();
        Err(StoreError::invalid(format!(
            "nothing to restore: files of {name}:// can be read at once, whatever their class"
        )))
    }
}

/// Schemes are the same if their names are.
impl PartialEq for dyn Scheme {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for dyn Scheme {}

/// A place in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// What is opened as one store, such as a bucket.
    pub root: String,
    /// A raw prefix or key in it.
    pub path: String,
}
