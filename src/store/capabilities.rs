//! What a store can do beyond what every store can: data, so that the layers above decide by it, and `fitsfs check`
//! prints it.

use serde::Serialize;

/// What a store can do beyond what every store can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// Listings come in the order of the keys, so that a page proves what is not there. The pages themselves are looked
    /// at as well, for servers that break the promise of their protocol.
    pub ordered_listings: bool,
    /// A GET names the version that it is for, and another one is refused before a byte is sent. Without it the answer
    /// is compared with the version.
    pub conditional_get: bool,
    /// Versions have ids, by which one can be asked for after it was replaced, if the store keeps it.
    pub version_ids: bool,
    /// How objects in an archive are restored, which must be before they are read; none where there is no archive.
    pub restore: Option<&'static str>,
}

impl Capabilities {
    /// In one line for people: those that the store has, then those that it lacks.
    pub fn summary(&self) -> String {
        let Self { ordered_listings, conditional_get, version_ids, restore } = *self;
        let all = [
            ("ordered listings", ordered_listings),
            ("conditional GET", conditional_get),
            ("version ids", version_ids),
            ("archive", restore.is_some()),
        ];
        let those = |wanted: bool| {
            let names: Vec<_> = all.iter().filter(|(_, has)| *has == wanted).map(|(name, _)| *name).collect();
            names.join(", ")
        };
        match (those(true), those(false)) {
            (has, lacks) if lacks.is_empty() => has,
            (has, lacks) if has.is_empty() => format!("none of {lacks}"),
            (has, lacks) => format!("{has}; without {lacks}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_what_there_is_and_what_is_lacking() {
        let none = Capabilities::default();
        assert_eq!(none.summary(), "none of ordered listings, conditional GET, version ids, archive");
        let some = Capabilities { ordered_listings: true, restore: Some("ask"), ..none };
        assert_eq!(some.summary(), "ordered listings, archive; without conditional GET, version ids");
        let all = Capabilities { conditional_get: true, version_ids: true, ..some };
        assert_eq!(all.summary(), "ordered listings, conditional GET, version ids, archive");
    }
}
