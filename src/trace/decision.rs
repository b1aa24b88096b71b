//! Names, colours and meanings of the decisions to fetch: the one place that knows them all.

use crate::cache::Origin;

/// One line for each decision, in the order of legends: an [`Origin`] without one does not compile.
macro_rules! decisions {
    ($($origin:ident: $name:literal, $colour:literal, $meaning:literal;)*) => {
        /// All decisions, in the order in which they are listed.
        pub const DECISIONS: &[Origin] = &[$(Origin::$origin),*];

        /// The name of a decision, which is also that in JSON.
        pub fn name(origin: Origin) -> &'static str {
            match origin { $(Origin::$origin => $name),* }
        }

        /// Its colour, distinct from the others on white and on black, also for readers with red-green colour blindness.
        pub fn colour(origin: Origin) -> &'static str {
            match origin { $(Origin::$origin => $colour),* }
        }

        /// What it means, in a few words.
        pub fn meaning(origin: Origin) -> &'static str {
            match origin { $(Origin::$origin => $meaning),* }
        }
    };
}

decisions! {
    Demand: "demand", "#e4572e", "a program waits for it";
    Chain: "chain", "#3a86e0", "headers ahead of the reader";
    Predicted: "predicted", "#a05fd6", "headers and tables where they are likely to be";
    Strided: "strided", "#d9a400", "rows, planes or tiles that a reader will come to";
    Probe: "probe", "#b08a1a", "rows that show how far a reader has come";
    Sequential: "sequential", "#1fa67a", "data ahead of a forward reader";
    Region: "region", "#8c6d31", "a region in which programs have waited as long as all of it takes";
    Replayed: "replayed", "#7a8794", "what was read of the last files of the class";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn decisions_are_told_apart_and_named_as_in_json() {
        let colours: HashSet<_> = DECISIONS.iter().map(|d| colour(*d)).collect();
        assert_eq!(colours.len(), DECISIONS.len());
        for decision in DECISIONS {
            assert_eq!(serde_json::to_value(decision).unwrap(), name(*decision));
            assert!(!meaning(*decision).is_empty());
        }
    }
}
