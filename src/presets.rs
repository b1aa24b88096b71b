//! Public archives by name: `fitsfs mount mast`.
//!
//! All of them can be read without an account (Registry of Open Data on AWS). What a preset says of its bucket is a fact
//! of the archive, so it goes before what the environment says of buckets of the user's own.

use serde::Serialize;

use crate::store::{Result, SourceUrl, StoreOptions};

/// A public archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Preset {
    /// What it is called, and its place beside other sources.
    pub name: &'static str,
    /// Where it is.
    pub url: &'static str,
    /// The region of its bucket.
    pub region: &'static str,
    /// What is in it.
    pub holds: &'static str,
    /// Where the fact is from.
    pub from: &'static str,
}

/// The Registry of Open Data on AWS, awslabs/open-data-registry of 2026-08-19.
const REGISTRY: &str = "Registry of Open Data on AWS";

const fn preset(name: &'static str, url: &'static str, region: &'static str, holds: &'static str) -> Preset {
    Preset { name, url, region, holds, from: REGISTRY }
}

/// All of them.
pub const PRESETS: &[Preset] = &[
    preset("mast", "s3://stpubdata", "us-east-1", "all of MAST's public data"),
    preset("hst", "s3://stpubdata/hst/public", "us-east-1", "Hubble"),
    preset("jwst", "s3://stpubdata/jwst/public", "us-east-1", "James Webb"),
    preset("tess", "s3://stpubdata/tess/public", "us-east-1", "TESS"),
    preset("hlsp", "s3://stpubdata/mast/hlsp", "us-east-1", "high-level science products of MAST"),
    Preset {
        from: "spacetelescope/roman_notebooks",
        ..preset("roman", "s3://stpubdata/roman/nexus", "us-east-1", "Roman simulations")
    },
    preset("irsa-euclid", "s3://nasa-irsa-euclid-q1/q1", "us-east-1", "Euclid Q1"),
    preset("irsa-spherex", "s3://nasa-irsa-spherex/qr2", "us-east-1", "SPHEREx"),
    preset("irsa-openuniverse", "s3://nasa-irsa-simulations/openuniverse2024", "us-east-1", "OpenUniverse 2024"),
    preset("irsa-spitzer", "s3://nasa-irsa-spitzer/spitzer/seip", "us-west-2", "Spitzer SEIP"),
    preset("irsa-wise", "s3://nasa-irsa-wise", "us-west-2", "WISE and unWISE"),
    preset("heasarc", "s3://nasa-heasarc", "us-east-1", "HEASARC"),
    preset("lambda", "s3://nasa-lambda", "us-west-2", "LAMBDA"),
    preset("askap-racs", "s3://askap-odp/racs-low1", "ap-southeast-2", "ASKAP RACS"),
    preset("lofar-elais-n1", "s3://lofar-elais-n1", "us-east-1", "LOFAR ELAIS-N1"),
];

/// The preset of this name.
pub fn named(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

impl Preset {
    /// Its source, and how to reach it: unsigned, in its region, by no endpoint but one that is given as an option.
    pub fn source(
        &self,
        given: &StoreOptions,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<(SourceUrl, StoreOptions)> {
        let url = SourceUrl::parse(self.url)?;
        let mut options = given.clone();
        (options.s3.region, options.s3.no_sign_request) = (Some(self.region.to_owned()), true);
        options.s3.ignore_configured_endpoints = true;
        let env = |name: &str| env(name).filter(|_| !name.ends_with("ENDPOINT_URL"));
        let options = url.resolve_options(options, env)?;
        Ok((url, options))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn presets_are_sources_with_names_of_their_own() {
        let names: BTreeSet<_> = PRESETS.iter().map(|preset| preset.name).collect();
        assert_eq!(names.len(), PRESETS.len());
        for preset in PRESETS {
            let (url, options) = preset.source(&StoreOptions::default(), |_| None).unwrap();
            assert_eq!(url.to_string().trim_end_matches('/'), preset.url);
            assert_eq!(options.s3.region.as_deref(), Some(preset.region));
            assert!(options.s3.no_sign_request && named(preset.name) == Some(preset));
        }
    }

    /// An application has the endpoint of its own buckets in its environment.
    #[test]
    fn the_environment_leads_no_preset_elsewhere() {
        let env = |name: &str| match name {
            "S3_ENDPOINT_URL" | "AWS_ENDPOINT_URL" | "AWS_ENDPOINT_URL_S3" => Some("http://minio:9000".to_owned()),
            "AWS_REGION" => Some("eu-central-1".to_owned()),
            _ => None,
        };
        let (_, options) = named("irsa-wise").unwrap().source(&StoreOptions::default(), env).unwrap();
        assert_eq!((options.s3.endpoint_url, options.s3.region.as_deref()), (None, Some("us-west-2")));
    }
}
