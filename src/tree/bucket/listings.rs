//! The listings of a mount: those whose TTL has not ended, by directory, and one bound for what they and those that programs
//! hold open take in memory.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use moka::ops::compute::Op;
use parking_lot::Mutex;

use super::listing::Listing;
use crate::tree::Ttl;

/// Of what listings may take, one may take this share: a program that lists a large directory leaves the others known.
const LISTING_DIVISOR: usize = 2;

/// What listings take is added up each time when they have grown by this share of the bound.
const CHECK_DIVISOR: usize = 16;

/// Listings by directory.
#[derive(Debug)]
pub struct Listings {
    valid: moka::sync::Cache<Arc<str>, Arc<Listing>>,
    /// Those too that are only held open.
    all: Mutex<Vec<Weak<Listing>>>,
    most: usize,
    grown: AtomicUsize,
}

impl Listings {
    /// No listings yet, which will be valid for `ttl` and take at most so many bytes.
    pub fn new(ttl: Ttl, most: usize) -> Self {
        let valid = moka::sync::Cache::builder()
            .max_capacity(most as u64)
            .weigher(|_, listing: &Arc<Listing>| u32::try_from(listing.bytes()).unwrap_or(u32::MAX))
            .expire_after(ttl)
            .build();
        Self { valid, all: Mutex::default(), most, grown: AtomicUsize::new(0) }
    }

    /// How many bytes one listing may take.
    pub fn most_of_one(&self) -> usize {
        self.most / LISTING_DIVISOR
    }

    /// The listing of a directory, if it is there.
    pub fn get(&self, prefix: &str) -> Option<Arc<Listing>> {
        self.valid.get(prefix)
    }

    /// The listing of a directory, and whether it has been made for this.
    pub fn get_or_make(&self, prefix: &Arc<str>, make: impl FnOnce() -> Listing) -> (Arc<Listing>, bool) {
        let entry = self.valid.entry_by_ref(prefix).or_insert_with(|| Arc::new(make()));
        let (is_fresh, listing) = (entry.is_fresh(), entry.into_value());
        if is_fresh {
            self.all.lock().push(Arc::downgrade(&listing));
            self.has_grown(&listing, listing.bytes());
        }
        (listing, is_fresh)
    }

    /// Whether the listing of a directory is there.
    pub fn contains(&self, prefix: &str) -> bool {
        self.valid.contains_key(prefix)
    }

    /// The listing of a directory is not valid any more.
    pub fn invalidate(&self, prefix: &str) {
        self.valid.invalidate(prefix);
    }

    /// A listing has got so many bytes more. It is weighed when it is put into the cache, which was before. A speculative
    /// listing of nothing is forgotten: there is no such directory, and if there will be one it is not empty.
    pub fn grew(&self, prefix: &str, listing: &Arc<Listing>, bytes: usize) {
        self.valid.entry(prefix.into()).and_compute_with(|cached| match cached {
            Some(cached) if !Arc::ptr_eq(cached.value(), listing) => Op::Nop,
            Some(_) if listing.is_speculative() && listing.is_empty() => Op::Remove,
            Some(_) => Op::Put(listing.clone()),
            // It was dropped, as outdated or to make room.
            None => Op::Nop,
        });
        self.has_grown(listing, bytes);
    }

    fn has_grown(&self, listing: &Arc<Listing>, bytes: usize) {
        if self.grown.fetch_add(bytes, Ordering::Relaxed) + bytes > self.most / CHECK_DIVISOR {
            self.grown.store(0, Ordering::Relaxed);
            self.make_room(listing);
        }
    }

    /// Drops the entries of the listings that were begun first, until all of them keep within their bound. Those of
    /// `growing` are just being read.
    fn make_room(&self, growing: &Arc<Listing>) {
        let mut all = self.all.lock();
        all.retain(|listing| listing.strong_count() > 0);
        let mut listings: Vec<_> = all.iter().filter_map(Weak::upgrade).collect();
        drop(all);
        let mut taken: usize = listings.iter().map(|listing| listing.bytes()).sum();
        listings.sort_by_key(|listing| std::cmp::Reverse(listing.under_way()));
        for listing in listings.iter().filter(|listing| !Arc::ptr_eq(listing, growing)) {
            if taken <= self.most {
                return;
            }
            taken -= listing.drop_entries();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::ListPage;
    use crate::tree::bucket::entry;

    fn page(names: std::ops::Range<usize>) -> entry::Page {
        let prefixes = names.map(|n| format!("directory-{n:06}/")).collect();
        entry::page("", ListPage { prefixes, continuation: Some("more".to_owned()), ..ListPage::default() })
    }

    #[test]
    fn listings_that_are_held_open_keep_within_one_bound() {
        let most = 1 << 20;
        let listings = Listings::new(Ttl::new(Duration::from_secs(60)), most);
        let mut held = Vec::new();
        for n in 0..50 {
            let prefix: Arc<str> = format!("{n}/").into();
            let (listing, is_fresh) = listings.get_or_make(&prefix, || Listing::new("", true, listings.most_of_one()));
            assert!(is_fresh);
            for start in (0..10_000).step_by(1000) {
                let grown = listing.append(page(start..start + 1000), None).bytes;
                listings.grew(&prefix, &listing, grown);
            }
            held.push(listing);
            let taken: usize = held.iter().map(|listing| listing.bytes()).sum();
            assert!(taken <= most + most / CHECK_DIVISOR + most / 8, "{taken} bytes by {} listings", held.len());
        }
        assert!(held[49].bytes() > most / 4, "the last one is still known");
    }
}
