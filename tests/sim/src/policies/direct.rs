//! A request for each READ.

use crate::run::{Event, Mount, ReadId, World};

pub(super) struct Direct {
    /// Whether the kernel reads ahead.
    pub readahead: bool,
}

impl Mount for Direct {
    type Token = ReadId;

    fn has_readahead(&self) -> bool {
        self.readahead
    }

    fn read(&mut self, world: &mut World<ReadId>, read: ReadId) {
        let range = &world.read(read).range;
        let length = range.end - range.start;
        world.network.get(length, None, Some(Event::Mount(read)));
    }

    fn on(&mut self, world: &mut World<ReadId>, read: ReadId) {
        world.answer(read);
    }
}
