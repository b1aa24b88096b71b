//! Plays cases and prints how fitsfs does.

use std::time::Instant;

use clap::Parser;
use fitsfs_sim::case::{self, Case};
use fitsfs_sim::network::{PROFILES, Profile};
use fitsfs_sim::policies::PLAIN;
use fitsfs_sim::programs::Op;
use fitsfs_sim::{draw, fitsfs, kinds, report};

/// Plays programs on FITS files in virtual time: fitsfs's planner against plain policies.
#[derive(Parser)]
struct Args {
    /// How many cases.
    #[arg(long, default_value_t = 2000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// All on one network: region, home or far.
    #[arg(long, value_parser = profile)]
    network: Option<Profile>,
    /// Programs of this family only.
    #[arg(long)]
    family: Option<String>,
    /// How many of the worst cases to list.
    #[arg(long, default_value_t = 20)]
    worst: usize,
    /// The kinds of losses that were measured on real mounts.
    #[arg(long)]
    kinds: bool,
    /// One case, with each policy.
    #[arg(long)]
    case: Option<u64>,
    /// What was read in it and what was decided.
    #[arg(long)]
    verbose: bool,
    /// Draws the distribution into this file.
    #[arg(long)]
    svg: Option<std::path::PathBuf>,
}

fn profile(name: &str) -> Result<Profile, String> {
    PROFILES.into_iter().find(|profile| profile.name == name).ok_or_else(|| "region, home or far".to_owned())
}

fn main() -> std::io::Result<()> {
    let args = Args::parse();
    if let Some(seed) = args.case {
        one(&Case::new(seed, args.network), args.verbose);
        return Ok(());
    }
    if args.kinds {
        all_kinds();
        return Ok(());
    }
    let began = Instant::now();
    let played = case::play(args.first..args.first + args.seeds, args.network, args.family.as_deref());
    println!("{}", report::table(&played));
    println!("{}", report::histogram(&played));
    println!("{}", report::worst(&played, args.worst));
    let seconds = began.elapsed().as_secs_f64();
    println!("{} cases in {seconds:.1} s", played.len());
    args.svg.map_or(Ok(()), |path| std::fs::write(path, draw::svg(&played)))
}

fn all_kinds() {
    println!(
        "{:<50} {:>6} {:>8} {:>6} {:>8}  {:>8} {:>7}",
        "seconds in the region", "aim", "fitsfs", "GETs", "MB", "best", "optimum"
    );
    for kind in kinds::kinds() {
        let played = kind.case.play();
        let (aim, mb) = (kind.aim.map_or(String::new(), |aim| format!("{aim:.2}")), played.fitsfs.bytes as f64 / 1e6);
        let (seconds, requests) = (played.fitsfs.seconds, played.fitsfs.requests);
        let (best, optimum) = (format!("{:.2} {}", played.best.1.seconds, played.best.0), played.optimum);
        println!("{:<50} {aim:>6} {seconds:>8.3} {requests:>6} {mb:>8.1}  {best:<14} {optimum:>5.2}", kind.name);
    }
}

fn one(case: &Case, verbose: bool) {
    let file = &case.files[0];
    println!("{}, {}, {} bytes, {} HDUs", case.profile.name, file.layout, file.size, file.hdus.len());
    if verbose {
        for (n, hdu) in file.hdus.iter().enumerate().take(12) {
            let form = format!("{:.150}", format!("{:?}", hdu.form));
            println!("  HDU {n}: header {:?}, data {:?}, {form}", hdu.header, hdu.data);
        }
        for (n, ops) in case.program.threads.iter().enumerate() {
            let shown: Vec<String> =
                ops.iter().filter(|op| !matches!(op, Op::Think(_))).take(24).map(|op| format!("{op:?}")).collect();
            println!("  thread {n}, {} operations: {}", ops.len(), shown.join(" "));
        }
        let (_, log) = fitsfs::logged(&case.files, &case.program, case.profile, 1e6);
        print!("{log}");
    }
    for (name, policy) in PLAIN {
        println!("{name:<10} {:?}", policy(&case.files, &case.program, case.profile, 1e6));
    }
    let played = case.play();
    println!("{:<10} {:?}", "fitsfs", played.fitsfs);
    println!("{}", report::describe(&played));
}
