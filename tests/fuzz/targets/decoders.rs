//! One record's bytes, read as a key or value of a format.
//!
//! | step | must hold |
//! |---|---|
//! | read alone | all columns or none: a rejected row is null in every column, and it says why |
//! | read between good records | the same row, and its neighbours are what they are without it |
//! | read fewer columns | the same columns, the same verdict |
//! | write and read again | `decode(encode(decode(x))) == decode(x)`, and it is in the canonical form already |
//!
//! The first character of the input picks the columns: `0` the first of the target's list, `1` the next.

use arrow::array::{Array, ArrayRef, BinaryArray};
use arrow::buffer::BooleanBuffer;
use headwater_engine::format::{Decoded, Format, FormatName, FormatSpec, Nullable, Side, create, sniff, windowed};
use headwater_engine::plan::steps::{WindowInfo, WindowType};
use headwater_engine::schema::Column;
use headwater_engine::sql::parse_type;
use headwater_engine::types::SqlType;

/// Columns of one side of a record, as a source would declare them.
struct Layout {
    side: Side,
    /// Value columns: a single one as a field, or bare.
    wrap: Option<bool>,
    delimiter: Option<char>,
    nullable: Nullable,
    types: &'static [&'static str],
}

const fn value(types: &'static [&'static str]) -> Layout {
    Layout { side: Side::Value, wrap: None, delimiter: None, nullable: Nullable::Implicit, types }
}

const fn bare(types: &'static [&'static str]) -> Layout {
    Layout { wrap: Some(false), ..value(types) }
}

const fn key(types: &'static [&'static str]) -> Layout {
    Layout { side: Side::Key, ..value(types) }
}

const fn delimited_by(delimiter: char, types: &'static [&'static str]) -> Layout {
    Layout { delimiter: Some(delimiter), ..value(types) }
}

const fn nullable(nullable: Nullable, types: &'static [&'static str]) -> Layout {
    Layout { nullable, ..value(types) }
}

const SCALARS: &[&str] =
    &["BOOLEAN", "INT", "BIGINT", "DOUBLE", "DECIMAL(10, 2)", "STRING", "BYTES", "DATE", "TIME", "TIMESTAMP"];
const NESTED: &[&str] = &[
    "ARRAY<ARRAY<INT>>",
    "MAP<STRING, MAP<STRING, DOUBLE>>",
    "STRUCT<a INT, b ARRAY<STRUCT<c STRING, d DECIMAL(4, 1)>>>",
    "MAP<STRING, STRUCT<e BOOLEAN, `f` TIMESTAMP>>",
    "ARRAY<MAP<STRING, BYTES>>",
];

pub fn json(input: &[u8]) {
    const LAYOUTS: &[Layout] = &[
        value(SCALARS),
        value(NESTED),
        value(&["STRING"]),
        bare(&["STRING"]),
        bare(&["BIGINT"]),
        bare(&["DOUBLE"]),
        bare(&["DECIMAL(76, 38)"]),
        bare(&["ARRAY<STRING>"]),
        bare(&["MAP<STRING, INT>"]),
        bare(&["STRUCT<a STRING, b STRUCT<c DATE, d TIME>>"]),
        key(&["STRING"]),
        key(&["INT"]),
        key(&["STRUCT<a STRING, b BIGINT>"]),
        key(&["STRING", "TIMESTAMP"]),
        value(&[]),
    ];
    check(FormatName::Json, LAYOUTS, input);
}

pub fn delimited(input: &[u8]) {
    const LAYOUTS: &[Layout] = &[
        value(SCALARS),
        value(&["STRING"]),
        value(&["DOUBLE", "DOUBLE"]),
        value(&["DECIMAL(76, 38)", "DECIMAL(3, 3)"]),
        value(&["BYTES", "STRING"]),
        delimited_by('\t', &["STRING", "STRING", "STRING"]),
        delimited_by(' ', &["STRING", "BIGINT"]),
        delimited_by('5', &["STRING", "INT"]),
        delimited_by('é', &["STRING", "STRING"]),
        key(&["STRING"]),
        key(&["BIGINT", "STRING"]),
        value(&[]),
    ];
    check(FormatName::Delimited, LAYOUTS, input);
}

pub fn kafka(input: &[u8]) {
    const LAYOUTS: &[Layout] = &[
        value(&["STRING"]),
        value(&["INT"]),
        value(&["BIGINT"]),
        value(&["DOUBLE"]),
        value(&["BYTES"]),
        key(&["STRING"]),
        key(&["INT"]),
        key(&["BIGINT"]),
        key(&["DOUBLE"]),
        key(&["BYTES"]),
    ];
    check(FormatName::Kafka, LAYOUTS, input);
    if let Some((_, record)) = input.split_first() {
        check_window(record);
        check_shown(record);
    }
}

