//! The S3 server of fitsfs's tests, demo and benchmarks, as a command: `fitsfs-lab serve --root DIR`.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use fitsfs_lab::{Lab, Shape};
use tokio::signal::unix::{SignalKind, signal};

/// The S3 server of fitsfs's tests, demo and benchmarks.
#[derive(Debug, Parser)]
#[command(name = "fitsfs-lab", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the folders below a root as buckets, on the loopback interface.
    ///
    /// Signatures are demanded if LAB_ACCESS_KEY_ID and LAB_SECRET_ACCESS_KEY are set. SIGHUP rescans the folders.
    /// Scripts find the request log and the switches below /_lab/: GET requests and summary, POST clear, shape and
    /// fault, DELETE fault.
    Serve(Serve),
}

#[derive(Debug, Args)]
struct Serve {
    /// Folder whose folders are the buckets.
    #[arg(long)]
    root: PathBuf,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Milliseconds from a request to the first byte of its response.
    #[arg(long, value_name = "MS", default_value_t = 0.0)]
    ttfb_ms: f64,
    /// Rate of one connection, in 10^6 bytes per second.
    #[arg(long, value_name = "MB/s")]
    per_connection_mbps: Option<f64>,
    /// Rate of all connections together, in 10^6 bytes per second.
    #[arg(long, value_name = "MB/s")]
    total_mbps: Option<f64>,
    /// Milliseconds more for the first response of each connection.
    #[arg(long, value_name = "MS", default_value_t = 0.0)]
    connect_ms: f64,
    /// Write each finished request to this file, as a line of JSON.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Demand no signatures, even if there are keys in the environment.
    #[arg(long)]
    anonymous: bool,
    /// Region of the server.
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// Write the port to this file when ready.
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
    /// Add COUNT small keys below PREFIX, or with `:d` COUNT sub-prefixes of one small key each (repeatable).
    #[arg(long, value_name = "BUCKET:PREFIX:COUNT[:d]")]
    synthetic: Vec<Synthetic>,
}

/// Keys that make a listing as long as a real one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Synthetic {
    bucket: String,
    prefix: String,
    count: u32,
    directories: bool,
}

impl FromStr for Synthetic {
    type Err = String;

    fn from_str(text: &str) -> Result<Synthetic, String> {
        let (rest, directories) = text.strip_suffix(":d").map_or((text, false), |rest| (rest, true));
        let parsed = rest.split_once(':').and_then(|(bucket, rest)| {
            let (prefix, count) = rest.rsplit_once(':')?;
            Some((bucket, prefix, count.parse().ok()?))
        });
        let Some((bucket, prefix, count)) = parsed else { return Err("want BUCKET:PREFIX:COUNT[:d]".into()) };
        Ok(Synthetic { bucket: bucket.into(), prefix: prefix.into(), count, directories })
    }
}

impl Synthetic {
    fn keys(&self) -> impl Iterator<Item = String> + '_ {
        let tail = if self.directories { "/synthetic.fits" } else { ".fits" };
        (0..self.count).map(move |i| format!("{}synthetic-{i:06}{tail}", self.prefix))
    }
}

fn main() -> ExitCode {
    let Command::Serve(options) = Cli::parse().command;
    match serve(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fitsfs-lab: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(options: &Serve) -> Result<(), Box<dyn Error>> {
    let lab = start(options)?;
    fill(&lab, options)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        announce(&lab, options.port_file.as_deref())?;
        loop {
            tokio::select! {
                _ = hangup.recv() => {
                    if let Err(error) = fill(&lab, options) {
                        eprintln!("fitsfs-lab: rescan: {error}");
                    }
                }
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
            }
        }
    })
}

fn start(options: &Serve) -> Result<Lab, Box<dyn Error>> {
    let millis = |ms: f64| Duration::try_from_secs_f64(ms / 1e3);
    let mut builder = Lab::builder().port(options.port).region(&options.region).shape(Shape {
        ttfb: millis(options.ttfb_ms)?,
        per_connection: options.per_connection_mbps.map(Shape::mbps),
        total: options.total_mbps.map(Shape::mbps),
        connect: millis(options.connect_ms)?,
    });
    let keys = (std::env::var("LAB_ACCESS_KEY_ID"), std::env::var("LAB_SECRET_ACCESS_KEY"));
    if let (Ok(access_key), Ok(secret), false) = (&keys.0, &keys.1, options.anonymous) {
        builder = builder.credentials(access_key, secret);
    }
    if let Some(path) = &options.log {
        builder = builder.log_file(File::create(path).map_err(|e| format!("{}: {e}", path.display()))?);
    }
    Ok(builder.start().map_err(|e| format!("port {}: {e}", options.port))?)
}

fn fill(lab: &Lab, options: &Serve) -> Result<(), Box<dyn Error>> {
    lab.serve_root(&options.root).map_err(|e| format!("{}: {e}", options.root.display()))?;
    for synthetic in &options.synthetic {
        lab.put_many(&synthetic.bucket, synthetic.keys(), "synthetic\n");
    }
    Ok(())
}

/// Tells who waits for it that the server answers: by the file, which appears complete, then by a line.
fn announce(lab: &Lab, port_file: Option<&Path>) -> Result<(), Box<dyn Error>> {
    if let Some(path) = port_file {
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        std::fs::write(&fresh, format!("{}\n", lab.port()))?;
        std::fs::rename(&fresh, path)?;
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "listening {}", lab.endpoint())?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synthetic_keys() {
        let keys: Vec<String> = "b:a:b/:2".parse::<Synthetic>().expect("well formed").keys().collect();
        assert_eq!(keys, ["a:b/synthetic-000000.fits", "a:b/synthetic-000001.fits"]);
        let keys: Vec<String> = "b::1:d".parse::<Synthetic>().expect("well formed").keys().collect();
        assert_eq!(keys, ["synthetic-000000/synthetic.fits"]);
        assert!("b:1".parse::<Synthetic>().is_err());
    }
}
