//! The files below some paths, found while others are read already.

use std::fs::ReadDir;
use std::io;
use std::path::PathBuf;

use super::task::Failure;

/// A file to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its path.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
}

/// Goes through folders, depth first; what cannot be looked at is told, and the rest goes on.
#[derive(Debug)]
pub struct Walk {
    /// In reverse.
    paths: Vec<PathBuf>,
    folders: Vec<(PathBuf, ReadDir)>,
}

impl Walk {
    /// All that is in `paths`, which are files or folders.
    pub fn of(mut paths: Vec<PathBuf>) -> Self {
        paths.reverse();
        Self { paths, folders: Vec::new() }
    }

    /// The next path, from the folder that was entered last.
    fn next_path(&mut self) -> Option<Result<PathBuf, Failure>> {
        while let Some((folder, entries)) = self.folders.last_mut() {
            match entries.next() {
                Some(Ok(entry)) => return Some(Ok(entry.path())),
                Some(Err(error)) => {
                    let failure = Failure::new(folder, &error);
                    // A listing that has failed does not go on.
                    self.folders.pop();
                    return Some(Err(failure));
                }
                None => drop(self.folders.pop()),
            }
        }
        self.paths.pop().map(Ok)
    }

    fn look(&mut self, path: PathBuf) -> Option<Result<Target, Failure>> {
        let looked = std::fs::metadata(&path).and_then(|metadata| match metadata.is_dir() {
            true => {
                self.folders.push((path.clone(), std::fs::read_dir(&path)?));
                Ok(None)
            }
            false if metadata.is_file() => Ok(Some(metadata.len())),
            false => Err(io::Error::other("neither a file nor a folder")),
        });
        match looked {
            Ok(size) => size.map(|size| Ok(Target { path, size })),
            Err(error) => Some(Err(Failure::new(&path, &error))),
        }
    }
}

impl Iterator for Walk {
    type Item = Result<Target, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_path()? {
                Ok(path) => match self.look(path) {
                    None => {}
                    found => return found,
                },
                Err(failure) => return Some(Err(failure)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_in_all_folders_and_failures_do_not_end_the_walk() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(path("a/b/c")).unwrap();
        for (name, size) in [("a/1", 1), ("a/b/2", 2), ("a/b/c/3", 3), ("4", 4)] {
            std::fs::write(path(name), vec![0; size]).unwrap();
        }
        let found: Vec<_> = Walk::of(vec![path("a"), path("missing"), path("4")]).collect();
        let mut sizes: Vec<_> = found.iter().flatten().map(|found| found.size).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 2, 3, 4]);
        let failed: Vec<_> = found.iter().filter_map(|found| found.as_ref().err()).collect();
        assert!(failed.len() == 1 && failed[0].path == path("missing"), "{failed:?}");
    }
}
