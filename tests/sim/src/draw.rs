//! Draws the distribution: a strip for each family, a dot for each case.

use std::fmt::Write;

use crate::case::Played;
use crate::report::{Ranked, groups};

/// Ratios at the left and the right edge, and sizes in pixels.
const RATIOS: (f64, f64) = (0.02, 100.0);
const LEFT: f64 = 210.0;
const WIDTH: f64 = 760.0;
const STRIP: f64 = 22.0;
const TOP: f64 = 44.0;

fn x(ratio: f64) -> f64 {
    let (low, high) = (RATIOS.0.ln(), RATIOS.1.ln());
    LEFT + WIDTH * ((ratio.ln() - low) / (high - low)).clamp(0.0, 1.0)
}

/// An SVG of the times against those of the best plain policy.
pub fn svg(played: &[Played]) -> String {
    let families = groups(played, |case| case.family);
    let height = TOP + STRIP * families.len() as f64 + 30.0;
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {} {height}' font-family='sans-serif' font-size='11'>\n\
         <rect width='100%' height='100%' fill='white'/>\n\
         <text x='{LEFT}' y='16' font-size='13'>seconds, as a multiple of the best plain policy: {} cases</text>\n",
        LEFT + WIDTH + 70.0,
        played.len()
    );
    for ratio in [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0] {
        let colour = if ratio == 1.0 {
            "#444"
        } else if ratio == 2.0 {
            "#c00"
        } else {
            "#ddd"
        };
        let (x, bottom) = (x(ratio), height - 24.0);
        let _ = writeln!(svg, "<path d='M{x:.1} {}V{bottom}' stroke='{colour}'/>", TOP - 8.0);
        let _ = writeln!(svg, "<text x='{x:.1}' y='{}' text-anchor='middle'>{ratio}</text>", TOP - 12.0);
    }
    for (n, (family, cases)) in families.iter().enumerate() {
        strip(&mut svg, TOP + STRIP * (n as f64 + 0.5), family, cases);
    }
    svg.push_str("</svg>\n");
    svg
}

fn strip(svg: &mut String, y: f64, family: &str, cases: &[&Played]) {
    let text = y + 4.0;
    let _ = writeln!(svg, "<text x='{}' y='{text}' text-anchor='end'>{family}</text>", LEFT - 8.0);
    for case in cases {
        // Apart within the strip, by a number that the seed gives.
        let shift = (case.seed.wrapping_mul(0x9e37_79b9) >> 16 & 0xff) as f64 / 255.0 - 0.5;
        let colour = if case.ratio() > 2.0 {
            "#c00"
        } else if case.ratio() > 1.1 {
            "#e80"
        } else {
            "#37a"
        };
        let (x, y) = (x(case.ratio()), y + shift * (STRIP - 8.0));
        let seed = case.seed;
        let _ = write!(svg, "<circle cx='{x:.1}' cy='{y:.1}' r='1.8' fill='{colour}' fill-opacity='.6'>");
        let _ = writeln!(svg, "<title>seed {seed}: {:.2}</title></circle>", case.ratio());
    }
    let median = Ranked::new(cases.iter().map(|case| case.ratio())).percentile(0.5);
    let (x, top, bottom) = (x(median), y - STRIP / 2.0 + 2.0, y + STRIP / 2.0 - 2.0);
    let _ = writeln!(svg, "<path d='M{x:.1} {top}V{bottom}' stroke='black' stroke-width='2'/>");
    let _ = writeln!(svg, "<text x='{}' y='{text}'>{median:.2}</text>", LEFT + WIDTH + 8.0);
}
