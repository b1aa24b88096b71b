//! The options, as users write them.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand};

use crate::manifest::Layout;
use crate::store::{RestoreTier, S3Options, StoreOptions};

/// Where a mount goes that is not told where to go.
pub const DEFAULT_MOUNTPOINT: &str = "/app/data/mast";

/// Mount object stores as local directories of FITS files.
#[derive(Parser, Debug)]
#[command(name = "fitsfs", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Mount sources; returns when programs can use them
    Mount(MountArgs),
    /// Take a mount away
    #[command(visible_alias = "umount")]
    Unmount(UnmountArgs),
    /// Show what mounts do: requests, bytes, hit rates, errors
    Status(StatusArgs),
    /// Show what was read and fetched of which file, when and why, as text or as a picture
    Trace(TraceArgs),
    /// Show where the HDUs of a FITS file are, or the blocks of an ASDF file
    Layout(LayoutArgs),
    /// Fetch files into the cache of their mount, so that reading them needs no network
    Warm(WarmArgs),
    /// Make archived files readable (S3 Glacier and the like, the tier Archive of Azure); the store charges for it
    Restore(RestoreArgs),
    /// Show, check or clear what is kept on disk
    Cache(CacheArgs),
    /// Find out why a source cannot be mounted, and what to do about it
    Check(CheckArgs),
    /// List public archives that can be mounted by name
    Presets(PresetsArgs),
    /// Print the path of an object in the mounts that there are
    Path(PathArgs),
    /// Print the URL of a file in a mount
    Url(UrlArgs),
}

/// How to reach S3.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "S3")]
pub struct S3Args {
    /// Another S3 endpoint than AWS's [env: S3_ENDPOINT_URL, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL]
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,
    /// Region of the bucket; found by itself if left out [env: AWS_REGION]
    #[arg(long)]
    region: Option<String>,
    /// Profile of the AWS configuration files [env: AWS_PROFILE]
    #[arg(long)]
    profile: Option<String>,
    /// Do not sign requests: for public buckets
    #[arg(long)]
    no_sign_request: bool,
    /// Agree to pay for requests to a requester-pays bucket
    #[arg(long)]
    requester_pays: bool,
    /// Name the bucket in the path of requests; chosen by itself for other endpoints than Amazon's
    #[arg(long)]
    path_style: bool,
    /// Name the bucket in the host of requests; chosen by itself for Amazon's endpoints
    #[arg(long, conflicts_with = "path_style")]
    virtual_host_style: bool,
}

impl S3Args {
    /// The options as given.
    pub fn options(self) -> StoreOptions {
        StoreOptions::from(S3Options {
            endpoint_url: self.endpoint_url,
            region: self.region,
            profile: self.profile,
            no_sign_request: self.no_sign_request,
            requester_pays: self.requester_pays,
            path_style: self.path_style.then_some(true).or(self.virtual_host_style.then_some(false)),
            ..S3Options::default()
        })
    }
}

