//! `decode(encode(canonicalise(x))) == canonicalise(x)`, for random columns of every type and every format.

use arrow::array::{Array, AsArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Float64Type, i256};
use proptest::prelude::*;

use super::columns::Growing;
use super::{FormatName, FormatSpec, Nullable, Side, create};
use crate::schema::Column;
use crate::types::SqlType;

/// One value of a row, to be read as whatever type is asked for.
#[derive(Debug, Clone)]
enum Seed {
    Null,
    Some { number: i64, text: String, inner: Vec<Seed> },
}

fn seed() -> impl Strategy<Value = Seed> {
    let text = prop_oneof![
        "[ -~]{0,6}",
        any::<String>(),
        Just(String::new()),
        Just("null".to_string()),
        Just("\"\r\n,\t ".to_string())
    ];
    let number = prop_oneof![any::<i64>(), -3i64..3];
    let leaf = prop_oneof![
        1 => Just(Seed::Null),
        4 => (number.clone(), text.clone()).prop_map(|(number, text)| Seed::Some { number, text, inner: vec![] }),
    ];
    leaf.prop_recursive(3, 12, 4, move |inner| {
        (number.clone(), text.clone(), proptest::collection::vec(inner, 0..4))
            .prop_map(|(number, text, inner)| Seed::Some { number, text, inner })
    })
}

fn scalar() -> impl Strategy<Value = SqlType> {
    prop_oneof![
        Just(SqlType::Boolean),
        Just(SqlType::Integer),
        Just(SqlType::Bigint),
        Just(SqlType::Double),
        (1u8..=76).prop_flat_map(|p| (0..=p).prop_map(move |s| SqlType::decimal(p, s))),
        Just(SqlType::String),
        Just(SqlType::Bytes),
        Just(SqlType::Date),
        Just(SqlType::Time),
        Just(SqlType::Timestamp),
    ]
}

fn any_type() -> impl Strategy<Value = SqlType> {
    scalar().prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(SqlType::array),
            inner.clone().prop_map(|value| SqlType::map(SqlType::String, value)),
            proptest::collection::vec(inner, 1..3).prop_map(|types| {
                SqlType::structure(types.into_iter().enumerate().map(|(i, ty)| (format!("f{i}"), ty)))
            }),
        ]
    })
}

fn push(ty: &SqlType, seed: &Seed, to: &mut Growing) {
    let Seed::Some { number, text, inner } = seed else { return to.push_null() };
    match ty {
        SqlType::Boolean => to.push_bool(number % 2 == 0),
        SqlType::Integer | SqlType::Date | SqlType::Time => to.push_int(*number as i32),
        SqlType::Bigint | SqlType::Timestamp => to.push_long(*number),
        SqlType::Double => {
            let value = f64::from_bits(*number as u64);
            to.push_double(if value.is_nan() { f64::NAN } else { value });
        }
        SqlType::Decimal { precision, .. } => {
            let limit =
                i256::from_string(&format!("1{}", "0".repeat(usize::from(*precision)))).expect("at most 77 digits");
            to.push_decimal(i256::from_parts(*number as u128, i128::from(*number >> 3)).wrapping_rem(limit));
        }
        SqlType::String | SqlType::Bytes => to.push_text(text.as_bytes()),
        SqlType::Array(item) => {
            inner.iter().for_each(|seed| push(item, seed, to.item()));
            to.end_row();
        }
        SqlType::Map(_, value) => {
            let (keys, values) = to.entries();
            for seed in inner {
                let name = if let Seed::Some { text, .. } = seed { text.as_str() } else { "" };
                keys.push_text(name.as_bytes());
                push(value, seed, values);
            }
            to.end_row();
        }
        SqlType::Struct(fields) => {
            for (i, field) in fields.iter().enumerate() {
                push(&field.ty, inner.get(i).unwrap_or(&Seed::Null), &mut to.fields()[i]);
            }
            to.end_row();
        }
    }
}

