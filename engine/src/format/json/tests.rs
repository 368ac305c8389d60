//! What JSON records decode to, and what is written.

use arrow::util::display::array_value_to_string;

use super::*;

/// Each record as decoded, columns joined by ` | `; its error; or `null record`.
fn decode(columns: &[(&str, SqlType)], wrap: Option<bool>, records: &[&str]) -> Result<Vec<String>> {
    let columns: Vec<Column> = columns.iter().map(|(name, ty)| Column::new(*name, ty.clone())).collect();
    let format = Json::new(&columns, Side::Value, wrap)?;
    let bytes = BinaryArray::from_vec(records.iter().map(|r| r.as_bytes()).collect());
    let wanted: Vec<usize> = (0..columns.len()).collect();
    let all = format.decode(&bytes, &wanted)?;
    for only in &wanted {
        let one = format.decode(&bytes, &[*only])?;
        assert_eq!(
            one.columns[0].as_ref(),
            all.columns[*only].as_ref(),
            "a wanted column does not depend on the others"
        );
        assert_eq!(one.errors, all.errors);
    }
    Ok((0..records.len())
        .map(|row| {
            if let Some(error) = all.errors.iter().find(|e| e.row == row) {
                assert!(all.columns.iter().all(|c| c.is_null(row)));
                return error.message.trim_start_matches("the JSON cannot be read: ").to_string();
            }
            if all.null.as_ref().is_some_and(|n| n.value(row)) {
                return "null record".to_string();
            }
            let shown = all.columns.iter().map(|c| {
                if c.is_null(row) { "null".to_string() } else { array_value_to_string(c, row).unwrap_or_default() }
            });
            shown.collect::<Vec<_>>().join(" | ")
        })
        .collect())
}

fn decode_one(ty: SqlType, records: &[&str]) -> Result<Vec<String>> {
    decode(&[("V", ty)], Some(false), records)
}

#[test]
fn fields_match_exactly_then_in_upper_case() -> Result<()> {
    let columns = [("ID", SqlType::Bigint), ("Name", SqlType::String)];
    let read = decode(
        &columns,
        None,
        &[
            r#"{"ID":1,"Name":"a"}"#,
            r#"{"id":1,"name":"a"}"#,
            r#" { "Name" : "b" , "x" : [1,{"ID":5}] , "iD" : 2 } "#,
            r#"{"ID":1,"id":2}"#,
            r#"{"id":2,"ID":1}"#,
            r#"{"id":1,"id":2}"#,
            r#"{"id":"bad","id":2}"#,
            r#"{"\u0049D":7}"#,
            "{}",
            "null",
        ],
    )?;
    assert_eq!(
        read,
        [
            "1 | a",
            "1 | null",
            "2 | b",
            "1 | null",
            "1 | null",
            "2 | null",
            "2 | null",
            "7 | null",
            "null | null",
            "null record"
        ]
    );
    Ok(())
}