pub fn protobuf(input: &[u8]) {
    const LAYOUTS: &[Layout] = &[
        value(SCALARS),
        value(NESTED),
        value(&["ARRAY<INT>", "ARRAY<DOUBLE>", "ARRAY<BOOLEAN>", "ARRAY<STRING>", "ARRAY<BIGINT>"]),
        value(&["DECIMAL(76, 38)", "DECIMAL(2, 0)"]),
        value(&["MAP<STRING, ARRAY<BIGINT>>", "ARRAY<DATE>", "ARRAY<TIME>"]),
        key(&["STRING"]),
        key(&["BIGINT", "TIMESTAMP"]),
        nullable(Nullable::Optional, SCALARS),
        nullable(Nullable::Optional, NESTED),
        nullable(Nullable::Wrapper, SCALARS),
        nullable(Nullable::Wrapper, NESTED),
    ];
    check(FormatName::ProtobufNosr, LAYOUTS, input);
}

fn check(name: FormatName, layouts: &[Layout], input: &[u8]) {
    let Some((&pick, record)) = input.split_first() else { return };
    let layout = &layouts[usize::from(pick.wrapping_sub(b'0')) % layouts.len()];
    let columns: Vec<Column> =
        layout.types.iter().enumerate().map(|(i, ty)| Column::new(format!("C{i}"), type_of(ty))).collect();
    let Layout { delimiter, wrap: wrap_single, nullable, .. } = *layout;
    let spec = FormatSpec { delimiter, wrap_single, nullable, ..FormatSpec::new(name) };
    let format = create(&spec, &columns, layout.side).expect("the format can hold these columns");
    let all: Vec<usize> = (0..columns.len()).collect();

    let alone = decode(format.as_ref(), &[Some(record)], &all);
    check_whole(&alone, &columns);
    check_neighbours(format.as_ref(), &columns, record, &alone, &all);
    for wanted in [&all[..all.len().min(1)], &all[all.len() / 2..], &[]] {
        let fewer = decode(format.as_ref(), &[Some(record)], wanted);
        assert_eq!(fewer.errors, alone.errors, "errors, and errors when only {wanted:?} are wanted");
        assert_eq!(fewer.null, alone.null, "null, and null when only {wanted:?} are wanted");
        let same: Vec<ArrayRef> = wanted.iter().map(|&i| alone.columns[i].clone()).collect();
        assert_same(&fewer.columns, &same, "columns wanted, and all columns");
    }
    if alone.errors.is_empty() {
        check_rewritten(format.as_ref(), &alone, &all);
    }
}

fn type_of(text: &str) -> SqlType {
    let name = parse_type(text).expect("a type");
    headwater_engine::plan::analyze::resolve_type(&name, &|_| None).expect("a type without names")
}

fn decode(format: &dyn Format, records: &[Option<&[u8]>], wanted: &[usize]) -> Decoded {
    let records = BinaryArray::from_opt_vec(records.to_vec());
    let decoded = format.decode(&records, wanted).expect("a format never fails because of data");
    assert_eq!(decoded.columns.len(), wanted.len());
    assert!(decoded.columns.iter().all(|c| c.len() == records.len()), "a row for each record");
    assert!(decoded.errors.windows(2).all(|e| e[0].row < e[1].row), "errors ascend: {:?}", decoded.errors);
    decoded
}

/// A record is read as its types say, or set aside whole.
fn check_whole(alone: &Decoded, columns: &[Column]) {
    for (array, column) in alone.columns.iter().zip(columns) {
        assert_eq!(array.data_type(), &column.ty.to_arrow(), "the type of {}", column.name);
        array.to_data().validate_full().expect("a valid array");
    }
    let rejected = alone.errors.first();
    let null = is_null(alone, 0);
    if rejected.is_some() || null {
        assert!(alone.columns.iter().all(|c| c.is_null(0)), "all columns of a row without values are null");
    }
    if let Some(error) = rejected {
        assert!(!null, "a rejected record is no null record");
        assert!(!error.message.trim().is_empty(), "a rejected record has a reason");
        assert!(error.message.len() < 4096, "a reason is short: {} bytes", error.message.len());
    }
}

fn is_null(decoded: &Decoded, row: usize) -> bool {
    decoded.null.as_ref().is_some_and(|null| null.value(row))
}

