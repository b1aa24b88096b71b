//! Layouts compared with those that astropy and asdf find, file by file.
//!
//! `FITSFS_PYTHON` names the interpreter (`python3` by default). astropy is needed, stdatamodels for the JWST products, and
//! asdf with lz4 for the ASDF files; without them the tests fail rather than prove nothing.

use std::path::Path;
use std::process::Command;

use fitsfs::fits::{Chain, Layout, Need, Tail, render};
use serde_json::Value;

/// What the oracle says of a file.
struct Verdict {
    path: String,
    /// The HDUs that astropy finds, or the parts that asdf finds; none if it refuses the file.
    hdus: Option<Vec<Value>>,
}

/// The verdicts of tests/oracle/layout.py, run for `what` and with a directory for the files it writes.
fn oracle(what: &str, directory: &Path) -> Vec<Verdict> {
    let python = std::env::var("FITSFS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/layout.py");
    let output = Command::new(&python).args(["-B", "-W", "ignore"]).arg(script).arg(what).arg(directory).output();
    let output = output.unwrap_or_else(|error| panic!("{python} does not start ({error}): set FITSFS_PYTHON"));
    assert!(
        output.status.success(),
        "the oracle failed under {python}. It needs astropy, stdatamodels, asdf and lz4: install them there, or set \
         FITSFS_PYTHON to a Python that has them.\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let answer: Value = serde_json::from_slice(&output.stdout).expect("the oracle writes JSON");
    let verdict = |file: &Value| Verdict {
        path: file["path"].as_str().expect("a path").to_owned(),
        hdus: file["hdus"].as_array().cloned(),
    };
    answer["files"].as_array().expect("a list of files").iter().map(verdict).collect()
}

/// The layout of `file`, fed with what the chain asks for, and with guesses half of the time.
fn walk(file: &[u8], guess: bool) -> Layout {
    let mut chain = Chain::new(file.len() as u64);
    while let Need::Bytes { offset, len } = chain.need() {
        let guesses = if guess { chain.predict(8) } else { Vec::new() };
        for (at, len) in std::iter::once((offset, len)).chain(guesses.into_iter().map(|at| (at, 16 << 10))) {
            let from = usize::try_from(at).expect("an offset in memory");
            let to = file.len().min(from + usize::try_from(len).expect("a length in memory"));
            let moved = chain.feed(at, &file[from..to]);
            assert!(moved || at != offset, "no progress at {offset}");
        }
    }
    chain.into_layout()
}

/// Whether `found` has everything that `expected` has.
fn agrees(found: &Value, expected: &Value) -> bool {
    match expected {
        Value::Object(fields) => fields.iter().all(|(name, value)| agrees(&found[name], value)),
        _ => found == expected,
    }
}

/// Compares each file and gives the number of files and of HDUs that the oracle could read.
fn compare(verdicts: &[Verdict]) -> (usize, usize) {
    let (mut files, mut hdus, mut differences) = (0, 0, Vec::new());
    for verdict in verdicts {
        let bytes = std::fs::read(&verdict.path).expect("the file of the oracle");
        let layout = walk(&bytes, false);
        assert_eq!(layout, walk(&bytes, true), "guesses altered the layout of {}", verdict.path);
        assert!(!render::table(&layout).is_empty());
        let Some(expected) = &verdict.hdus else { continue };
        files += 1;
        hdus += expected.len();
        let found: Vec<Value> = layout.hdus.iter().map(|hdu| serde_json::to_value(hdu).expect("JSON")).collect();
        let same =
            found.len() == expected.len() && found.iter().zip(expected).all(|(ours, theirs)| agrees(ours, theirs));
        if !same {
            differences
                .push(format!("{}: {:?}\n  found    {found:?}\n  expected {expected:?}", verdict.path, layout.tail));
        }
    }
    assert!(differences.is_empty(), "{} of {files} files differ:\n{}", differences.len(), differences.join("\n"));
    println!("{files} files with {hdus} HDUs agree; the oracle refuses {} more", verdicts.len() - files);
    (files, hdus)
}

fn compare_all(what: &str) -> (usize, usize) {
    let directory = tempfile::tempdir().expect("a directory");
    compare(&oracle(what, directory.path()))
}

#[test]
fn files_that_come_with_astropy() {
    let (files, hdus) = compare_all("astropy");
    assert!(files >= 50 && hdus >= 100, "only {files} files with {hdus} HDUs: is this astropy without its test data?");
}

#[test]
fn corner_cases_and_damaged_files() {
    let (files, _) = compare_all("cases");
    assert!(files >= 400, "only {files} files");
}

#[test]
fn asdf_files() {
    let (files, hdus) = compare_all("asdf");
    assert!(files >= 200 && hdus >= 5000, "only {files} files with {hdus} parts");
}

#[test]
fn jwst_products_written_by_stdatamodels() {
    let directory = tempfile::tempdir().expect("a directory");
    let verdicts = oracle("stdatamodels", directory.path());
    compare(&verdicts);
    for verdict in &verdicts {
        let layout = walk(&std::fs::read(&verdict.path).expect("a product"), false);
        assert_eq!(layout.tail, Tail::Clean, "{}", verdict.path);
        let last = layout.hdus.last().and_then(|hdu| hdu.name.as_deref());
        assert_eq!(last, Some("ASDF"), "{}", verdict.path);
    }
}
