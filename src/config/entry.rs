//! One source as it is asked for, by a word of the command line or by a table of a file, before the environment fills the
//! rest.

use std::cell::Cell;
use std::path::PathBuf;

use super::{MountSource, Wanted};
use crate::manifest::{self, Layout};
use crate::presets::{self, Preset};
use crate::store::{Result, SourceUrl, StoreError, StoreOptions};
use crate::tree::is_name;

/// A source that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is said, for messages; none on a command line, which shows it.
    origin: Option<String>,
    /// Where it is to be in the mount, if that is said: ending with `/`.
    pub(super) at: Option<String>,
    pub(super) what: What,
    pub(super) layout: Option<Layout>,
    pub(super) endpoint_url: Option<String>,
    pub(super) region: Option<String>,
    pub(super) profile: Option<String>,
    pub(super) env_prefix: Option<String>,
    pub(super) no_sign_request: Option<bool>,
    pub(super) requester_pays: Option<bool>,
    pub(super) path_style: Option<bool>,
}

/// What it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Url(SourceUrl),
    Preset(&'static Preset),
    List(PathBuf),
}

impl Entry {
    /// A source of which nothing else is said.
    pub(super) fn new(what: What) -> Self {
        Self {
            origin: None,
            at: None,
            what,
            layout: None,
            endpoint_url: None,
            region: None,
            profile: None,
            env_prefix: None,
            no_sign_request: None,
            requester_pays: None,
            path_style: None,
        }
    }

    /// The same with where it is said.
    pub(super) fn of(self, origin: String) -> Self {
        Self { origin: Some(origin), ..self }
    }

    /// The source of a word: `URL`, `NAME=URL`, a preset, or a list.
    pub(super) fn of_word(word: &str) -> Result<Self> {
        if let Some(preset) = presets::named(word) {
            return Ok(Self::new(What::Preset(preset)));
        }
        let (at, word) = place(word)?;
        let what = match !word.contains("://") && manifest::is_named(word) {
            true => What::List(PathBuf::from(word)),
            false => What::Url(SourceUrl::parse(word)?),
        };
        Ok(Self { at, ..Self::new(what) })
    }

    /// The URL of its store; none for a list.
    pub fn url(&self) -> Option<SourceUrl> {
        match &self.what {
            What::Url(url) => Some(url.clone()),
            What::Preset(preset) => SourceUrl::parse(preset.url).ok(),
            What::List(_) => None,
        }
    }

    /// Whether it is reached by what the command line says of endpoints.
    pub(super) fn has_no_endpoint(&self) -> bool {
        self.endpoint_url.is_none()
    }

    /// The source, with what the command line says of all of them and the environment. A preset beside others has a place
    /// of its own.
    pub fn resolve(
        &self,
        is_alone: bool,
        given: &StoreOptions,
        layout: Option<&Layout>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<MountSource> {
        let options = self.options(given);
        let wanted = match &self.what {
            What::Url(url) => {
                let options = self.with_own_variables(|env| url.resolve_options(options, env), env);
                options.map(|options| Wanted::Store { url: url.clone(), options })
            }
            What::Preset(preset) => preset.source(&options, env).map(|(url, options)| Wanted::Store { url, options }),
            What::List(path) => {
                let layout = self.layout.as_ref().or(layout).cloned();
                Ok(Wanted::List { path: path.clone(), layout, options })
            }
        };
        let at = match (&self.at, &self.what) {
            (Some(at), _) => at.clone(),
            (None, What::Preset(preset)) if !is_alone => format!("{}/", preset.name),
            (None, _) => String::new(),
        };
        Ok(MountSource { at, what: wanted.map_err(|error| self.locate(error))? })
    }

    /// What is resolved with the variables of this source. If it names those by a prefix, one must be set: else what the
    /// machine has for others would be tried. The stores of a list need not all have some.
    fn with_own_variables<T>(
        &self,
        resolve: impl FnOnce(&dyn Fn(&str) -> Option<String>) -> Result<T>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<T> {
        let Some(prefix) = &self.env_prefix else { return resolve(&env) };
        let found = Cell::new(false);
        let resolved = resolve(&|name| {
            let value = env(name).filter(|value| !value.is_empty());
            found.set(found.get() || value.is_some() && name.starts_with(prefix.as_str()));
            value
        });
        match found.get() {
            false if resolved.is_ok() => {
                let what = format!("no variable that this source needs is set with the prefix {prefix}");
                Err(StoreError::invalid(what))
            }
            _ => resolved,
        }
    }

    /// What is said of this source goes before what is said of all; and of credentials, all of them.
    fn options(&self, given: &StoreOptions) -> StoreOptions {
        let mut options = given.clone();
        let s3 = &mut options.s3;
        if self.endpoint_url.is_some() {
            (s3.endpoint_url, s3.path_style) = (self.endpoint_url.clone(), None);
        }
        s3.path_style = self.path_style.or(s3.path_style);
        s3.region = self.region.clone().or_else(|| s3.region.take());
        s3.requester_pays = self.requester_pays.unwrap_or(s3.requester_pays);
        if self.profile.is_some() || self.env_prefix.is_some() || self.no_sign_request.is_some() {
            s3.profile = self.profile.clone();
            s3.no_sign_request = self.no_sign_request.unwrap_or(false);
        }
        options.env_prefix = self.env_prefix.clone();
        options
    }

    fn locate(&self, error: StoreError) -> StoreError {
        match &self.origin {
            Some(origin) => StoreError::new(error.kind, format!("{origin}: {}", error.message)),
            None => error,
        }
    }
}

/// The place of a word, and the rest of it.
fn place(word: &str) -> Result<(Option<String>, &str)> {
    let is_source = |rest: &str| rest.contains("://") || manifest::is_named(rest);
    let is_place = |(name, rest): &(&str, &str)| !name.contains("://") && is_source(rest);
    let Some((name, rest)) = word.split_once('=').filter(is_place) else { return Ok((None, word)) };
    let name = name.trim_end_matches('/');
    if !name.split('/').all(is_name) {
        return Err(StoreError::invalid(
            "the place of a source is a path in the mount: NAME=URL, such as jwst=s3://bucket",
        ));
    }
    Ok((Some(format!("{name}/")), rest))
}
