//! The rows that functions and aggregates run over: one batch of every type, a tenth of them null where a name ends in
//! `n`.
//!
//! | columns | hold |
//! |---|---|
//! | `i`, `b`, `c`, `bn` | INTEGER; BIGINT up to a million, up to a thousand, and with nulls |
//! | `d`, `e` | DOUBLE |
//! | `n`, `o` | DECIMAL(12, 2) |
//! | `t`, `u`, `tn` | words of 6 to 18 letters |
//! | `line`, `num`, `real`, `stamp`, `day`, `json` | texts: words with commas, whole numbers, fractions, times, dates, objects |
//! | `ts`, `ms`, `da` | TIMESTAMP, the same as BIGINT, DATE |
//! | `l`, `w`, `m`, `r` | ARRAY<BIGINT> of 5, ARRAY<STRING> of 5, MAP<STRING, BIGINT> of 3, STRUCT<A, B> |

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Decimal256Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow::datatypes::i256;
use headwater_engine::format::{FormatName, FormatSpec, Side, create};
use headwater_engine::schema::Column;
use headwater_engine::types::SqlType;

/// As many rows as a task takes at once.
pub const ROWS: usize = 4096;

const WORDS: [&str; 8] = ["stream", "Table", "windowed", "grace period", "partition", "Offset", "topic", "changes"];

/// A number that looks random; the same in every run.
pub fn scattered(row: usize, salt: u64) -> u64 {
    let mut x = (row as u64).wrapping_add(salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^= x >> 29;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^ (x >> 32)
}

pub fn word(row: usize, salt: u64) -> String {
    let seed = scattered(row, salt);
    format!("{}{}", WORDS[seed as usize % WORDS.len()], seed % 1_000_000)
}

pub fn columns() -> Vec<Column> {
    use SqlType::{Bigint, Date, Double, Integer, String, Timestamp};
    let decimal = SqlType::decimal(12, 2);
    [
        ("I", Integer),
        ("B", Bigint),
        ("C", Bigint),
        ("BN", Bigint),
        ("D", Double),
        ("E", Double),
        ("N", decimal.clone()),
        ("O", decimal),
        ("T", String),
        ("U", String),
        ("TN", String),
        ("LINE", String),
        ("NUM", String),
        ("REAL", String),
        ("STAMP", String),
        ("DAY", String),
        ("JSON", String),
        ("TS", Timestamp),
        ("MS", Bigint),
        ("DA", Date),
        ("L", SqlType::array(Bigint)),
        ("W", SqlType::array(String)),
        ("M", SqlType::map(String, Bigint)),
        ("R", SqlType::structure([("A", Bigint), ("B", String)])),
    ]
    .into_iter()
    .map(|(name, ty)| Column::new(name, ty))
    .collect()
}

pub fn batch() -> RecordBatch {
    let numbers = |salt: u64, below: u64| (0..ROWS).map(move |row| (scattered(row, salt) % below) as i64);
    let reals = |salt: u64| (0..ROWS).map(move |row| scattered(row, salt) as f64 / u64::MAX as f64 * 2000.0 - 1000.0);
    let texts =
        |text: &dyn Fn(usize) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values((0..ROWS).map(text))) };
    let decimals = |salt: u64| -> ArrayRef {
        let values = Decimal256Array::from_iter_values(numbers(salt, 1_000_000).map(|v| i256::from_i128(v.into())));
        Arc::new(values.with_precision_and_scale(12, 2).expect("DECIMAL(12, 2)"))
    };
    let null = |row: usize| scattered(row, 99).is_multiple_of(10);
    let day_ms = 86_400_000;
    let ms = |row: usize| 1_600_000_000_000 + (scattered(row, 7) % 100_000_000_000) as i64;
    let columns = columns();
    let nested = nested(&columns);
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(numbers(1, 1000).map(|v| v as i32 - 500))),
        Arc::new(Int64Array::from_iter_values(numbers(2, 1_000_000))),
        Arc::new(Int64Array::from_iter_values(numbers(3, 1000).map(|v| v + 1))),
        Arc::new(Int64Array::from_iter(numbers(4, 1000).enumerate().map(|(row, v)| (!null(row)).then_some(v)))),
        Arc::new(Float64Array::from_iter_values(reals(5))),
        Arc::new(Float64Array::from_iter_values(reals(6))),
        decimals(8),
        decimals(9),
        texts(&|row| word(row, 10)),
        texts(&|row| word(row, 11)),
        Arc::new(StringArray::from_iter((0..ROWS).map(|row| (!null(row)).then(|| word(row, 12))))),
        texts(&|row| format!("{},{},{},{}", word(row, 13), word(row, 14), word(row, 15), word(row, 16))),
        texts(&|row| (scattered(row, 17) % 1_000_000).to_string()),
        texts(&|row| format!("{}.{}", scattered(row, 18) % 10_000, scattered(row, 19) % 1000)),
        texts(&|row| format!("2021-{:02}-{:02}T10:{:02}:{:02}", row % 12 + 1, row % 28 + 1, row % 60, row % 59)),
        texts(&|row| format!("2021-{:02}-{:02}", row % 12 + 1, row % 28 + 1)),
        texts(&|row| {
            format!("{{\"id\":{row},\"who\":{{\"name\":\"{}\",\"age\":{}}},\"tags\":[1,2,3]}}", word(row, 20), row % 90)
        }),
        Arc::new(TimestampMillisecondArray::from_iter_values((0..ROWS).map(ms))),
        Arc::new(Int64Array::from_iter_values((0..ROWS).map(ms))),
        Arc::new(Date32Array::from_iter_values((0..ROWS).map(|row| (ms(row) / day_ms) as i32))),
    ];
    let schema = arrow::datatypes::Schema::new(columns.iter().map(Column::to_arrow).collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), arrays.into_iter().chain(nested).collect()).expect("columns of one length")
}

/// The last four columns, read from JSON.
fn nested(columns: &[Column]) -> Vec<ArrayRef> {
    let nested = &columns[columns.len() - 4..];
    let records: Vec<String> = (0..ROWS)
        .map(|row| {
            let (n, w) = (|salt| scattered(row, salt) % 100, |salt| word(row, salt));
            format!(
                "{{\"L\":[{},{},{},{},{}],\"W\":[\"{}\",\"{}\",\"{}\",\"{}\",\"{}\"],\"M\":{{\"a\":{},\"b\":{},\"c\":{}}},\
                 \"R\":{{\"A\":{},\"B\":\"{}\"}}}}",
                n(21), n(22), n(23), n(24), n(25), w(26), w(27), w(28), w(29), w(30), n(31), n(32), n(33), n(34), w(35)
            )
        })
        .collect();
    let format = create(&FormatSpec::new(FormatName::Json), nested, Side::Value).expect("JSON holds these columns");
    let bytes = arrow::array::BinaryArray::from_iter_values(records);
    format.decode(&bytes, &[0, 1, 2, 3]).expect("good JSON").columns
}
