use proptest::prelude::*;

use super::*;
use crate::fits::Chain;
use crate::fits::asdf::testing::{block, block_header, file, index, tree};
use crate::fits::testing::layout;

/// The layout of `file`, and the ranges that were needed, if each is given in full.
fn walk(file: &[u8]) -> (Layout, Vec<(u64, u64)>) {
    let mut chain = Chain::new(file.len() as u64);
    let mut needs = Vec::new();
    while let Need::Bytes { offset, len } = chain.need() {
        needs.push((offset, len));
        let (from, to) = (offset as usize, (offset + len) as usize);
        assert!(chain.feed(offset, &file[from..to]), "no progress at {offset}");
    }
    (chain.into_layout(), needs)
}

/// How many rounds it takes if in each one everything is fetched that is needed or guessed, `guesses` wide.
fn rounds(file: &[u8], guesses: usize) -> usize {
    let mut chain = Chain::new(file.len() as u64);
    let mut held = Vec::new();
    let mut rounds = 0;
    while let Need::Bytes { offset, len } = chain.need() {
        let known = held.iter().find(|(from, to)| *from <= offset && (offset + len).min(file.len() as u64) <= *to);
        if known.is_none() {
            rounds += 1;
            held.push((offset, offset + len));
            held.extend(chain.predict(guesses).into_iter().map(|at| (at, at + 8640)));
            continue;
        }
        chain.feed(offset, &file[offset as usize..(offset + len) as usize]);
    }
    rounds
}

fn offsets(layout: &Layout) -> Vec<u64> {
    layout.hdus.iter().map(|hdu| hdu.header_offset).collect()
}

/// Nodes of arrays of these lengths, one byte to an element.
fn nodes(lens: &[usize]) -> String {
    let node = |(n, len)| format!("a{n}: !core/ndarray-1.1.0\n  source: {n}\n  datatype: int8\n  shape: [{len}]\n");
    lens.iter().enumerate().map(node).collect()
}

fn long_tree(len: usize) -> String {
    "key: a value of some length\n".repeat(len / 28)
}

#[test]
fn tree_blocks_and_index_are_units() {
    let mut bytes = tree("data: !core/ndarray-1.1.0\n  source: 0\n  datatype: float32\n  shape: [3, 5]\n");
    let tree_end = bytes.len() as u64;
    bytes.extend([0; 33]);
    bytes.extend(block(60, 64));
    bytes.extend(block_header(0, b"bzp2", [10, 8, 300]));
    bytes.extend([0; 10]);
    let index_at = bytes.len() as u64;
    bytes.extend(index(&[tree_end as usize + 33]));
    let layout = layout(&bytes);
    assert_eq!(layout.tail, Tail::Clean);
    assert_eq!(offsets(&layout), [0, tree_end + 33, tree_end + 33 + 118, index_at]);
    let [tree, data, packed, index] = &layout.hdus[..] else { panic!("{:?}", layout.hdus) };
    assert_eq!((tree.data_offset, tree.data_len, tree.data_span), (tree_end, 0, 33));
    assert_eq!((data.data_offset, data.data_len, data.data_span), (tree_end + 33 + 54, 60, 64));
    assert_eq!((data.name.as_deref(), data.bitpix, &data.shape[..]), (Some("data"), -32, &[3, 5][..]));
    assert_eq!((data.row_len(), data.rows(), data.plane_len(), data.planes()), (20, 3, 60, 1));
    assert_eq!((packed.data_len, packed.data_span, packed.bitpix, &packed.shape[..]), (8, 10, 8, &[8][..]));
    assert_eq!((&index.kind, index.end()), (&HduKind::AsdfIndex, bytes.len() as u64));
    assert!(layout.in_header(5) && layout.in_header(tree_end + 33) && !layout.in_header(tree_end + 100));
}

