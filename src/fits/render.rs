//! A layout for people, as an aligned table, and for scripts, as JSON.
//!
//! Invariants: the text holds printable ASCII only when names come from headers (they are cleaned there); the names of the
//! JSON fields are those of [`Layout`] and [`Hdu`] and stay as they are.

use std::fmt::Write;

use serde::Serialize;

use super::hdu::Hdu;
use super::kind::HduKind;
use super::layout::{Layout, Tail};

const TITLES: [&str; 8] = ["No", "Name", "Ver", "Type", "Header offset", "Data offset", "Data span", "Shape"];
const IS_NUMBER: [bool; 8] = [true, false, true, false, true, true, true, false];

/// The layout as a table of one line to an HDU, offsets and spans in bytes, and a last line if the file does not end cleanly.
pub fn table(layout: &Layout) -> String {
    let mut rows = vec![TITLES.map(str::to_owned)];
    rows.extend(layout.hdus.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    let mut out = String::new();
    if layout.is_known() {
        rows.iter().for_each(|row| push_line(&mut out, row, &widths));
    }
    if let Some(note) = note(layout) {
        out.push_str(&note);
        out.push('\n');
    }
    out
}

/// The layout as JSON, with the path and the URL that it was asked for, where given.
pub fn json(layout: &Layout, path: Option<&str>, url: Option<&str>) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Document<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        path: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        url: Option<&'a str>,
        #[serde(flatten)]
        layout: &'a Layout,
    }
    serde_json::to_string_pretty(&Document { path, url, layout })
}

/// The shape and the element type of an image or an ASDF block, such as `(4240, 4200) float32` with the contiguous axis last;
/// the rows of a table; `-` if there are no data.
pub fn shape(hdu: &Hdu) -> String {
    let tiles = hdu.table.as_ref().and_then(|table| table.tiles.as_ref());
    match (&hdu.kind, tiles) {
        (_, Some(tiles)) => {
            let algorithm = tiles.algorithm.as_deref().unwrap_or("compressed");
            let (whole, tile) = (tuple(&tiles.shape), tuple(&tiles.tile_shape));
            format!("{whole} {} {algorithm} {tile}", element_type(tiles.bitpix, None))
        }
        (HduKind::AsdfBlock { compression, streamed, array, .. }, None) => {
            let array = array.as_ref().map(|array| format!("{} {}", tuple(&array.shape), array.datatype));
            let packed = compression.as_deref().into_iter().chain(streamed.then_some("streamed"));
            let words = std::iter::once(array.unwrap_or_else(|| format!("{} B", hdu.data_len)));
            words.chain(packed.map(str::to_owned)).collect::<Vec<_>>().join(" ")
        }
        (HduKind::Nonstandard, None) => format!("{} B", hdu.data_len),
        (HduKind::RandomGroups, None) => format!("{} groups x {} B", hdu.gcount, hdu.row_len()),
        _ if hdu.table.is_some() => format!("{} rows x {} B", hdu.rows(), hdu.row_len()),
        _ if hdu.shape.is_empty() => "-".to_owned(),
        _ => format!("{} {}", tuple(&hdu.shape), element_type(hdu.bitpix, hdu.bzero)),
    }
}

fn row(hdu: &Hdu) -> [String; 8] {
    [
        hdu.index.to_string(),
        hdu.name.clone().unwrap_or_default(),
        if hdu.kind.is_asdf() { String::new() } else { hdu.version.to_string() },
        type_name(&hdu.kind).to_owned(),
        hdu.header_offset.to_string(),
        hdu.data_offset.to_string(),
        hdu.data_span.to_string(),
        shape(hdu),
    ]
}

fn push_line(out: &mut String, row: &[String; 8], widths: &[usize; 8]) {
    let start = out.len();
    for ((cell, width), is_number) in row.iter().zip(widths).zip(IS_NUMBER) {
        // Writing to a string cannot fail.
        let _ = if is_number { write!(out, "{cell:>width$}  ") } else { write!(out, "{cell:<width$}  ") };
    }
    out.truncate(start + out[start..].trim_end().len());
    out.push('\n');
}

fn type_name(kind: &HduKind) -> &str {
    match kind {
        HduKind::Primary => "PRIMARY",
        HduKind::Image => "IMAGE",
        HduKind::BinTable => "BINTABLE",
        HduKind::AsciiTable => "TABLE",
        HduKind::CompressedImage => "COMPRESSED",
        HduKind::RandomGroups => "GROUPS",
        HduKind::Nonstandard => "NONSTANDARD",
        HduKind::Other(name) => name,
        HduKind::AsdfTree => "TREE",
        HduKind::AsdfBlock { .. } => "BLOCK",
        HduKind::AsdfIndex => "INDEX",
    }
}

/// The type of an element; the offsets that stand for the other signedness are those of FITS Standard 4.0, table 11.
fn element_type(bitpix: i64, bzero: Option<f64>) -> String {
    let flips = |half: f64| bzero == Some(half);
    match bitpix {
        8 if flips(-128.0) => "int8".to_owned(),
        8 => "uint8".to_owned(),
        16 if flips(32_768.0) => "uint16".to_owned(),
        32 if flips(2_147_483_648.0) => "uint32".to_owned(),
        64 if flips(9_223_372_036_854_775_808.0) => "uint64".to_owned(),
        bits if bits < 0 => format!("float{}", bits.unsigned_abs()),
        bits => format!("int{bits}"),
    }
}

