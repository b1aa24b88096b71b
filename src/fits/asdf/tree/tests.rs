use proptest::prelude::*;

use super::*;
use crate::fits::asdf::testing;

fn parsed(bytes: &[u8]) -> (Option<u64>, BTreeMap<i64, Node>) {
    let mut parser = Parser::default();
    let end = parser.push(bytes, bytes.len() as u64);
    (end, parser.into_nodes())
}

/// Name, type and shape of the arrays in a tree.
fn arrays(lines: &str) -> Vec<(i64, String, String, Vec<u64>)> {
    let nodes = parsed(&testing::tree(lines)).1;
    let describe = |(source, node): (i64, Node)| {
        let array = node.array(0);
        (source, node.name, array.datatype, array.shape)
    };
    nodes.into_iter().map(describe).collect()
}

fn array(source: i64, name: &str, datatype: &str, shape: &[u64]) -> (i64, String, String, Vec<u64>) {
    (source, name.to_owned(), datatype.to_owned(), shape.to_vec())
}

#[test]
fn the_tree_ends_behind_its_end_marker() {
    for (text, rest) in [
        ("#ASDF 1.0.0\n%YAML 1.1\n---\na: 1\n...\n", "padding"),
        ("#ASDF 1.0.0\r\n%YAML 1.1\r\n---\r\n...\r\n", "\u{0}"),
        ("#ASDF 1.0.0\n# comment\n\n%YAML 1.1\n---\n.... no\n ...\n...\n", ""),
        ("#ASDF 1.0.0\n%YAML 1.1\n---\n...", ""),
        ("#ASDF 1.0.0\n#ASDF_STANDARD 1.6.0\n", ""),
        ("#ASDF 1.0.0", ""),
        ("#ASDF 1.0.0\n", "\u{1}BLK"),
        ("#ASDF 1.0.0\n# no tree\n", "#ASDF BLOCK INDEX\n"),
    ] {
        let bytes = format!("{text}{rest}").into_bytes();
        assert_eq!(parsed(&bytes).0, Some(text.len() as u64), "{text:?}");
    }
    assert_eq!(parsed(b"#ASDF 1.0.0\n%YAML 1.1\n---\na: 1\n").0, None);
}

#[test]
fn arrays_in_block_style() {
    let lines = "\
asdf_library: !core/software-1.0.0 {author: The ASDF Developers, homepage: 'http://github.com/asdf-format/asdf',
  name: asdf, version: 5.4.0}
roman: !<asdf://stsci.edu/datamodels/roman/tags/wfi_image-1.4.0>
  meta: {a: 1, text: 'multi

      line: x'}
  data: !core/ndarray-1.1.0
    source: 0
    datatype: float32
    byteorder: little
    shape: [4088, 4088]
  dq: &id001 !core/ndarray-1.0.0
    source: 1
    datatype: uint32
    shape: [4088,
      4088]
  list:
  - !core/ndarray-1.1.0
    source: 2
    datatype: bool8
    shape: []
  - - value: !<tag:stsci.edu:asdf/core/ndarray-1.0.0>
        shape:
        - 7
        - 5
        datatype: [ucs4, 3]
        source: 3
  -
    x: !core/ndarray-1.1.0
      datatype:
      - {byteorder: little, datatype: int32, name: a}
      shape: [3]
      mask: !core/ndarray-1.1.0
        source: 77
      source: 4
inline: !core/ndarray-1.1.0
  data: [1, 2, 3]
  datatype: int64
  shape: [3]
also_inline: !core/ndarray-1.1.0 [1, 2]
after: 1
";
    let expected = [
        array(0, "roman.data", "float32", &[4088, 4088]),
        array(1, "roman.dq", "uint32", &[4088, 4088]),
        array(2, "roman.list.0", "bool8", &[]),
        array(3, "roman.list.1.0.value", "ucs4[3]", &[7, 5]),
        array(4, "roman.list.2.x", "record", &[3]),
    ];
    assert_eq!(arrays(lines), expected);
}