#[test]
fn geometry_is_given_only_where_the_bytes_are_those_of_the_array() {
    let block_of = |lines: &str, block: Vec<u8>| {
        let hdu = layout(&file(lines, &[block])).hdus.swap_remove(1);
        let HduKind::AsdfBlock { array, .. } = hdu.kind else { panic!("{:?}", hdu.kind) };
        (hdu.bitpix, hdu.shape, array.map(|array| array.shape))
    };
    let node = |rest: &str| format!("a: !core/ndarray-1.1.0\n  source: 0\n  datatype: int16\n  shape: {rest}\n");
    let packed = [block_header(0, b"zlib", [9, 9, 70]), vec![0; 9]].concat();
    let streamed = [block_header(1, b"\0\0\0\0", [0; 3]), vec![0; 31]].concat();
    assert_eq!(block_of(&node("[5, 7]"), block(70, 70)), (16, vec![5, 7], Some(vec![5, 7])));
    assert_eq!(block_of(&node("[5, 7]"), block(69, 70)), (8, vec![69], Some(vec![5, 7])));
    let last = "a: !core/ndarray-1.1.0 {source: -1, datatype: int8, shape: ['*', 2]}\n";
    assert_eq!(block_of(last, streamed.clone()).1[1], 2);
    assert_eq!(block_of(&node("[5, 7]"), packed), (8, vec![9], Some(vec![5, 7])));
    assert_eq!(block_of(&node("[5, 7]\n  strides: [2, 10]"), block(70, 70)), (8, vec![70], Some(vec![5, 7])));
    assert_eq!(block_of("a: 1\n", block(70, 70)), (8, vec![70], None));
    let (bitpix, shape, _) = block_of(&node("['*', 4]"), streamed);
    assert_eq!((bitpix, shape[1]), (16, 4));
}

#[test]
fn the_tail_says_how_the_file_ends() {
    let whole = [tree(""), block(30, 40)].concat();
    let end = whole.len() as u64;
    let with = |more: &[u8]| layout(&[&whole, more].concat());
    let streamed = [block_header(1, b"\0\0\0\0", [0; 3]), vec![0; 500]].concat();
    let mut short_header = block(5, 5);
    short_header[5] = 47;
    let out_of_range = HeaderError::OutOfRange("header_size".to_owned());
    for (found, units, tail) in [
        (layout(&tree("")), 1, Tail::Clean),
        (layout(b"#ASDF 1.0.0\n"), 1, Tail::Clean),
        (layout(&whole), 2, Tail::Clean),
        (with(&streamed), 3, Tail::Clean),
        (with(&index(&[7])), 3, Tail::Clean),
        (with(b"x"), 2, Tail::TrailingBytes { offset: end, len: 1 }),
        (with(&[0; 999]), 2, Tail::TrailingBytes { offset: end, len: 999 }),
        (with(&block(5, 5)[..50]), 2, Tail::Malformed { offset: end, reason: HeaderError::CutShort }),
        (with(&block(5, 9)[..58]), 3, Tail::TruncatedData { hdu: 2, missing: 1 }),
        (with(&block(5, 9)[..60]), 3, Tail::MissingPadding { hdu: 2, missing: 3 }),
        (with(&short_header), 2, Tail::Malformed { offset: end, reason: out_of_range }),
        (layout(&tree("")[..60]), 0, Tail::Malformed { offset: 0, reason: HeaderError::EndlessTree }),
        (layout(&[tree(""), vec![0; 50]].concat()), 1, Tail::TrailingBytes { offset: tree("").len() as u64, len: 50 }),
        (layout(b"#ASDG 1.0.0\n"), 0, Tail::NotFits),
    ] {
        assert_eq!((found.hdus.len(), found.tail), (units, tail));
    }
}

#[test]
fn a_file_of_the_roman_telescope_takes_three_rounds() {
    let lens = [100_000, 70_000, 90_000, 300_000, 50_000, 80_000, 200_000];
    let blocks: Vec<_> = lens.iter().map(|len| block(*len, *len)).collect();
    let with_index = file(&(long_tree(150_000) + &nodes(&lens)), &blocks);
    assert_eq!(rounds(&with_index, 8), 3);
    assert_eq!(rounds(&with_index, 0), 2 + lens.len());
    // With no index, the arrays tell as much.
    let end = layout(&with_index).hdus.last().unwrap().header_offset as usize;
    assert_eq!(rounds(&with_index[..end], 8), 3);
    // Compressed blocks need the index, and the index alone will do.
    let unnamed = file(&long_tree(150_000), &blocks);
    assert_eq!(rounds(&unnamed, 8), 3);
}