/// The axes as a Python tuple.
fn tuple(axes: &[u64]) -> String {
    match axes {
        [axis] => format!("({axis},)"),
        _ => format!("({})", axes.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// What there is to say about the end of the file. What FITS calls an HDU goes by its line's number and type in ASDF.
fn note(layout: &Layout) -> Option<String> {
    let unit = if layout.is_asdf() { "BLOCK" } else { "HDU" };
    Some(match &layout.tail {
        Tail::Clean => return None,
        Tail::Unread { offset } => format!("Not read any further: the next header would begin at {offset}."),
        Tail::TrailingBytes { offset, len } => format!("{len} bytes from {offset} on do not belong to any {unit}."),
        Tail::TruncatedData { hdu, missing } => {
            format!("The file is truncated: {missing} bytes of the data of {unit} {hdu} are missing.")
        }
        Tail::MissingPadding { hdu, missing } => {
            format!("The last block is not filled up: {missing} bytes of padding of {unit} {hdu} are missing.")
        }
        Tail::MissingEnd { offset } => format!("The header at {offset} has no END card."),
        Tail::Malformed { offset, reason } => format!("The header at {offset} cannot be used: {reason}."),
        Tail::NotFits => "Not a FITS or ASDF file.".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fits::asdf::testing as asdf;
    use crate::fits::testing::{IMAGE, SIMPLE, hdu, header_bytes, image, layout};

    #[test]
    fn a_table_for_people() {
        let mut file = image(SIMPLE, 40, &[]);
        file.extend(header_bytes(&[
            IMAGE,
            "BITPIX  = -32",
            "NAXIS   = 2",
            "NAXIS1  = 42",
            "NAXIS2  = 25",
            "EXTNAME = 'SCI'",
            "EXTVER  = 12",
        ]));
        file.extend([0; 4000]);
        let expected = "\
No  Name     Ver  Type     Header offset  Data offset  Data span  Shape
 0  PRIMARY    1  PRIMARY              0         5760          0  -
 1  SCI       12  IMAGE             5760         8640       5760  (25, 42) float32
The file is truncated: 200 bytes of the data of HDU 1 are missing.
";
        assert_eq!(table(&layout(&file)), expected);
        assert_eq!(table(&layout(b"no FITS")), "Not a FITS or ASDF file.\n");
    }

    #[test]
    fn an_asdf_file() {
        let array = "data: !core/ndarray-1.1.0 {source: 0, datatype: int16, shape: [3, 5]}\n";
        let mut file = asdf::tree(array);
        file.extend(asdf::block(30, 32));
        file.extend(asdf::block_header(0, b"zlib", [9, 9, 20]));
        file.extend([0; 7]);
        let expected = "\
No  Name  Ver  Type   Header offset  Data offset  Data span  Shape
 0             TREE               0          165          0  -
 1  data       BLOCK            165          219         32  (3, 5) int16
 2             BLOCK            251          305          9  9 B zlib
The file is truncated: 2 bytes of the data of BLOCK 2 are missing.
";
        assert_eq!(table(&layout(&file)), expected);
        let found = json(&layout(&file), None, None).unwrap();
        let found: serde_json::Value = serde_json::from_str(&found).unwrap();
        let array = serde_json::json!({"datatype": "int16", "shape": [3, 5]});
        assert_eq!(found["hdus"][1]["kind"], serde_json::json!({"asdf_block": {"unpacked_len": 30, "array": array}}));
        assert_eq!(found["hdus"][1]["shape"], serde_json::json!([3, 5]));
    }

    #[test]
    fn json_for_scripts() {
        let text = json(&layout(&image(SIMPLE, 0, &[5])), Some("/data/a.fits"), None).unwrap();
        let found: serde_json::Value = serde_json::from_str(&text).unwrap();
        let hdu = serde_json::json!({
            "index": 0, "name": "PRIMARY", "version": 1, "kind": "primary", "header_offset": 0, "data_offset": 2880,
            "data_len": 5, "data_span": 2880, "bitpix": 8, "shape": [5], "pcount": 0, "gcount": 1,
        });
        let expected = serde_json::json!({
            "path": "/data/a.fits", "file_size": 5760, "hdus": [hdu], "tail": {"state": "clean"},
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn shapes_name_the_element_type() {
        for (bitpix, bzero, expected) in [
            (8, "0", "(3,) uint8"),
            (8, "-128", "(3,) int8"),
            (16, "32768", "(3,) uint16"),
            (32, "2147483648", "(3,) uint32"),
            (64, "9223372036854775808", "(3,) uint64"),
            (16, "5", "(3,) int16"),
            (-64, "0", "(3,) float64"),
        ] {
            let cards = [
                SIMPLE.to_owned(),
                format!("BITPIX  = {bitpix}"),
                "NAXIS   = 1".into(),
                "NAXIS1  = 3".into(),
                format!("BZERO   = {bzero}"),
            ];
            assert_eq!(shape(&hdu(&cards).unwrap()), expected);
        }
    }
}
