//! What functions answer, as SQL.

use arrow::array::{BooleanArray, Int32Array, StringArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::compute::{cast, concat, take};
use arrow::datatypes::DataType;

use super::*;
use crate::functions::testing::{expect_values, value};
use crate::functions::values::access;

#[test]
fn numbers() {
    expect_values(&[
        ("ABS(-3)", "3"),
        ("ABS(-3.25)", "3.25"),
        ("CEIL(1.1e0)", "2.0"),
        ("CEIL(CAST(1.1 AS DECIMAL(2,1)))", "2.0"),
        ("FLOOR(CAST(-1.1 AS DECIMAL(2,1)))", "-2.0"),
        ("ROUND(2.5e0)", "3"),
        ("ROUND(-2.5e0)", "-2"),
        ("ROUND(1.234567e0, 2)", "1.23"),
        ("ROUND(CAST(1.55 AS DECIMAL(4,2)), 1)", "1.60"),
        ("ROUND(CAST(1.55 AS DECIMAL(4,2)))", "2"),
        ("TRUNC(-1.7e0)", "-1"),
        ("SIGN(-2)", "-1"),
        ("SQRT(4)", "2.0"),
        ("LN(0)", "-Infinity"),
        ("LOG(-13)", "NaN"),
        ("LOG(15, 13)", "0.9471572411831843"),
        ("POWER(15, -1)", "0.06666666666666667"),
        ("COT(0)", "Infinity"),
        ("ACOS(2)", "NaN"),
        ("GREATEST(1, 3, 2)", "3"),
        ("GREATEST(1, null, 2)", "2"),
        ("LEAST(1.5, 2.25)", "1.50"),
        ("LEAST('b', 'a', null)", "a"),
        ("GREATEST(CAST('2020-01-01' AS DATE), '2022-06-14')", "2022-06-14"),
        ("GEO_DISTANCE(37.4439e0, -122.1663e0, 51, 0)", "8682.459061368269"),
        ("GEO_DISTANCE(37.4439e0, -122.1663e0, 51.5257e0, -0.1122e0, 'MI')", "5365.659729188262"),
        ("GENERATE_SERIES(4, 0)", "[4, 3, 2, 1, 0]"),
        ("GENERATE_SERIES(-2, 1, 2)", "[-2, 0]"),
        ("GENERATE_SERIES(1, 2, 0)", "!"),
    ]);
}

#[test]
fn arrays_and_maps() {
    expect_values(&[
        ("ARRAY_LENGTH(ARRAY[1, 2])", "2"),
        ("ARRAY_CONTAINS(ARRAY['a', 'b'], 'b')", "true"),
        ("ARRAY_CONTAINS(ARRAY[1, 2], 3)", "false"),
        ("ARRAY_CONCAT(ARRAY[1], ARRAY[2, 1])", "[1, 2, 1]"),
        ("ARRAY_DISTINCT(ARRAY[1, 2, null, 1, null])", "[1, 2, null]"),
        ("ARRAY_DISTINCT(ARRAY[MAP('a' := 1, 'b' := 2), MAP('b' := 2, 'a' := 1)])", "[{a=1, b=2}]"),
        ("ARRAY_UNION(ARRAY[1, 2], ARRAY[2, 3])", "[1, 2, 3]"),
        (
            "ARRAY_UNION(GENERATE_SERIES(1, 12), ARRAY[3, 20, 20, 11, 12])",
            "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 20]",
        ),
        ("ARRAY_EXCEPT(GENERATE_SERIES(1, 15), GENERATE_SERIES(3, 15))", "[1, 2]"),
        ("ARRAY_INTERSECT(GENERATE_SERIES(1, 15), GENERATE_SERIES(14, 30))", "[14, 15]"),
        ("ARRAY_INTERSECT(ARRAY[3, 1, 3], ARRAY[3])", "[3]"),
        ("ARRAY_EXCEPT(ARRAY[0, 0, 1, -1], ARRAY[1])", "[0, -1]"),
        ("ARRAY_REMOVE(ARRAY['foo', 'bar', 'foo'], 'foo')", "[bar]"),
        ("ARRAY_UNION(ARRAY[1, null], ARRAY[null, 2])", "[1, null, 2]"),
        ("ARRAY_EXCEPT(ARRAY[1, null, 2, 1], ARRAY[2])", "[1, null]"),
        ("ARRAY_CONTAINS(ARRAY[1, null], null)", "true"),
        ("ARRAY_CONTAINS(ARRAY['ab', 'c'], 'b')", "false"),
        ("ARRAY_MAX(ARRAY[1, null, 3])", "3"),
        ("TO_JSON_STRING(MAP('b' := 1, 'a' := 2))", "{\"a\":2,\"b\":1}"),
        ("PARSE_TIME('10', 'hh')", "!"),
        ("PARSE_TIME('30', 'mm')", "!"),
        ("PARSE_TIME('10 PM', 'hh a')", "22:00"),
        ("STRINGTODATE('2018-05', 'yyyy-MM')", "!"),
        ("STRINGTODATE('2018-05-11 10', 'yyyy-MM-dd HH')", "17662"),
        ("ARRAY_MAX(ARRAY['b', null, 'c', 'a'])", "c"),
        ("ARRAY_MIN(ARRAY[2.5e0, -1.0e0, null])", "-1.0"),
        ("ARRAY_SORT(ARRAY['b', null, 'c', 'a'], 'desc')", "[c, b, a, null]"),
        ("ARRAY_SORT(ARRAY[2, null, 1, 3], 'DESCENDING')", "[3, 2, 1, null]"),
        ("ARRAY_SORT(ARRAY['\u{e000}', '\u{1f600}', 'z'])", "[z, \u{1f600}, \u{e000}]"),
        ("ARRAY_SORT(ARRAY[true, null, false], 'desc')", "[true, false, null]"),
        ("ARRAY_MAX(ARRAY[1.5, 2.25])", "2.25"),
        ("ARRAY_SORT(ARRAY[2.25, 1.5])", "[1.50, 2.25]"),
        ("ARRAY_MIN(ARRAY['foo', 'Food', null])", "Food"),
        ("ARRAY_SORT(ARRAY[2, null, 1])", "[1, 2, null]"),
        ("ARRAY_SORT(ARRAY[2, null, 1], 'desc')", "[2, 1, null]"),
        ("ARRAY_JOIN(ARRAY[1, null, 2], '|')", "1|null|2"),
        ("SLICE(ARRAY['a', 'b', 'c', 'd'], 2, 3)", "[b, c]"),
        ("SLICE(ARRAY['a', 'b'], null, 1)", "[a]"),
        ("SLICE(ARRAY['a', 'b'], 1, 3)", "null"),
        ("AS_MAP(ARRAY['a', 'b'], ARRAY[1, 2])", "{a=1, b=2}"),
        ("MAP_KEYS(MAP('a' := 1))", "[a]"),
        ("MAP_VALUES(MAP('a' := 1))", "[1]"),
        ("MAP_UNION(MAP('a' := 1, 'b' := 2), MAP('b' := 3))", "{a=1, b=3}"),
        ("ENTRIES(MAP('b' := 1, 'a' := 2), true)", "[Struct{K=a,V=2}, Struct{K=b,V=1}]"),
    ]);
}

#[test]
fn lambdas() {
    expect_values(&[
        ("TRANSFORM(ARRAY[1, 2], x => x * 2)", "[2, 4]"),
        ("TRANSFORM(MAP('a' := 1), (k, v) => UCASE(k), (k, v) => v + 1)", "{A=2}"),
        ("TRANSFORM(MAP('a' := 1, 'b' := 2), (k, v) => 'x', (k, v) => v)", "!"),
        ("TRANSFORM(MAP('a' := 1, 'b' := CAST(null AS INT)), (k, v) => k, (k, v) => v)", "!"),
        ("FILTER(MAP('a' := 1, 'b' := CAST(null AS INT)), (k, v) => true)", "!"),
        ("FILTER(MAP('a' := 1, 'b' := CAST(null AS INT)), (k, v) => k = 'a')", "{a=1}"),
        ("FILTER(ARRAY[1, null, 9], x => x > 3)", "[9]"),
        ("FILTER(MAP('a' := 1, 'b' := 2), (k, v) => v = 2)", "{b=2}"),
        ("REDUCE(ARRAY[1, 2, 3], 10, (s, x) => s + x)", "16"),
        ("REDUCE(MAP('a' := 3), 1, (s, k, v) => s + v)", "4"),
    ]);
}

#[test]
fn json() {
    expect_values(&[
        (r#"EXTRACTJSONFIELD('{"a": {"b": [1, "x"]}}', '$.a.b[1]')"#, "x"),
        (r#"EXTRACTJSONFIELD('{"a": {"b": [1, "x"]}}', '$.a.b')"#, r#"[1,"x"]"#),
        (r#"EXTRACTJSONFIELD('{"a": 1}', '$.c')"#, "null"),
        ("EXTRACTJSONFIELD('no json', '$.c')", "!"),
        ("IS_JSON_STRING('[1]')", "true"),
        ("IS_JSON_STRING('')", "false"),
        ("JSON_ARRAY_LENGTH('[1, 2]')", "2"),
        ("JSON_ARRAY_LENGTH('{}')", "null"),
        ("JSON_ARRAY_CONTAINS('[1, 2.5, \"x\", null]', 2.5e0)", "true"),
        ("JSON_ARRAY_CONTAINS('[1, 2]', 'x')", "false"),
        ("JSON_ARRAY_CONTAINS('[1, null]', null)", "true"),
        ("JSON_ARRAY_CONTAINS('[1, 2]', null)", "false"),
        ("ARRAY_LENGTH(null)", "null"),
        (r#"JSON_KEYS('{"b": 1, "a": 2}')"#, "[b, a]"),
        (r#"JSON_RECORDS('{"a": "x", "b": 1}')"#, r#"{a="x", b=1}"#),
        (r#"JSON_ITEMS('[{"a": 1}, 2]')"#, r#"[{"a":1}, 2]"#),
        ("JSON_CONCAT('[1]', '2')", "[1,2]"),
        ("JSON_CONCAT('[1]', 'x')", "null"),
        ("TO_JSON_STRING(STRUCT(A := 1, B := 'x\"y'))", r#"{"A":1,"B":"x\"y"}"#),
        ("TO_JSON_STRING(CAST('00:01' AS TIME))", "\"00:01\""),
    ]);
}

#[test]
fn nulls() {
    expect_values(&[
        ("COALESCE(null, 2, 3)", "2"),
        ("IFNULL(CAST(null AS INT), 5)", "5"),
        ("NULLIF(ARRAY[1], ARRAY[1])", "null"),
        ("NULLIF(1, 2)", "1"),
    ]);
}

#[test]
fn texts() {
    expect_values(&[
        ("UCASE('aé')", "AÉ"),
        ("LEN('a😀')", "3"),
        ("TRIM(' a ')", "a"),
        ("CONCAT('a', null, 'b')", "ab"),
        ("'a' || 'b'", "ab"),
        ("SUBSTRING('stream', 2)", "tream"),
        ("SUBSTRING('stream', -3, 2)", "ea"),
        ("SUBSTRING('stream', 0, 2)", "st"),
        ("SUBSTRING('stream', 9)", ""),
    ]);
}

#[test]
fn messages_are_those_of_ksqldb() {
    let starts = |sql: &str, text: &str| {
        let error = value(sql).unwrap_err();
        assert!(error.starts_with(text), "{error}");
    };
    starts("GREATEST()", "Function 'greatest' does not accept parameters ().\nValid alternatives are:\n");
    starts(
        "LEAST(1, 3000000000)",
        "Function 'least' cannot be resolved due to ambiguous method parameters (INTEGER, BIGINT).",
    );
    starts("LEAST(null, null)", "Function 'least' cannot be resolved due to ambiguous method parameters (null, null).");
    starts("COALESCE()", "Function 'COALESCE' does not accept parameters ()");
    starts("GREATST(1)", "Can't find any functions with the name 'GREATST'");
}

#[test]
fn examples_give_what_they_say() {
    let examples: Vec<_> = list().iter().map(|f| (f.example.call, f.example.gives)).collect();
    expect_values(&examples);
}

#[test]
fn every_function_is_named_in_upper_case_once() {
    let listed = list();
    assert!(listed.iter().all(|f| f.name == f.name.to_uppercase() && !f.description.is_empty()));
    assert!(listed.iter().all(|f| !f.signatures.is_empty()));
}

#[test]
fn urls() {
    expect_values(&[
        ("URL_EXTRACT_HOST('http://test@confluent.io:8080')", "confluent.io"),
        ("URL_EXTRACT_PORT('http://test@confluent.io:8080')", "8080"),
        ("URL_EXTRACT_PORT('http://confluent.io')", "null"),
        ("URL_EXTRACT_PROTOCOL('https://a.io/p')", "https"),
        ("URL_EXTRACT_PROTOCOL('www.confluent.io')", "null"),
        ("URL_EXTRACT_PATH('http://a.io/p%20q?x')", "/p q"),
        ("URL_EXTRACT_PATH('http://a.io')", ""),
        ("URL_EXTRACT_QUERY('http://a.io/?a=b%20c#f')", "a=b c"),
        ("URL_EXTRACT_QUERY('mailto:a@b.io')", "null"),
        ("URL_EXTRACT_FRAGMENT('http://a.io/?query#fragment')", "fragment"),
        ("URL_EXTRACT_HOST('not a url')", "null"),
        ("URL_EXTRACT_PARAMETER('http://a.io/?one=a&two=b&three', 'two')", "b"),
        ("URL_EXTRACT_PARAMETER('http://a.io/?one=a&two=b&three', 'three')", ""),
        ("URL_ENCODE_PARAM('?foo $bar')", "%3Ffoo+%24bar"),
        ("URL_DECODE_PARAM('%3Ffoo+%24bar')", "?foo $bar"),
        ("URL_DECODE_PARAM('%zz')", "!"),
    ]);
}

#[test]
fn dates() {
    expect_values(&[
        ("FORMAT_DATE(FROM_DAYS(18993), 'dd-MMM-yyyy')", "01-Jan-2022"),
        ("FORMAT_DATE(FROM_DAYS(1), 'HH')", "!"),
        ("FORMAT_TIME(CAST('00:01:05' AS TIME), 'HH_mm_ss_SSS')", "00_01_05_000"),
        (
            "FORMAT_TIMESTAMP(FROM_UNIXTIME(1526075913000), 'yyyy-MM-dd HH:mm:ss zzz', 'America/Los_Angeles')",
            "2018-05-11 14:58:33 PDT",
        ),
        ("PARSE_DATE('11/05/2019', 'dd/MM/yyyy')", "2019-05-11"),
        ("PARSE_DATE('2019', 'nonsense')", "!"),
        ("PARSE_TIME('22:04', 'HH:mm')", "22:04"),
        (
            "PARSE_TIMESTAMP('2018-05-11T21:58:33', 'yyyy-MM-dd''T''HH:mm:ss', 'Europe/London')",
            "2018-05-11T20:58:33.000",
        ),
        ("STRINGTODATE('19700102', 'yyyyMMdd')", "1"),
        ("DATETOSTRING(1, 'yyyy')", "1970"),
        ("TIMESTAMPTOSTRING(0, 'yyyy-MM-dd HH:mm:ss Z', 'UTC')", "1970-01-01 00:00:00 +0000"),
        ("STRINGTOTIMESTAMP('1970', 'yyyy')", "0"),
        ("UNIX_DATE(FROM_DAYS(7))", "7"),
        ("UNIX_TIMESTAMP(FROM_UNIXTIME(7))", "7"),
        ("DATEADD(DAYS, 29, PARSE_DATE('2020-01-31', 'yyyy-MM-dd'))", "2020-02-29"),
        ("DATESUB(DAYS, 5, FROM_DAYS(2))", "1969-12-29"),
        ("TIMEADD(MINUTES, 2, CAST('23:59' AS TIME))", "00:01"),
        ("TIMESTAMPSUB(MILLISECONDS, 10, FROM_UNIXTIME(20))", "1970-01-01T00:00:00.010"),
        ("CONVERT_TZ(FROM_UNIXTIME(100), '+0200', '+0500')", "1970-01-01T03:00:00.100"),
    ]);
}

#[test]
fn texts_are_split_and_searched() {
    expect_values(&[
        ("INITCAP('the   Quick br0wn fOx')", "The   Quick Br0wn Fox"),
        ("REPLACE('anaconda', 'a', 'o')", "onocondo"),
        ("CONCAT_WS('-', 'a', null, 'b')", "a-b"),
        ("CONCAT_WS(CAST(null AS STRING), 'a')", "null"),
        ("SPLIT('a$$b.c', '$$')", "[a, b.c]"),
        ("SPLIT('abc', '')", "[a, b, c]"),
        ("SPLIT_TO_MAP('apple:green/banana:yellow/', '/', ':')", "{banana=yellow, apple=green}"),
        ("SPLIT_TO_MAP('apple:green/banana:yellow', '&', ':')", "{apple=green/banana}"),
        ("SPLIT_TO_MAP('a:b', ':', ':')", "null"),
        ("INSTR('corporate floor', 'or')", "2"),
        ("INSTR('corporate floor', 'or', 4)", "5"),
        ("INSTR('corporate floor', 'or', -4, 2)", "2"),
        ("INSTR('short', 'or', 4)", "0"),
        ("LPAD('foo', 7, 'Bar')", "BarBfoo"),
        ("RPAD('foo', 7, 'Bar')", "fooBarB"),
        ("LPAD('foo', 2, 'x')", "fo"),
        ("LPAD('foo', 7, '')", "null"),
        ("CHR(22909)", "好"),
        ("CHR(-1)", "null"),
        ("CHR('\\u004b')", "K"),
        ("CHR('k')", "null"),
        ("ELT(2, 'a', 'b')", "b"),
        ("ELT(3, 'a', 'b')", "null"),
        ("FIELD('b', 'a', 'b')", "2"),
        ("FIELD(null, 'a')", "0"),
        ("MASK('My Test $123')", "Xx-Xxxx--nnn"),
        ("MASK('My Test', '*', null, '1', '0')", "*y0*est"),
        ("MASK_LEFT('My Test', 3)", "Xx-Test"),
        ("MASK_RIGHT('My Test', 3)", "My Txxx"),
        ("MASK_KEEP_LEFT('My Test', 3)", "My Xxxx"),
        ("MASK_KEEP_RIGHT('My Test', 3)", "Xx-Xest"),
        ("MASK_LEFT('My', -1)", "!"),
    ]);
}

#[test]
fn regular_expressions() {
    expect_values(&[
        ("REGEXP_EXTRACT('(.*) (.*)', 'steven zhang', 2)", "zhang"),
        ("REGEXP_EXTRACT('(.*) (.*)', 'agavra', 2)", "null"),
        ("REGEXP_EXTRACT('.*', 'all', 5)", "null"),
        ("REGEXP_EXTRACT('(', 'x')", "!"),
        ("REGEXP_REPLACE('éa1 ', '\\w', 'x')", "éxx "),
        ("REGEXP_REPLACE('é1-', '[\\d\\-]', 'x')", "éxx"),
        ("REGEXP_REPLACE('a.b+c', '\\Q.b+\\E', '-')", "a-c"),
        ("REGEXP_REPLACE('a 1', '\\D\\S?', 'x')", "xx"),
        ("REGEXP_EXTRACT_ALL('(\\w)(\\d)', 'a1 b2', 2)", "[1, 2]"),
        ("REGEXP_REPLACE('baabbabaa', '(ab)+', 'cat')", "bacatbcataa"),
        ("REGEXP_REPLACE('ab', '(a)(b)', '$2$1')", "ba"),
        ("REGEXP_REPLACE('baab', 'a*', 'X')", "XbXXbX"),
        ("REGEXP_SPLIT_TO_ARRAY('aabcda', '(ab|cd)')", "[a, , a]"),
        ("REGEXP_SPLIT_TO_ARRAY('abc', '')", "[a, b, c]"),
    ]);
}

#[test]
fn bytes() {
    expect_values(&[
        ("ENCODE('4578616d706C6521', 'hex', 'ascii')", "Example!"),
        ("ENCODE('0x4578', 'hex', 'utf8')", "Ex"),
        ("ENCODE('Ελ', 'ascii', 'hex')", "3f3f"),
        ("ENCODE('Example!', 'ascii', 'base64')", "RXhhbXBsZSE="),
        ("ENCODE('a', 'ascii', 'nonsense')", "!"),
        ("FROM_BYTES(TO_BYTES('1aB2', 'hex'), 'hex')", "1AB2"),
        ("FROM_BYTES(SUBSTRING(TO_BYTES('some', 'utf8'), 2, 2), 'utf8')", "om"),
        ("INT_FROM_BYTES(TO_BYTES('000007E5', 'hex'))", "2021"),
        ("INT_FROM_BYTES(TO_BYTES('E5070000', 'hex'), 'LITTLE_ENDIAN')", "2021"),
        ("INT_FROM_BYTES(TO_BYTES('E507', 'hex'))", "!"),
        ("DOUBLE_FROM_BYTES(TO_BYTES('3FF8000000000000', 'hex'))", "1.5"),
        ("MD5('r1')", "7c92cf1eee8d99cc85f8355a3d6e4b86"),
        ("LEN(UUID())", "36"),
        ("UUID(TO_BYTES('00112233445566778899aabbccddeeff', 'hex'))", "00112233-4455-6677-8899-aabbccddeeff"),
        ("CONCAT_WS(TO_BYTES('a', 'ascii'), TO_BYTES('b', 'ascii'), TO_BYTES('c', 'ascii'))", "626163"),
    ]);
}

#[test]
fn test_functions_are_there_only_when_enabled() {
    assert!(!exists("TEST_UDF"));
    assert!(test_only::functions().iter().all(|f| f.name == f.name.to_uppercase()));
}

/// Each overload is found by arguments of its own types, and answers a column of the type it promises: for rows with
/// values, for rows with nulls, for a part of a column and for no rows. Whether values are right is for the cases above.
#[test]
fn every_overload_answers_in_the_type_it_promises() {
    let mut called = 0;
    for function in REGISTRY.values() {
        for overload in &function.overloads {
            let text = describe(&overload.signature, "").arguments;
            let name = format!("{}({text:?})", function.name);
            let Some(types) = overload.signature.parameters.iter().map(|p| sample_type(&p.ty)).collect() else {
                // A lambda's body is an expression: the examples have those.
                continue;
            };
            let types: Vec<ArgType> = types;
            let (chosen, resolved) =
                function.resolve(&types, Widening::Nowhere).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(std::ptr::eq(chosen, overload), "{name} is never chosen");
            let Evaluate::Shared(evaluate) = &overload.evaluate else { continue };
            let columns: Vec<ArrayRef> = resolved.args.iter().map(sample_column).collect();
            for (from, rows) in [(0, 3), (0, 1), (1, 1), (2, 1), (1, 2), (0, 0)] {
                let columns: Vec<ArrayRef> = columns.iter().map(|column| column.slice(from, rows)).collect();
                let context = CallContext { types: &resolved.args, returns: &resolved.returns, rows, lambdas: &[] };
                // A function may refuse a value, such as a text that is no pattern.
                if let Ok(column) = evaluate(&columns, &context) {
                    assert_eq!(column.data_type(), &resolved.returns.to_arrow(), "{name}");
                    assert_eq!(column.len(), rows, "{name}");
                    called += 1;
                } else {
                    assert!(rows > 0, "{name} fails without rows");
                }
            }
        }
    }
    assert!(called > 1000, "{called} calls answered");
}

/// A type that fits a parameter and no wider or narrower one.
fn sample_type(parameter: &ParamType) -> Option<ArgType> {
    fn sql(parameter: &ParamType) -> Option<SqlType> {
        Some(match parameter {
            ParamType::Sql(ty) => ty.clone(),
            ParamType::Decimal => SqlType::decimal(6, 2),
            // Letters of one signature may differ; one type for all is a case of that.
            ParamType::Letter(_) => SqlType::String,
            ParamType::Array(item) => SqlType::array(sql(item)?),
            ParamType::Map(key, value) => SqlType::map(sql(key)?, sql(value)?),
            ParamType::Struct(fields) => SqlType::structure(
                fields.iter().map(|(name, ty)| Some((name.clone(), sql(ty)?))).collect::<Option<Vec<_>>>()?,
            ),
            ParamType::Lambda { .. } | ParamType::IntervalUnit => return None,
        })
    }
    match parameter {
        ParamType::IntervalUnit => Some(ArgType::IntervalUnit),
        other => sql(other).map(ArgType::Sql),
    }
}

/// A value, null, another value.
fn sample_column(ty: &SqlType) -> ArrayRef {
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("1"), None, Some("7")]));
    let item_of = |ty: &SqlType| concat(&[&*sample_column(ty), &*sample_column(ty)]).unwrap();
    let present = NullBuffer::from(vec![true, false, true]);
    match (ty, ty.to_arrow()) {
        (SqlType::Array(item), _) => {
            access::build_list(ty, item_of(item), vec![4, 0, 2], Some(present)).expect("an ARRAY")
        }
        (SqlType::Map(key, value), _) => {
            let keys = take(&sample_column(key), &UInt32Array::from(vec![0, 2, 2]), None).unwrap();
            let values = sample_column(value);
            access::build_map(ty, Some((keys, values)), vec![2, 0, 1], Some(present)).expect("a MAP")
        }
        (SqlType::Struct(fields), DataType::Struct(arrow_fields)) => {
            let columns = fields.iter().map(|field| sample_column(&field.ty)).collect();
            Arc::new(StructArray::new(arrow_fields, columns, Some(present)))
        }
        (SqlType::Boolean, _) => Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        (SqlType::Date | SqlType::Time | SqlType::Timestamp, arrow) => {
            let numbers = Int32Array::from(vec![Some(1), None, Some(18_000)]);
            let width = if *ty == SqlType::Timestamp { DataType::Int64 } else { DataType::Int32 };
            let numbers = cast(&numbers, &width).expect("a number");
            cast(&numbers, &arrow).expect("a time")
        }
        (_, arrow) => cast(&texts, &arrow).expect("a column"),
    }
}