#[test]
fn a_short_tree_saves_a_round() {
    let lens = [100_000; 5];
    let blocks: Vec<_> = lens.iter().map(|len| block(*len, *len)).collect();
    assert_eq!(rounds(&file(&nodes(&lens), &blocks), 8), 2);
    assert_eq!(rounds(&file("", &blocks), 8), 3);
    assert_eq!(rounds(&file("", &blocks[..1]), 8), 2);
}

#[test]
fn a_wrong_index_costs_requests_and_nothing_else() {
    let lens = [30_000; 6];
    let blocks: Vec<_> = lens.iter().map(|len| block(*len, *len)).collect();
    let good = file("", &blocks);
    let (right, _) = walk(&good);
    let end = right.hdus[7].header_offset as usize;
    let first = right.hdus[1].header_offset as usize;
    let right_but_late = [first, first + 1, first + 30_054, first + 99_999];
    for wrong in [&[][..], &[1, 2, 3], &[first], &right_but_late, &[end + 5], &[usize::MAX]] {
        let bytes = [&good[..end], &index(wrong)].concat();
        assert_eq!(offsets(&walk(&bytes).0), offsets(&right), "{wrong:?}");
        assert!(rounds(&bytes, 8) <= 9, "{wrong:?}");
    }
    let mut chain = Chain::new(good.len() as u64);
    chain.feed(0, &good[..first + 54]);
    let tail = good.len() - index::TAIL_LEN as usize;
    assert!(!chain.is_sure() && chain.feed(tail as u64, &good[tail..]) && chain.is_sure());
    assert_eq!(chain.predict(9), offsets(&right)[3..7]);
    assert_eq!(chain.predict(2), offsets(&right)[3..5]);
}

#[test]
fn blocks_are_followed_up_to_a_bound() {
    let mut chain = Chain::new(u64::MAX >> 1);
    chain.feed(0, &tree(""));
    let many = block(0, 0).repeat(1000);
    while let Need::Bytes { offset, .. } = chain.need() {
        assert!(chain.feed(offset, &many));
    }
    let layout = chain.into_layout();
    assert_eq!(layout.hdus.len(), MAX_BLOCKS + 1);
    assert!(matches!(layout.tail, Tail::Malformed { reason: HeaderError::TooManyBlocks(_), .. }), "{:?}", layout.tail);
}

#[test]
fn padding_and_tree_are_read_up_to_a_bound() {
    for (start, bound) in [(tree(""), MAX_PADDING_LEN), (b"#ASDF 1.0.0\n%YAML 1.1\n".to_vec(), tree::MAX_TREE_LEN)] {
        let mut chain = Chain::new(1 << 40);
        chain.feed(0, &start);
        let (zeros, mut rounds) = (vec![0; MAX_NEED_LEN as usize], 0);
        while let Need::Bytes { offset, len } = chain.need() {
            assert!(offset <= bound + 1000 && chain.feed(offset, &zeros[..len as usize]));
            rounds += 1;
        }
        assert!(rounds < 20, "{rounds}");
        assert!(!chain.into_layout().tail.is_clean());
    }
}