fn check(spec: &FormatSpec, side: Side, types: &[SqlType], rows: &[(bool, Vec<Seed>)]) -> Result<(), TestCaseError> {
    let fail = |e: crate::error::Error| TestCaseError::fail(e.to_string());
    let columns: Vec<Column> =
        types.iter().enumerate().map(|(i, ty)| Column::new(format!("C{i}"), ty.clone())).collect();
    let format = create(spec, &columns, side).map_err(fail)?;
    let mut growing: Vec<Growing> = types.iter().map(|ty| Growing::new(ty, 0)).collect();
    for (_, seeds) in rows {
        for (i, (ty, column)) in types.iter().zip(&mut growing).enumerate() {
            push(ty, seeds.get(i).unwrap_or(&Seed::Null), column);
        }
    }
    let arrays = growing.into_iter().map(Growing::finish).collect::<Result<Vec<_>, _>>().map_err(fail)?;
    let null: BooleanBuffer = rows.iter().map(|(null, _)| *null).collect();
    let canonical = format.canonicalise(arrays, Some(&null)).map_err(fail)?;
    prop_assert_eq!(&canonical.errors, &vec![]);
    let encoded = format.encode(&canonical.columns, canonical.null.as_ref()).map_err(fail)?;
    let wanted: Vec<usize> = (0..types.len()).collect();
    let decoded = format.decode(&encoded.bytes, &wanted).map_err(fail)?;
    prop_assert_eq!(&decoded.errors, &vec![]);
    prop_assert_eq!(&decoded.null, &canonical.null);
    for (a, b) in decoded.columns.iter().zip(&canonical.columns) {
        // NaN is not equal to itself, but its bits are.
        match (a.as_primitive_opt::<Float64Type>(), b.as_primitive_opt::<Float64Type>()) {
            (Some(a), Some(b)) => {
                let bits = |x: &arrow::array::Float64Array| x.iter().map(|v| v.map(f64::to_bits)).collect::<Vec<_>>();
                prop_assert_eq!(bits(a), bits(b));
            }
            _ => prop_assert_eq!(a.to_data(), b.to_data()),
        }
    }
    Ok(())
}

fn rows() -> impl Strategy<Value = Vec<(bool, Vec<Seed>)>> {
    proptest::collection::vec((proptest::bool::weighted(0.1), proptest::collection::vec(seed(), 0..4)), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn json_reads_what_it_writes(types in proptest::collection::vec(any_type(), 1..4), rows in rows(), bare: bool, key: bool) {
        let spec = FormatSpec { wrap_single: (types.len() == 1).then_some(!bare), ..FormatSpec::new(FormatName::Json) };
        check(&spec, if key { Side::Key } else { Side::Value }, &types, &rows)?;
    }

    #[test]
    fn delimited_reads_what_it_writes(
        types in proptest::collection::vec(scalar(), 1..4),
        rows in rows(),
        delimiter in prop_oneof![Just(None), Just(Some('\t')), Just(Some(' ')), Just(Some('a')), Just(Some('5')), Just(Some('é'))],
    ) {
        check(&FormatSpec { delimiter, ..FormatSpec::new(FormatName::Delimited) }, Side::Value, &types, &rows)?;
    }

    #[test]
    fn kafka_reads_what_it_writes(
        ty in prop_oneof![Just(SqlType::Integer), Just(SqlType::Bigint), Just(SqlType::Double), Just(SqlType::String), Just(SqlType::Bytes)],
        rows in rows(),
    ) {
        check(&FormatSpec::new(FormatName::Kafka), Side::Key, &[ty], &rows)?;
    }

    #[test]
    fn protobuf_reads_what_it_writes(
        types in proptest::collection::vec(any_type(), 1..4),
        rows in rows(),
        nullable in prop_oneof![Just(Nullable::Implicit), Just(Nullable::Optional), Just(Nullable::Wrapper)],
    ) {
        check(&FormatSpec { nullable, ..FormatSpec::new(FormatName::ProtobufNosr) }, Side::Value, &types, &rows)?;
    }

    #[test]
    fn protobuf_survives_any_bytes(records in proptest::collection::vec(proptest::collection::vec(0u8..40, 0..16), 0..8), ty in any_type()) {
        let columns = [Column::new("a", ty), Column::new("b", SqlType::Bigint)];
        let format = create(&FormatSpec::new(FormatName::ProtobufNosr), &columns, Side::Value)
            .map_err(|e| TestCaseError::fail(e.to_string()))?;
        let bytes = arrow::array::BinaryArray::from_vec(records.iter().map(Vec::as_slice).collect());
        let decoded = format.decode(&bytes, &[0, 1]).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(decoded.columns[0].len(), records.len());
    }

    #[test]
    fn json_survives_any_bytes(records in proptest::collection::vec("[\\[\\]{}\",:0-9a-eE.tnull\\\\ -]{0,24}", 0..8), ty in any_type()) {
        for wrap in [true, false] {
            let spec = FormatSpec { wrap_single: Some(wrap), ..FormatSpec::new(FormatName::Json) };
            let format = create(&spec, &[Column::new("a", ty.clone())], Side::Value)
                .map_err(|e| TestCaseError::fail(e.to_string()))?;
            let bytes = arrow::array::BinaryArray::from_vec(records.iter().map(|r| r.as_bytes()).collect());
            let decoded = format.decode(&bytes, &[0]).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(decoded.columns[0].len(), records.len());
        }
    }
}
