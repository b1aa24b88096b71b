//! Colours where a person looks, none in a pipe or where NO_COLOR asks for none.

use std::io::IsTerminal;

/// Paints words, or leaves them as they are.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    colour: bool,
}

impl Style {
    /// For standard output.
    pub fn for_stdout() -> Self {
        Self { colour: wanted() && std::io::stdout().is_terminal() }
    }

    /// For standard error.
    pub fn for_stderr() -> Self {
        Self { colour: wanted() && std::io::stderr().is_terminal() }
    }

    /// Whether it paints.
    pub fn is_colour(self) -> bool {
        self.colour
    }

    /// For what went wrong.
    pub fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// For what is well.
    pub fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// For headings.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