/// Files of a few blocks, some with padding, a streamed block, an index that is right or wrong; some damaged.
fn files() -> impl Strategy<Value = Vec<u8>> {
    let parts = (0_usize..400, 0_usize..90, prop::collection::vec((0_usize..9000, 0_usize..90), 0..6));
    let damage = (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..200), 0..5_u8);
    (parts, any::<bool>(), damage).prop_map(|((tree_len, padding, blocks), streamed, (at, noise, how))| {
        let lens: Vec<usize> = blocks.iter().map(|(used, _)| *used).collect();
        let mut bytes = tree(&(nodes(&lens) + &long_tree(tree_len)));
        bytes.resize(bytes.len() + padding, 0);
        let mut starts = Vec::new();
        for (used, more) in &blocks {
            starts.push(bytes.len());
            bytes.extend(block(*used, used + more));
        }
        if streamed {
            bytes.extend(block_header(1, b"\0\0\0\0", [0; 3]));
            bytes.extend(&noise);
        } else {
            bytes.extend(index(&starts));
        }
        let at = at.index(bytes.len());
        match how {
            0 => bytes.truncate(at),
            1 => bytes.iter_mut().skip(at).zip(&noise).for_each(|(byte, noise)| *byte = *noise),
            2 => bytes.extend(&noise),
            _ => {}
        }
        bytes
    })
}

proptest! {
    #[test]
    fn pieces_make_the_layout_of_the_whole(file in files(), sizes in prop::collection::vec(80_usize..9000, 1..20)) {
        let (whole, _) = walk(&file);
        let mut chain = Chain::new(file.len() as u64);
        for size in sizes.iter().cycle() {
            let Need::Bytes { offset, .. } = chain.need() else { break };
            let from = offset as usize;
            prop_assert!(chain.feed(offset, &file[from..(from + size).min(file.len())]));
        }
        prop_assert_eq!(chain.layout_so_far(), &whole);
        let mut at_once = Chain::new(file.len() as u64);
        at_once.feed(0, &file);
        prop_assert_eq!(at_once.into_layout(), whole);
    }

    #[test]
    fn units_lie_one_behind_the_other(file in files()) {
        let (layout, _) = walk(&file);
        let mut end = 0;
        for (index, hdu) in layout.hdus.iter().enumerate() {
            prop_assert_eq!((hdu.index, hdu.header_offset), (index, end));
            prop_assert!(hdu.data_offset > hdu.header_offset && hdu.data_offset <= layout.file_size);
            prop_assert!(hdu.data_len <= hdu.data_span);
            prop_assert!(hdu.plane_len().saturating_mul(hdu.planes()) <= hdu.data_len);
            end = hdu.end();
        }
    }

    #[test]
    fn guesses_never_alter_the_layout(file in files(), order in any::<bool>(), extra: u64, noise: Vec<u8>) {
        let (alone, _) = walk(&file);
        let mut chain = Chain::new(file.len() as u64);
        while let Need::Bytes { offset, len } = chain.need() {
            let mut ranges = vec![(offset, len)];
            let guesses = chain.predict(4);
            prop_assert!(guesses.is_sorted() && guesses.iter().all(|guess| *guess < file.len() as u64));
            ranges.extend(guesses.into_iter().map(|at| (at, 8640)));
            if order {
                ranges.reverse();
            }
            for (at, len) in ranges {
                let at = at as usize;
                chain.feed(at as u64, &file[at..(at + len as usize).min(file.len())]);
            }
            chain.feed(file.len() as u64 + extra % 9000, &noise);
        }
        prop_assert_eq!(chain.into_layout(), alone);
    }

    #[test]
    fn any_bytes_make_a_layout(size: u64, offset: u64, bytes: Vec<u8>, head in files(), cut in 0..2000_u64) {
        let mut chain = Walk::new(size.checked_shr(cut as u32 % 64).unwrap_or(size));
        chain.feed(offset, &bytes);
        chain.feed(0, &head);
        chain.feed(u64::MAX, &bytes);
        chain.feed(cut, &bytes);
        for _ in 0..4 {
            let _ = (chain.predict(3), chain.is_sure());
            if let Need::Bytes { offset, len } = chain.need() {
                prop_assert!(len > 0 && offset + len <= chain.layout_so_far().file_size);
                chain.feed(offset, &bytes);
            }
        }
        let layout = chain.into_layout();
        let _ = (layout.hdu_at(offset).is_some(), layout.in_header(u64::MAX));
        let _ = crate::fits::render::table(&layout);
    }
}