/// `fitsfs mount`
#[derive(Args, Debug)]
pub struct MountArgs {
    /// SOURCEs and MOUNTPOINT. A source is a URL (s3://bucket[/prefix], az://account/container, gs://bucket,
    /// https://host/path/, file:///dir), NAME=URL for one at a place of its own, a preset such as mast, a list of
    /// products such as products.csv, or a file of sources such as sources.toml; of several the first wins. The mountpoint is
    /// last, and begins with / or . (default: what STORAGE_BUCKET names, /app/data/mast)
    #[arg(value_name = "SOURCE | MOUNTPOINT")]
    pub places: Vec<String>,
    /// Mount read-only (this is the default)
    #[arg(long)]
    pub read_only: bool,
    /// The paths of the files of a list, made of its columns, such as {obs_id}/{productFilename} (default: their names)
    #[arg(long, value_name = "PATTERN")]
    pub layout: Option<Layout>,
    /// Let lists name files and services of this machine: only lists that you trust
    #[arg(long)]
    pub local_lists: bool,
    /// Show buckets that keep versions as they were at this time: 2026-01-31T00:00Z, or a day, which begins in UTC
    #[arg(long, value_name = "TIME", value_parser = super::time::past)]
    pub at: Option<SystemTime>,
    /// Memory for data on its way to programs
    #[arg(long, value_name = "SIZE", default_value = "512MiB")]
    pub memory: ByteSize,
    /// The most bytes of files to fetch in the life of the mount; then what is not in the cache fails with EDQUOT
    #[arg(long, value_name = "SIZE")]
    pub budget_bytes: Option<ByteSize>,
    /// The most requests to send in the life of the mount, of all kinds
    #[arg(long, value_name = "N")]
    pub budget_requests: Option<u64>,
    /// How long remembered names and attributes are valid
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub metadata_ttl: Duration,
    /// Where to keep what was fetched, for later mounts too (default: $XDG_CACHE_HOME/fitsfs, /var/cache/fitsfs for root, or
    /// ~/.cache/fitsfs)
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// How much to keep there; 0 keeps nothing
    #[arg(long, value_name = "SIZE", default_value = "10GiB")]
    pub cache_size: ByteSize,
    /// Let the group of the cache directory use it, too: only if all of them are trusted
    #[arg(long)]
    pub cache_shared: bool,
    /// Serve what is in the cache and ask the network for nothing
    #[arg(long)]
    pub offline: bool,
    /// Show what is in gzip files beside them: x.fits beside x.fits.gz
    #[arg(long)]
    pub gunzip: bool,
    /// Let other users use the mount
    #[arg(long)]
    pub allow_other: bool,
    /// Owner of the files (default: you)
    #[arg(long)]
    pub uid: Option<u32>,
    /// Group of the files (default: yours)
    #[arg(long)]
    pub gid: Option<u32>,
    /// Permission bits to take away, octal
    #[arg(long, default_value = "022", value_parser = octal)]
    pub umask: u16,
    /// Stay in the foreground: for systemd and containers
    #[arg(long)]
    pub foreground: bool,
    /// What to log: error, warn, info, debug, or a tracing filter such as fitsfs::read=trace
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub log: String,
    /// Where a background mount logs; set by the command that starts it.
    #[arg(long, hide = true, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    // Last, because what follows would come under its heading.
    #[command(flatten)]
    pub s3: S3Args,
}

/// `fitsfs unmount`
#[derive(Args, Debug)]
pub struct UnmountArgs {
    /// Where it is mounted
    #[arg(default_value = DEFAULT_MOUNTPOINT)]
    pub mountpoint: PathBuf,
}

/// `fitsfs status`
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// Where it is mounted (default: all mounts)
    pub mountpoint: Option<PathBuf>,
    /// Print JSON, also to a terminal (to a pipe it is the default)
    #[arg(long)]
    pub json: bool,
    /// Show it anew every second
    #[arg(long)]
    pub watch: bool,
}

/// `fitsfs trace`
#[derive(Args, Debug)]
pub struct TraceArgs {
    /// The mount (default: the only one there is), and files or folders in it (default: all)
    #[arg(value_name = "MOUNTPOINT | PATH")]
    pub places: Vec<PathBuf>,
    /// Draw a picture into this file (- is standard output)
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Print JSON, also to a terminal (to a pipe it is the default)
    #[arg(long)]
    pub json: bool,
    /// Begin anew: forget all that was recorded, of all files, once this is shown
    #[arg(long)]
    pub clear: bool,
}

/// `fitsfs layout`
#[derive(Args, Debug)]
pub struct LayoutArgs {
    /// A FITS or ASDF file: a path, in a mount or not, or a URL such as s3://bucket/key
    #[arg(value_name = "PATH | URL")]
    pub file: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub s3: S3Args,
}

/// `fitsfs warm`
#[derive(Args, Debug)]
pub struct WarmArgs {
    /// Files, or folders with all that is in them, in mounts of fitsfs
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// Fetch only the headers, of FITS and ASDF files
    #[arg(long)]
    pub headers: bool,
    /// How many files, or parts of large ones, to fetch at once (default: 8)
    #[arg(long, value_name = "N", default_value = "8", hide_default_value = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
    /// Print JSON, also to a terminal (to a pipe it is the default)
    #[arg(long)]
    pub json: bool,
}