#[test]
fn arrays_in_flow_style() {
    let lines = "\
a: !core/ndarray-1.0.0 {source: 0, datatype: float64, byteorder: little, shape: [10, 20]}
b:
- !core/ndarray-1.0.0 {source: 1, datatype: [ascii, 9], strides: [9],
  shape: [12]}
c: {value: !core/ndarray-1.0.0 {datatype: int8, shape: ['*', 4], source: 2}, unit: DN}
d: !core/ndarray-1.0.0
  {source: 3, datatype: int8, shape: [4]}
";
    let expected =
        [array(0, "a", "float64", &[10, 20]), array(1, "b.0", "ascii[9]", &[12]), array(2, "c", "int8", &[0, 4])];
    assert_eq!(arrays(lines), expected);
    let node = &parsed(&testing::tree(lines)).1[&2];
    assert_eq!(node.array(42).shape, [10, 4]);
    assert!(parsed(&testing::tree(lines)).1[&1].is_view);
}

/// Looking through such nodes from their beginning with each line would take a minute here.
#[test]
fn nodes_in_flow_style_over_many_lines_are_looked_through_once() {
    let node = format!("a: !core/ndarray-1.0.0 {{\n{}}}\n", " ,\n".repeat(MAX_LINE / 2 - 2));
    let started = std::time::Instant::now();
    assert!(arrays(&node.repeat((16 << 20) / node.len())).is_empty());
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

#[test]
fn the_array_that_is_the_whole_block_describes_it() {
    let node = |name: &str, more: &str, rows: u64| {
        format!("{name}: !core/ndarray-1.0.0\n  source: 0\n  datatype: int16\n  shape: [{rows}, 5]\n{more}")
    };
    let (transposed, part, whole) =
        (node("t", "  strides: [2, 10]\n", 9), node("p", "  offset: 20\n", 3), node("w", "", 9));
    for lines in [[&transposed, &part, &whole], [&whole, &part, &transposed], [&part, &whole, &transposed]] {
        let lines: String = lines.into_iter().cloned().collect();
        assert_eq!(arrays(&lines), [array(0, "w", "int16", &[9, 5])]);
    }
}

#[test]
fn texts_hold_no_arrays() {
    let lines = "text: |\n  x: !core/ndarray-1.0.0 {source: 0, datatype: int8, shape: [1]}\n\n  y\nb: 1\n# c: !core/ndarray-1.0.0 {source: 0, datatype: int8, shape: [1]}\n";
    assert_eq!(arrays(lines), []);
}

#[test]
fn sizes_of_elements() {
    let array = |datatype: &str| Array { datatype: datatype.to_owned(), shape: vec![3, 2] };
    for (datatype, bitpix, len) in [
        ("float16", Some(-16), Some(12)),
        ("complex128", Some(-128), Some(96)),
        ("ucs4[5]", Some(160), Some(120)),
        ("ascii[0]", None, None),
        ("ascii[9999999999]", None, None),
        ("record", None, None),
    ] {
        assert_eq!((array(datatype).bitpix(), array(datatype).len()), (bitpix, len), "{datatype}");
    }
}

/// Lines that are like those of a tree, in any order.
fn lines() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        "[ ]{0,8}[a-z]{1,4}: !core/ndarray-1.0.0 ?[{\\[]?",
        "[ ]{0,8}(source|shape|datatype|strides|'shape'): [\\[{]?[0-9, *a-z]{0,12}[\\]}]?",
        "[ ]{0,4}(- ){0,3}[a-z]{0,3}:? ?[|>{}\\[\\]!&#%.]{0,3}",
        "[ -~]{0,40}",
    ];
    prop::collection::vec(line, 0..40).prop_map(|lines| lines.join("\n") + "\n")
}

proptest! {
    #[test]
    fn pieces_make_the_same_tree(lines in lines(), cuts in prop::collection::vec(1_usize..50, 1..9), noise: Vec<u8>) {
        let bytes = [testing::tree(&lines), noise].concat();
        let whole = parsed(&bytes);
        let mut parser = Parser::default();
        let (mut at, mut end) = (0, None);
        for cut in cuts.iter().cycle() {
            let to = (at + cut).min(bytes.len());
            end = parser.push(&bytes[at..to], bytes.len() as u64);
            at = to;
            if end.is_some() || at == bytes.len() {
                break;
            }
        }
        prop_assert_eq!((end, parser.into_nodes()), whole);
    }

    #[test]
    fn any_bytes_are_handled(bytes in prop::collection::vec(any::<u8>(), 0..400), text in "[#%\\-:{}\\[\\], *\n!&a-z0-9./é]{0,400}") {
        let (end, _) = parsed(&bytes);
        prop_assert!(end.is_none_or(|end| end <= bytes.len() as u64));
        for node in parsed(&testing::tree(&text)).1.into_values() {
            let _ = (node.array(7), node.name);
        }
    }
}
