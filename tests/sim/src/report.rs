//! How fitsfs did, by family.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::case::Played;

/// Some numbers in order.
#[derive(Clone, Debug, Default)]
pub struct Ranked(Vec<f64>);

impl Ranked {
    /// Ranks numbers.
    pub fn new(numbers: impl Iterator<Item = f64>) -> Self {
        let mut numbers: Vec<f64> = numbers.collect();
        numbers.sort_by(f64::total_cmp);
        Self(numbers)
    }

    /// The smallest number that so large a share of all is not above.
    pub fn percentile(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }

    /// The share of numbers above a bound.
    pub fn share_above(&self, bound: f64) -> f64 {
        self.0.iter().filter(|number| **number > bound).count() as f64 / self.0.len().max(1) as f64
    }
}

/// How all cases together compare, by each measure.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Times of the best plain policy.
    pub to_plain: Ranked,
    /// Times of the best policy that mounts have.
    pub to_mounts: Ranked,
    /// Times of the optimum.
    pub to_optimum: Ranked,
    /// Bytes against those that are allowed.
    pub bytes: Ranked,
    /// Requests against those that are allowed.
    pub requests: Ranked,
}

impl Summary {
    /// Of some cases.
    pub fn of<'a>(played: impl Iterator<Item = &'a Played> + Clone) -> Self {
        Self {
            to_plain: Ranked::new(played.clone().map(Played::ratio)),
            to_mounts: Ranked::new(played.clone().map(Played::to_mounts)),
            to_optimum: Ranked::new(played.clone().map(Played::to_optimum)),
            bytes: Ranked::new(played.clone().map(Played::bytes_ratio)),
            requests: Ranked::new(played.map(Played::requests_ratio)),
        }
    }
}

/// Cases by what they are grouped by.
pub fn groups(played: &[Played], key: impl Fn(&Played) -> &'static str) -> BTreeMap<&'static str, Vec<&Played>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for case in played {
        groups.entry(key(case)).or_default().push(case);
    }
    groups
}

/// A table with a line for each family of programs, one for each of files, and one for each network. `bound` is the median
/// of the optimum against the same, less than which is not possible; `mounts` the median against the policies that mounts
/// have.
pub fn table(played: &[Played]) -> String {
    let mut text = format!(
        "{:<29}{:>6}{:>7} |{:>7}{:>7}{:>7}{:>8}{:>8}{:>7}{:>7} |{:>7}{:>7} |{:>7}{:>8} |{:>8}{:>7} |{:>6}\n",
        "seconds / best plain policy",
        "cases",
        "bound",
        "median",
        "p90",
        "p99",
        "worst",
        "seed",
        ">1.1",
        ">2.0",
        "bound",
        "mounts",
        "opt.50",
        "opt.99",
        "bytes99",
        ">1",
        "GETs>1"
    );
    let keys: [fn(&Played) -> &'static str; 3] = [|p| p.family, |p| p.layout, |p| p.profile];
    for key in keys {
        for (name, cases) in groups(played, key) {
            line(&mut text, name, &cases);
        }
        text.push('\n');
    }
    line(&mut text, "all", &played.iter().collect::<Vec<_>>());
    text
}

fn line(text: &mut String, name: &str, cases: &[&Played]) {
    let summary = Summary::of(cases.iter().copied());
    let worst = cases.iter().max_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    let (plain, optimum, bytes) = (&summary.to_plain, &summary.to_optimum, &summary.bytes);
    let percent = |share: f64| format!("{:.1}%", 100.0 * share);
    let _ = writeln!(
        text,
        "{name:<29}{:>6}{:>7.2} |{:>7.2}{:>7.2}{:>7.2}{:>8.2}{:>8}{:>7}{:>7} |{:>7.2}{:>7.2} |{:>7.2}{:>8.2} |{:>8.2}{:>7} |{:>6}",
        cases.len(),
        Ranked::new(cases.iter().map(|case| case.optimum / case.best.1.seconds)).percentile(0.5),
        plain.percentile(0.5),
        plain.percentile(0.9),
        plain.percentile(0.99),
        plain.percentile(1.0),
        worst.map_or(0, |worst| worst.seed),
        percent(plain.share_above(1.1)),
        percent(plain.share_above(2.0)),
        Ranked::new(cases.iter().map(|case| case.optimum / case.best_mount)).percentile(0.5),
        summary.to_mounts.percentile(0.5),
        optimum.percentile(0.5),
        optimum.percentile(0.99),
        bytes.percentile(0.99),
        percent(bytes.share_above(1.0)),
        percent(summary.requests.share_above(1.0)),
    );
}

/// The cases that lost most, a line each.
pub fn worst(played: &[Played], count: usize) -> String {
    let mut cases: Vec<&Played> = played.iter().collect();
    cases.sort_by(|a, b| b.ratio().total_cmp(&a.ratio()));
    cases.into_iter().take(count).map(|case| describe(case) + "\n").collect()
}

/// One case.
pub fn describe(case: &Played) -> String {
    format!(
        "seed {:<7} {:>6.2}x {:<9} opt {:>5.1}x  {:>8.3} s {:>6} GETs {:>8.1} MB of {:>8.1} MB touched, best {:>8.3} s; {}, {}, {:.0} MB, {}",
        case.seed,
        case.ratio(),
        case.best.0,
        case.to_optimum(),
        case.fitsfs.seconds,
        case.fitsfs.requests,
        case.fitsfs.bytes as f64 / 1e6,
        case.touched.bytes as f64 / 1e6,
        case.best.1.seconds,
        case.family,
        case.layout,
        case.size as f64 / 1e6,
        case.profile,
    )
}

/// How the times compare, as a histogram of text.
pub fn histogram(played: &[Played]) -> String {
    const EDGES: [f64; 12] = [0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.1, 1.5, 2.0, 4.0, 10.0, f64::INFINITY];
    const WIDTH: usize = 60;
    let counts = EDGES.map(|edge| played.iter().filter(|case| case.ratio() <= edge).count());
    let within = |n: usize| counts[n] - if n == 0 { 0 } else { counts[n - 1] };
    let most = (0..EDGES.len()).map(within).max().unwrap_or(0).max(1);
    let lines = EDGES.iter().enumerate().map(|(n, edge)| {
        let bar = "#".repeat(within(n) * WIDTH / most);
        format!("{:>8} {:>6} {bar}\n", format!("<= {edge}"), within(n))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks() {
        let ranked = Ranked::new((1..=100).rev().map(f64::from));
        assert_eq!((ranked.percentile(0.5), ranked.percentile(0.99), ranked.percentile(1.0)), (50.0, 99.0, 100.0));
        assert_eq!(ranked.share_above(90.0), 0.1);
    }
}
