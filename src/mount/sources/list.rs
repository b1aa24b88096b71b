//! A list of products as a source: its files, and the stores that they are in.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

use url::{Host, Url};

use super::Opener;
use crate::config::check_endpoint;
use crate::manifest::{self, Layout, Listed};
use crate::presets;
use crate::store::{Source, SourceUrl, StoreError, StoreOptions};
use crate::tree::manifest::File;

/// Where instances of Amazon are told their credentials by IPv6 (EC2 User Guide, "Instance metadata").
const AWS_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// More stores than these are a mistake in the list.
const MAX_STORES: usize = 64;

/// A list that was read.
pub struct List {
    /// The stores of its files, with their URLs.
    pub stores: Vec<(SourceUrl, Arc<Source>)>,
    /// The files.
    pub files: Vec<File>,
    /// What is wrong with rows, if something is.
    pub odd: Option<String>,
}

/// Reads a list, and opens the stores that its files are in.
pub async fn open(
    path: &Path,
    layout: Option<&Layout>,
    options: &StoreOptions,
    opener: &Opener<'_>,
) -> Result<List, String> {
    let (read_path, layout) = (path.to_owned(), layout.cloned());
    let read = tokio::task::spawn_blocking(move || manifest::read(&read_path, layout.as_ref())).await;
    let mut list = read.map_err(|_| "reading the list ended by a bug of fitsfs".to_owned())??;
    let (mut stores, mut files) = (Vec::new(), Vec::new());
    for listed in std::mem::take(&mut list.files) {
        let (url, key) = match allowed(&listed, opener.config.local_lists, &opener.config.mountpoint) {
            Ok(object) => object,
            Err(error) => {
                list.note(format!("{}: {error}", listed.path));
                continue;
            }
        };
        let place = match stores.iter().position(|(known, _)| *known == url) {
            Some(place) => place,
            None if stores.len() == MAX_STORES => {
                return Err(format!("the list {} names more than {MAX_STORES} stores", path.display()));
            }
            None => {
                let opened = async { opener.store(&url, &options_for(&url, options)?).await };
                let opened = opened.await.map_err(|error| super::refuse(&url, &error))?;
                stores.push((url, opened));
                stores.len() - 1
            }
        };
        files.push(File { path: listed.path.into(), place, key: key.into(), size: listed.size });
    }
    check_endpoint(options, stores.iter().map(|(url, _)| url)).map_err(|error| error.to_string())?;
    let first = list.first_odd.unwrap_or_default();
    if files.is_empty() {
        return Err(format!("the list {}: no row names a file that can be mounted: {first}", path.display()));
    }
    let odd = (list.odd > 0).then(|| format!("{} rows are not as they should be; the first: {first}", list.odd));
    Ok(List { stores, files, odd })
}

/// The store and the key of a file. A list may come from anywhere: it does not decide what of this machine, or of the
/// services that only this machine can reach, is shown to its users: the command line does.
fn allowed(listed: &Listed, is_trusted: bool, mountpoint: &Path) -> Result<(SourceUrl, String), StoreError> {
    let (url, key) = SourceUrl::parse_object(&listed.url)?;
    let is_of_this_machine = || Url::parse(&listed.url).is_ok_and(|url| url.host().is_some_and(is_of_this_machine));
    if !is_trusted && (url.folder().is_some() || is_of_this_machine()) {
        return Err(StoreError::invalid(
            "a list may name no local files, and no services of this machine or its link, without --local-lists",
        ));
    }
    if let Some(folder) = url.folder()
        && folder.join(&key).starts_with(mountpoint)
    {
        return Err(StoreError::invalid("a file below the mountpoint would be in itself"));
    }
    Ok((url, key))
}

fn is_of_this_machine(host: Host<&str>) -> bool {
    let v4 = |address: Ipv4Addr| address.is_loopback() || address.is_link_local() || address.is_unspecified();
    let v6 = |address: Ipv6Addr| {
        address.is_loopback()
            || address.is_unspecified()
            || address.is_unicast_link_local()
            || address == AWS_METADATA
            || address.to_ipv4_mapped().is_some_and(v4)
    };
    match host {
        Host::Ipv4(address) => v4(address),
        Host::Ipv6(address) => v6(address),
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost") || name == "metadata.google.internal"
        }
    }
}

/// How to reach a store: as a public archive, if it is one.
fn options_for(url: &SourceUrl, given: &StoreOptions) -> Result<StoreOptions, StoreError> {
    let env = |name: &str| std::env::var(name).ok();
    let is_of = |preset: &&presets::Preset| SourceUrl::parse(preset.url).is_ok_and(|other| other.is_in_store_of(url));
    match presets::PRESETS.iter().find(is_of) {
        Some(preset) => preset.source(given, env).map(|(_, options)| options),
        None => url.resolve_options(given.clone(), env),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_nothing_of_this_machine() {
        let allowed = |url: &str, is_trusted| {
            let listed = Listed { path: "x".to_owned(), url: url.to_owned(), size: None };
            allowed(&listed, is_trusted, Path::new("/mnt")).map(|(_, key)| key)
        };
        assert_eq!(allowed("s3://bucket/d/x.fits", false).unwrap(), "d/x.fits");
        assert!(allowed("file:///etc/shadow", false).is_err() && allowed("http://127.0.0.1/x", false).is_err());
        assert!(allowed("s3://bucket", true).is_err() && allowed("file:///", true).is_err());
        assert_eq!(allowed("file:///data/x.fits", true).unwrap(), "data/x.fits");
        assert!(allowed("file:///mnt/d/x.fits", true).is_err(), "it would be in itself");
        let of_this_machine = |url: &str| is_of_this_machine(Url::parse(url).unwrap().host().unwrap());
        for url in [
            "http://169.254.169.254/x",
            "http://127.0.0.1/x",
            "http://localhost/x",
            "http://[fe80::1]/x",
            "http://localhost./x",
            "http://[fd00:ec2::254]/x",
            "http://0/x",
        ] {
            assert!(of_this_machine(url), "{url}");
        }
        assert!(!of_this_machine("https://mast.stsci.edu/x") && !of_this_machine("http://10.0.0.1/x"));
    }

    #[test]
    fn public_archives_are_reached_as_such() {
        let url = SourceUrl::parse("s3://nasa-irsa-wise").unwrap();
        let options = options_for(&url, &StoreOptions::default()).unwrap();
        assert!(options.s3.no_sign_request && options.s3.region.as_deref() == Some("us-west-2"));
    }
}