/// The record between others: `good, record, null, good, record`.
fn check_neighbours(format: &dyn Format, columns: &[Column], record: &[u8], alone: &Decoded, all: &[usize]) {
    let good = good_record(format, columns, all);
    let good = good.is_valid(0).then(|| good.value(0));
    let [good_alone, null_alone] = [good, None].map(|record| decode(format, &[record], all));
    assert_eq!(good_alone.errors, vec![], "the record beside it is good");
    let together = decode(format, &[good, Some(record), None, good, Some(record)], all);
    for (row, single) in [&good_alone, alone, &null_alone, &good_alone, alone].into_iter().enumerate() {
        let columns: Vec<ArrayRef> = together.columns.iter().map(|c| c.slice(row, 1)).collect();
        assert_same(&columns, &single.columns, "a row among others, and alone");
        assert_eq!(is_null(&together, row), is_null(single, 0), "row {row} is null among others, and alone");
        let error = together.errors.iter().find(|e| e.row == row).map(|e| &e.message);
        assert_eq!(error, single.errors.first().map(|e| &e.message), "row {row} is rejected among others, and alone");
    }
}

/// A record in which every column has a value.
fn good_record(format: &dyn Format, columns: &[Column], all: &[usize]) -> BinaryArray {
    let fields: Vec<String> = columns.iter().map(|c| format!("{:?}:{}", c.name, good_value(&c.ty))).collect();
    let text = format!("{{{}}}", fields.join(","));
    let json = create(&FormatSpec::new(FormatName::Json), columns, Side::Value).expect("JSON can hold these columns");
    let values = decode(json.as_ref(), &[Some(text.as_bytes())], all);
    assert_eq!(values.errors, vec![], "{text}");
    format.encode(&values.columns, Some(&BooleanBuffer::new_unset(1))).expect("a good row is written").bytes
}

/// Some value of a type as JSON.
fn good_value(ty: &SqlType) -> String {
    match ty {
        SqlType::Boolean => "true".to_string(),
        SqlType::Integer | SqlType::Bigint | SqlType::Date | SqlType::Time | SqlType::Timestamp => "7".to_string(),
        SqlType::Double => "1.5".to_string(),
        SqlType::Decimal { .. } => "0".to_string(),
        SqlType::String => "\"x\"".to_string(),
        SqlType::Bytes => "\"AQID\"".to_string(),
        SqlType::Array(item) => format!("[{0},{0}]", good_value(item)),
        SqlType::Map(_, value) => format!("{{\"k\":{}}}", good_value(value)),
        SqlType::Struct(fields) => {
            let fields: Vec<String> = fields.iter().map(|f| format!("{:?}:{}", f.name, good_value(&f.ty))).collect();
            format!("{{{}}}", fields.join(","))
        }
    }
}

/// What was read is canonical, can be written, and reads back.
fn check_rewritten(format: &dyn Format, read: &Decoded, all: &[usize]) {
    let canonical = format.canonicalise(read.columns.clone(), read.null.as_ref()).expect("no failure because of data");
    assert_eq!(canonical.errors, vec![]);
    assert_same(&canonical.columns, &read.columns, "the canonical form, and what was read");
    let written = format.encode(&read.columns, read.null.as_ref()).expect("no failure because of data");
    assert_eq!(written.errors, vec![]);
    let again = format.decode(&written.bytes, all).expect("no failure because of data");
    assert_eq!(again.errors, vec![], "errors in what was written");
    assert_same(&again.columns, &read.columns, "what was written and read again, and what was read");
    assert_eq!(is_null(&again, 0), canonical.null.is_some_and(|null| null.value(0)));
}

/// Equal in all bits; NaN is NaN.
fn assert_same(left: &[ArrayRef], right: &[ArrayRef], what: &str) {
    for (left, right) in left.iter().zip(right) {
        if left.to_data() != right.to_data() {
            // NaN is not equal to itself, but prints as itself.
            assert_eq!(format!("{left:?}"), format!("{right:?}"), "{what}");
        }
    }
}

/// A windowed key comes apart as it was put together.
fn check_window(key: &[u8]) {
    let keys = BinaryArray::from_vec(vec![key]);
    for (kind, size_ms) in [(WindowType::Tumbling, Some(30)), (WindowType::Session, None)] {
        let split = windowed::split(&keys, &WindowInfo { kind, size_ms });
        assert_eq!(split.keys.is_null(0), !split.errors.is_empty());
        if split.errors.is_empty() {
            assert_eq!(windowed::join(&split.keys, &split.windows, kind), keys);
        }
    }
}

/// PRINT shows any bytes, whatever their time.
fn check_shown(record: &[u8]) {
    let time_ms = record.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes));
    let lines = sniff::Printer::default().lines(time_ms, Some(record), Some(record), 0);
    assert_eq!(lines.len(), 3, "a format for the key, one for the value, and the record");
}
