//! Shapes and text in SVG 1.1. Everything that is written passes through here, and is escaped here.

use std::fmt::Write;

/// Advance of a character in a monospaced font, in units of its size; a little more than that of common fonts.
const ADVANCE: f64 = 0.61;

/// Colours for light screens, and those that differ on dark ones.
const STYLE: &str = "\
text{font-family:ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;fill:#1f2328}
.paper{fill:#ffffff}
text.dim{fill:#59636e}
text.on-header{fill:#ffffff}
.ink{fill:#1f2328}
.halo{stroke:#ffffff;stroke-width:.8}
.hit{fill:#ffffff;stroke:#1f2328;stroke-width:1}
.hollow{fill:none;stroke:#1f2328}
.wait{stroke:#1f2328;stroke-width:1;opacity:.75}
.header{fill:#7d8894}
.data{fill:#d9e0e8}
.unknown{fill:#f0f2f5}
.pushed{fill:#b8a78e}
.lane,.plot{fill:#f4f6f8}
.column{fill:#dde3ea;opacity:.6}
.idle{fill:#e6eaef}
.edge{stroke:#ffffff;stroke-width:1}
.rule,.tick{stroke:#c4ccd5;stroke-width:1}";

const DARK: &str = "\
text,.ink{fill:#e6edf3}
.paper{fill:#0f141a}
text.dim{fill:#9aa5b1}
text.on-header{fill:#0f141a}
.halo{stroke:#0f141a}
.hit{fill:#0f141a;stroke:#e6edf3}
.wait,.hollow{stroke:#e6edf3}
.header{fill:#8b97a5}
.data{fill:#303a46}
.unknown{fill:#1f262f}
.pushed{fill:#7d6f5a}
.lane,.plot{fill:#181f27}
.column{fill:#2b3440}
.idle{fill:#232b35}
.edge{stroke:#0f141a}
.rule,.tick{stroke:#3b4552}";

/// A size of text, all of it monospaced so that its width is known without the font.
#[derive(Clone, Copy, Debug)]
pub struct Font {
    size: f64,
    bold: bool,
}

impl Font {
    /// Of the picture's title.
    pub const TITLE: Self = Self { size: 16.0, bold: true };
    /// Of the names of files.
    pub const NAME: Self = Self { size: 13.0, bold: true };
    /// Of most text.
    pub const SMALL: Self = Self { size: 11.0, bold: false };
    /// Of what is second.
    pub const TINY: Self = Self { size: 9.5, bold: false };

    /// The width of a text in pixels. Characters beyond ASCII may take two places.
    pub fn width(self, text: &str) -> f64 {
        text.chars().map(|c| if c.is_ascii() { 1.0 } else { 2.0 }).sum::<f64>() * self.size * ADVANCE
    }

    /// A text, cut at its end to fit a width.
    pub fn fit(self, text: &str, room: f64) -> String {
        if self.width(text) <= room {
            return text.to_owned();
        }
        let mut cut: String = text.to_owned();
        while !cut.is_empty() && self.width(&cut) + self.width("…") > room {
            cut.pop();
        }
        cut + "…"
    }

    /// A text, cut in its middle to fit a width: paths differ at their ends.
    pub fn fit_middle(self, text: &str, room: f64) -> String {
        if self.width(text) <= room {
            return text.to_owned();
        }
        let places = ((room / self.size / ADVANCE) as usize).saturating_sub(2);
        let head = take(text.chars(), places / 3);
        let tail = take(text.chars().rev(), places - places / 3);
        head.into_iter().chain(['…']).chain(tail.into_iter().rev()).collect()
    }
}

/// The first characters that fit so many places.
fn take(text: impl Iterator<Item = char>, places: usize) -> Vec<char> {
    let mut used = 0;
    text.take_while(|c| {
        used += if c.is_ascii() { 1 } else { 2 };
        used <= places
    })
    .collect()
}

/// A picture in the making.
#[derive(Debug)]
pub struct Canvas {
    body: String,
    width: f64,
    /// How far down it has come, in pixels.
    pub y: f64,
}

impl Canvas {
    /// An empty picture.
    pub fn new(width: f64) -> Self {
        Self { body: String::new(), width, y: 0.0 }
    }

    /// The document, as high as [`Canvas::y`].
    pub fn finish(self, name: &str) -> String {
        let Self { body, width, y } = self;
        let (height, name) = (y.ceil(), escape(name));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{name}</title>\n\
             <style>\n{STYLE}\n@media (prefers-color-scheme:dark){{\n{DARK}\n}}\n</style>\n\
             <rect class=\"paper\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\n{body}</svg>\n"
        )
    }

    /// Text that begins at `x`, on the line `y`.
    pub fn text(&mut self, x: f64, y: f64, font: Font, class: &str, text: &str) {
        self.anchored("start", (x, y), font, class, text);
    }

    /// Text that ends at `x`.
    pub fn text_end(&mut self, x: f64, y: f64, font: Font, class: &str, text: &str) {
        self.anchored("end", (x, y), font, class, text);
    }

    /// Text around `x`.
    pub fn text_middle(&mut self, x: f64, y: f64, font: Font, class: &str, text: &str) {
        self.anchored("middle", (x, y), font, class, text);
    }

    fn anchored(&mut self, anchor: &str, (x, y): (f64, f64), font: Font, class: &str, text: &str) {
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        let weight = if font.bold { " font-weight=\"600\"" } else { "" };
        let anchor = if anchor == "start" { String::new() } else { format!(" text-anchor=\"{anchor}\"") };
        let (size, text) = (font.size, escape(text));
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\"{weight}{anchor}{class}>{text}</text>"
        );
    }

    /// A rectangle; `style` is attributes, `detail` is shown when it is pointed at.
    pub fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, style: &str, detail: Option<&str>) {
        let _ =
            write!(self.body, "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" {style}");
        let _ = match detail {
            Some(detail) => writeln!(self.body, "><title>{}</title></rect>", escape(detail)),
            None => writeln!(self.body, "/>"),
        };
    }

    /// A straight line; `style` is attributes.
    pub fn line(&mut self, x1: f64, y1: f64, x2: f64, y2: f64, style: &str) {
        let _ = writeln!(self.body, "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {style}/>");
    }

    /// A filled circle; `style` is attributes.
    pub fn dot(&mut self, x: f64, y: f64, radius: f64, style: &str) {
        let _ = writeln!(self.body, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" {style}/>");
    }

    /// Writes the label of a legend's next entry and returns where its mark of 14 pixels goes. `x` is where the row has
    /// come to; what does not fit begins a row at `left`.
    pub fn legend_place(&mut self, x: &mut f64, left: f64, label: &str) -> f64 {
        let wide = 20.0 + Font::SMALL.width(label);
        if *x > left && *x + wide > self.width - left {
            *x = left;
            self.y += 18.0;
        }
        let at = *x;
        self.text(at + 20.0, self.y, Font::SMALL, "", label);
        *x += wide + 18.0;
        at
    }
}

/// Text as XML has it.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut() {
        let room = 12.0 * 11.0 * ADVANCE;
        assert_eq!(Font::SMALL.fit("short", room), "short");
        for text in ["a-rather-long-text-of-one-word", "星雲星雲星雲星雲星雲星雲"] {
            for fitted in [Font::SMALL.fit(text, room), Font::SMALL.fit_middle(text, room)] {
                assert!(Font::SMALL.width(&fitted) <= room && fitted.contains('…'), "{fitted}");
            }
        }
        assert_eq!(Font::SMALL.fit_middle("jwst/public/x/y_cal.fits", room), "jws…al.fits");
        assert_eq!(Font::SMALL.fit("text", 0.0), "…");
    }
}