/// `fitsfs restore`
#[derive(Args, Debug)]
pub struct RestoreArgs {
    /// Files, or folders with all that is in them, in mounts of fitsfs; or URLs such as s3://bucket/key, or s3://bucket/prefix/
    /// for all that is below
    #[arg(value_name = "PATH | URL", required = true)]
    pub places: Vec<String>,
    /// For how many days the files are to be readable, where the store keeps a copy for that time (default: 7 on S3)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub days: Option<u16>,
    /// How fast: standard (hours), bulk (cheapest) or expedited (minutes); standard if not said
    #[arg(long, value_name = "TIER", default_value = "standard", hide_default_value = true)]
    pub tier: RestoreTier,
    /// Wait until the files can be read
    #[arg(long)]
    pub wait: bool,
    /// Print JSON, a line for each file whose state is known or has changed, also to a terminal (to a pipe it is the default)
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub s3: S3Args,
}

/// `fitsfs cache`
#[derive(Args, Debug)]
pub struct CacheArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: CacheCommand,
}

/// What can be done about the cache.
#[derive(Subcommand, Debug)]
pub enum CacheCommand {
    /// Show what is there of which file, and when it was used
    List(CacheListArgs),
    /// Check all that is there; what is damaged is forgotten, and fetched again
    Verify(CacheVerifyArgs),
    /// Evict what is there, of all files or some
    Clear(CacheClearArgs),
}

/// Where the cache is.
#[derive(Args, Debug)]
pub struct CachePlace {
    /// Where the cache is (default: $XDG_CACHE_HOME/fitsfs, /var/cache/fitsfs for root, ~/.cache/fitsfs)
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
}

/// `fitsfs cache list`
#[derive(Args, Debug)]
pub struct CacheListArgs {
    /// Only keys that contain one of these; * stands for anything
    #[arg(value_name = "PATTERN")]
    pub patterns: Vec<String>,
    #[command(flatten)]
    pub place: CachePlace,
    /// Print JSON, also to a terminal (to a pipe it is the default)
    #[arg(long)]
    pub json: bool,
}

/// `fitsfs cache verify`
#[derive(Args, Debug)]
pub struct CacheVerifyArgs {
    #[command(flatten)]
    pub place: CachePlace,
    /// Print JSON, also to a terminal (to a pipe it is the default)
    #[arg(long)]
    pub json: bool,
}

/// `fitsfs cache clear`
#[derive(Args, Debug)]
pub struct CacheClearArgs {
    /// Only keys that contain one of these; * stands for anything
    #[arg(value_name = "PATTERN")]
    pub patterns: Vec<String>,
    #[command(flatten)]
    pub place: CachePlace,
}

/// `fitsfs check`
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// What to check: sources as of fitsfs mount (default: what STORAGE_BUCKET names)
    pub source: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub s3: S3Args,
}

/// `fitsfs presets`
#[derive(Args, Debug)]
pub struct PresetsArgs {
    /// Print JSON, also to a terminal (to a pipe it is the default)
    #[arg(long)]
    pub json: bool,
}

/// `fitsfs path`
#[derive(Args, Debug)]
pub struct PathArgs {
    /// The object, such as s3://stpubdata/hst/public/j8pu/j8pu0y010/j8pu0y010_drc.fits, or a product of MAST, such as
    /// mast:HST/product/j8pu0y010_drc.fits
    pub url: String,
}

/// `fitsfs url`
#[derive(Args, Debug)]
pub struct UrlArgs {
    /// The file
    pub path: PathBuf,
}

fn octal(text: &str) -> Result<u16, String> {
    match u16::from_str_radix(text, 8) {
        Ok(mask) if mask <= 0o777 => Ok(mask),
        _ => Err("give three octal digits, such as 022".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_times_and_masks() {
        let parse = |args: &[&str]| Cli::try_parse_from([&["fitsfs", "mount"], args].concat());
        let Command::Mount(args) =
            parse(&["--memory", "1GiB", "--metadata-ttl", "5m", "--umask", "077"]).unwrap().command
        else {
            panic!("not a mount")
        };
        assert_eq!((args.memory.as_u64(), args.metadata_ttl.as_secs(), args.umask), (1 << 30, 300, 0o77));
        assert!(parse(&["--umask", "9"]).is_err());
        assert!(parse(&["--memory", "lots"]).is_err());
    }
}
