//! Whole files, from their start, on as many connections as fill the network.

use crate::file::File;
use crate::network::GetId;
use crate::run::{Event, Mount, ReadId, World};

/// Parts of this size, so many at a time: twice what the network carries.
const PART: u64 = 8 << 20;
const PARALLEL: usize = 16;

#[derive(Default)]
struct Of {
    gets: Vec<GetId>,
    /// READs that wait for parts that are not asked for yet.
    early: Vec<ReadId>,
}

pub(super) struct Whole {
    files: Vec<Of>,
    /// How many parts READs still wait for.
    missing: Vec<(ReadId, usize)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    /// A part has ended, so that the next one may begin.
    Ended(usize),
    Reached(ReadId),
}

impl Whole {
    pub(super) fn new(files: &[File]) -> Self {
        Self { files: files.iter().map(|_| Of::default()).collect(), missing: Vec::new() }
    }

    /// Asks for the next part of a file.
    fn go_on(&mut self, world: &mut World<Told>, file: usize) {
        let of = &mut self.files[file];
        let start = of.gets.len() as u64 * PART;
        let size = world.files[file].size;
        if start < size {
            let get = world.network.get(PART.min(size - start), None, Some(Event::Mount(Told::Ended(file))));
            of.gets.push(get);
            for read in std::mem::take(&mut of.early) {
                self.serve(world, read);
            }
        }
    }

    fn serve(&mut self, world: &mut World<Told>, id: ReadId) {
        let (file, range) = (world.read(id).file, world.read(id).range.clone());
        let of = &mut self.files[file];
        if of.gets.len() as u64 <= (range.end - 1) / PART {
            return of.early.push(id);
        }
        let mut missing = 0;
        for part in range.start / PART..=(range.end - 1) / PART {
            let (get, bytes) = (of.gets[part as usize], (range.end - part * PART).min(PART));
            let bytes = bytes.min(world.network.length(get));
            if world.network.arrived(get) < bytes {
                missing += 1;
                world.network.when(get, bytes, Event::Mount(Told::Reached(id)));
            }
        }
        match missing {
            0 => world.answer(id),
            _ => self.missing.push((id, missing)),
        }
    }
}

impl Mount for Whole {
    type Token = Told;

    fn has_readahead(&self) -> bool {
        true
    }

    fn open(&mut self, world: &mut World<Told>, file: usize, _thread: usize) -> bool {
        if self.files[file].gets.is_empty() {
            (0..PARALLEL).for_each(|_| self.go_on(world, file));
        }
        true
    }

    fn read(&mut self, world: &mut World<Told>, read: ReadId) {
        self.serve(world, read);
    }

    fn on(&mut self, world: &mut World<Told>, token: Told) {
        match token {
            Told::Ended(file) => self.go_on(world, file),
            Told::Reached(read) => {
                let Some(index) = self.missing.iter().position(|(waiting, _)| *waiting == read) else { return };
                self.missing[index].1 -= 1;
                if self.missing[index].1 == 0 {
                    self.missing.swap_remove(index);
                    world.answer(read);
                }
            }
        }
    }
}