#[test]
fn one_value_may_fill_two_columns_that_differ_in_case() -> Result<()> {
    let columns = [("ID", SqlType::Bigint), ("id", SqlType::Bigint)];
    assert_eq!(decode(&columns, None, &[r#"{"id":1}"#, r#"{"ID":2}"#])?, ["1 | 1", "2 | null"]);
    Ok(())
}

#[test]
fn a_bad_record_is_null_in_all_columns_and_names_its_column() -> Result<()> {
    let columns = [("A", SqlType::String), ("B", SqlType::Integer)];
    let read = decode(
        &columns,
        None,
        &[
            r#"{"A":"x","B":true}"#,
            r#"{"A":"x","B":1"#,
            r#"{"A":"x","B":1} 2"#,
            "5",
            "",
            r#"{"A":"x","B":3000000000}"#,
            r#"{"A":"ok","B":1}"#,
        ],
    )?;
    assert_eq!(
        read,
        [
            "not an INTEGER, column `B`, byte 13",
            "a comma or the end of an object is missing, byte 14",
            "something after the end of the value, byte 16",
            "not an object, byte 0",
            "not an object, byte 0",
            "a number out of its type's range, column `B`, byte 13",
            "ok | 1"
        ]
    );
    Ok(())
}

#[test]
fn integers_come_from_numbers_and_numeric_text() -> Result<()> {
    assert_eq!(
        decode_one(
            SqlType::Bigint,
            &["12", "-1.9", "1e3", "\"-7\"", "9223372036854775807", "-9223372036854775808", "0", "-0"]
        )?,
        ["12", "-1", "1000", "-7", "9223372036854775807", "-9223372036854775808", "0", "0"]
    );
    assert_eq!(
        decode_one(SqlType::Bigint, &["9223372036854775808", "\"1.5\"", "true", "01", "[1]"])?,
        [
            "a number out of its type's range, column `V`, byte 0",
            "not a BIGINT, column `V`, byte 0",
            "not a BIGINT, column `V`, byte 0",
            "a number with a leading zero, column `V`, byte 0",
            "not a BIGINT, column `V`, byte 0",
        ]
    );
    Ok(())
}

#[test]
fn other_scalars() -> Result<()> {
    assert_eq!(decode_one(SqlType::Double, &["1", "\"1.5\"", "1e400", "\"NaN\""])?, ["1.0", "1.5", "inf", "NaN"]);
    assert_eq!(decode_one(SqlType::Boolean, &["true", "false", "null"])?, ["true", "false", "null record"]);
    assert_eq!(
        decode_one(SqlType::decimal(4, 2), &["10", "\"1.5\"", "1e1", "99.99"])?,
        ["10.00", "1.50", "10.00", "99.99"]
    );
    assert_eq!(
        decode_one(SqlType::decimal(4, 2), &["0.125"])?,
        ["a number that does not fit its DECIMAL without rounding, column `V`, byte 0"]
    );
    assert_eq!(decode_one(SqlType::Date, &["1", "\"1\""])?, ["1970-01-02", "1970-01-02"]);
    assert_eq!(decode_one(SqlType::Bytes, &["\"YQ==\"", "\"?\""])?, ["61", "not BYTES in base64, column `V`, byte 0"]);
    Ok(())
}

#[test]
fn a_string_takes_anything() -> Result<()> {
    assert_eq!(
        decode_one(
            SqlType::String,
            &[r#""a\n""#, "1", "1.50", "1e3", "true", r#"{ "a" : [1, 2.50], "b":null }"#, r#"[1, "x", null, {"a":1}]"#]
        )?,
        ["a\n", "1", "1.50", "1E+3", "true", r#"{"a":[1,2.50],"b":null}"#, r#"[1, x, null, {"a":1}]"#]
    );
    Ok(())
}

#[test]
fn nested_values() -> Result<()> {
    let point = SqlType::structure([("X", SqlType::Integer), ("Y", SqlType::array(SqlType::String))]);
    assert_eq!(
        decode(
            &[("M", SqlType::map(SqlType::String, point)), ("N", SqlType::Integer)],
            None,
            &[
                r#"{"m":{"a":{"x":1,"Y":["p",null]},"b":null,"a":{"X":2}},"n":1}"#,
                r#"{"m":{"a":{"x":1,"Y":["p",true]},"b":{"x":"no"}},"n":1}"#,
                r#"{"m":{},"n":2}"#,
            ]
        )?,
        ["{a: {X: 2, Y: }, b: } | 1", "not an INTEGER, column `M`, byte 42", "{} | 2"]
    );
    Ok(())
}

#[test]
fn bytes_that_are_not_utf8_are_a_row_error() -> Result<()> {
    let format = Json::new(&[Column::new("V", SqlType::String)], Side::Value, None)?;
    let records = BinaryArray::from_vec(vec![b"{\"V\":\"\xff\"}".as_slice(), b"{\"V\":\"ok\"}"]);
    let read = format.decode(&records, &[0])?;
    assert_eq!(read.errors.len(), 1);
    assert_eq!(read.columns[0].as_string::<i32>().value(1), "ok");
    // A character cut in two by a record's boundary is valid only as a whole.
    let records = BinaryArray::from_vec(vec![b"{\"V\":\"\xc3".as_slice(), b"\xa9\"}"]);
    assert_eq!(format.decode(&records, &[0])?.errors.len(), 2);
    Ok(())
}

#[test]
fn keys_of_one_column_are_bare_and_of_several_an_object() -> Result<()> {
    let one = [Column::new("A", SqlType::Integer)];
    let two = [Column::new("A", SqlType::Integer), Column::new("B", SqlType::String)];
    let a: ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![Some(1), None]));
    let b: ArrayRef = Arc::new(arrow::array::StringArray::from(vec![Some("x"), None]));
    let text = |bytes: BinaryArray| -> Vec<Option<String>> {
        bytes.iter().map(|b| b.map(|b| String::from_utf8_lossy(b).into_owned())).collect()
    };
    let bare = Json::new(&one, Side::Key, None)?.encode(std::slice::from_ref(&a), None)?.bytes;
    assert_eq!(text(bare), [Some("1".to_string()), None]);
    let both = Json::new(&two, Side::Key, None)?.encode(&[a, b], None)?.bytes;
    assert_eq!(text(both), [Some(r#"{"A":1,"B":"x"}"#.to_string()), Some(r#"{"A":null,"B":null}"#.to_string())]);
    Ok(())
}

/// A record is in or out as a whole, whatever a query asks for.
#[test]
fn half_a_surrogate_pair_is_refused_in_columns_nobody_wants() -> Result<()> {
    let format = Json::new(&[Column::new("V", SqlType::String)], Side::Value, None)?;
    for record in [r#"{"V":"\ud800"}"#, r#"{"V":["\ud800"]}"#, r#"{"V":{"\ud73d\ude00":1}}"#] {
        let bytes = BinaryArray::from_vec(vec![record.as_bytes()]);
        let (wanted, unwanted) = (format.decode(&bytes, &[0])?, format.decode(&bytes, &[])?);
        assert_eq!(wanted.errors.len(), 1, "{record}");
        assert_eq!(wanted.errors, unwanted.errors, "{record}");
    }
    Ok(())
}
