//! Settings of a profile that boto3 and the AWS CLI honour and the SDK does not read.

use std::path::PathBuf;

use aws_config::profile::{Profile, load};
use aws_runtime::env_config::file::EnvConfigFiles;
use aws_types::os_shim_internal::{Env, Fs};

/// What the profile says; nothing where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// `ca_bundle`
    pub(super) ca_bundle: Option<PathBuf>,
    /// `addressing_style` of `s3`: `path` (`true`) or `virtual` (`false`); `auto` is as if it were not there.
    pub(super) path_style: Option<bool>,
    /// `ignore_configured_endpoint_urls`
    pub(super) ignore_endpoints: bool,
}

impl Settings {
    /// Reads the profile of this name, or the one that the environment names. Files that cannot be read or parsed are
    /// reported when credentials are looked for in them.
    pub(super) async fn read(name: Option<&str>) -> Self {
        let name = name.map(|name| name.to_owned().into());
        let Ok(profiles) = load(&Fs::real(), &Env::real(), &EnvConfigFiles::default(), name).await else {
            return Self::default();
        };
        profiles.get_profile(profiles.selected_profile()).map(Self::of).unwrap_or_default()
    }

    fn of(profile: &Profile) -> Self {
        let given = |name: &str| profile.get(name).map(str::trim).filter(|value| !value.is_empty());
        let style = given("s3").and_then(|section| nested(section, "addressing_style"));
        Self {
            ca_bundle: given("ca_bundle").map(PathBuf::from),
            path_style: style.filter(|style| matches!(*style, "path" | "virtual")).map(|style| style == "path"),
            ignore_endpoints: given("ignore_configured_endpoint_urls").is_some_and(|v| v.eq_ignore_ascii_case("true")),
        }
    }
}

/// A value of the indented lines below a setting.
fn nested<'a>(section: &'a str, name: &str) -> Option<&'a str> {
    let pairs = section.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.trim(), value.trim())).find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn settings(config: &str) -> Settings {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), config).unwrap();
        let kind = aws_runtime::env_config::file::EnvConfigFileKind::Config;
        let files = EnvConfigFiles::builder().with_file(kind, file.path()).build();
        let profiles = load(&Fs::real(), &Env::real(), &files, Some("mine".into())).await.unwrap();
        Settings::of(profiles.get_profile("mine").unwrap())
    }

    #[tokio::test]
    async fn what_a_profile_says_is_found() {
        let found = settings(
            "[profile mine]\nca_bundle = /etc/institute.pem\ns3 =\n  max_concurrent_requests = 20\n  \
             addressing_style = virtual\nignore_configured_endpoint_urls = TRUE\n",
        );
        let expected =
            Settings { ca_bundle: Some("/etc/institute.pem".into()), path_style: Some(false), ignore_endpoints: true };
        assert_eq!(found.await, expected);
        assert_eq!(settings("[profile mine]\ns3 =\n  addressing_style = auto\n").await, Settings::default());
        assert_eq!(settings("[profile mine]\ns3 =\n  addressing_style = path\n").await.path_style, Some(true));
    }
}
