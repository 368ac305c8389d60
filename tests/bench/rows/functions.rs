//! Is any function much slower a row than DataFusion's nearest equivalent?
//!
//! Ours is typed and compiled as in a query, comparisons and casts included; theirs goes through DataFusion's coercion and
//! simplification. Where DataFusion has nothing like it, ours is shown alone.

use std::hint::black_box;

use arrow::datatypes::SchemaRef;
use datafusion::common::DFSchema;
use datafusion::prelude::SessionContext;
use headwater_engine::config::Settings;
use headwater_engine::error::{Error, Position, Result};
use headwater_engine::plan::analyze::expr::{Analyzer, Scope};
use headwater_engine::plan::compile::Compiled;
use headwater_engine::plan::expr::Expr;
use headwater_engine::schema::Column;
use headwater_engine::sql::parse_expression;
use headwater_engine::types::SqlType;

use super::Comparison;
use super::data::{ROWS, batch, columns};

/// Times that ours may take of theirs.
const BAR: f64 = 2.0;

/// Ours, theirs. Names fold to upper case in ours; the columns are upper case.
const EXPRESSIONS: &[(&str, &str)] = &[
    ("b + c", "\"B\" + \"C\""),
    ("b * c - i", "\"B\" * \"C\" - \"I\""),
    ("b / c", "\"B\" / \"C\""),
    ("b % 123", "\"B\" % 123"),
    ("d * e + 1.5e0", "\"D\" * \"E\" + 1.5"),
    ("d / e", "\"D\" / \"E\""),
    ("n + o", "\"N\" + \"O\""),
    ("n * o", "\"N\" * \"O\""),
    ("b > 500", "\"B\" > 500"),
    ("b > c AND d < e", "\"B\" > \"C\" AND \"D\" < \"E\""),
    ("bn = 5 OR c <> 7", "\"BN\" = 5 OR \"C\" <> 7"),
    ("t = u", "\"T\" = \"U\""),
    ("t > 'stream'", "\"T\" > 'stream'"),
    ("n > o", "\"N\" > \"O\""),
    ("b BETWEEN 100 AND 5000", "\"B\" BETWEEN 100 AND 5000"),
    ("c IN (1, 5, 9, 700)", "\"C\" IN (1, 5, 9, 700)"),
    ("t IN ('a', 'b', 'topic5')", "\"T\" IN ('a', 'b', 'topic5')"),
    ("bn IS NULL", "\"BN\" IS NULL"),
    ("t LIKE 'stream%'", "\"T\" LIKE 'stream%'"),
    ("t LIKE '%10%'", "\"T\" LIKE '%10%'"),
    ("t LIKE 's_r%1_'", "\"T\" LIKE 's_r%1_'"),
    ("SUBSTRING(t, 2, 4)", "substr(\"T\", 2, 4)"),
    ("UCASE(t)", "upper(\"T\")"),
    ("LCASE(t)", "lower(\"T\")"),
    ("LEN(t)", "character_length(\"T\")"),
    ("CONCAT(t, u)", "concat(\"T\", \"U\")"),
    ("t || '-' || u", "\"T\" || '-' || \"U\""),
    ("CONCAT_WS('-', t, u)", "concat_ws('-', \"T\", \"U\")"),
    ("TRIM(t)", "btrim(\"T\")"),
    ("SPLIT(line, ',')", "string_to_array(\"LINE\", ',')"),
    ("REPLACE(t, 'e', 'xx')", "replace(\"T\", 'e', 'xx')"),
    ("INSTR(t, 'm1')", "strpos(\"T\", 'm1')"),
    ("LPAD(t, 20, '.')", "lpad(\"T\", 20, '.')"),
    ("INITCAP(t)", "initcap(\"T\")"),
    ("MD5(t)", "md5(\"T\")"),
    ("ABS(d)", "abs(\"D\")"),
    ("ABS(i)", "abs(\"I\")"),
    ("ROUND(d)", "round(\"D\")"),
    ("ROUND(d, 2)", "round(\"D\", 2)"),
    ("ROUND(n, 1)", "round(\"N\", 1)"),
    ("FLOOR(d)", "floor(\"D\")"),
    ("SQRT(b)", "sqrt(\"B\")"),
    ("LN(c)", "ln(\"C\")"),
    ("POWER(d, 2)", "power(\"D\", 2)"),
    ("GREATEST(b, c)", "greatest(\"B\", \"C\")"),
    ("CAST(b AS STRING)", "CAST(\"B\" AS VARCHAR)"),
    ("CAST(d AS STRING)", "CAST(\"D\" AS VARCHAR)"),
    ("CAST(ts AS STRING)", "CAST(\"TS\" AS VARCHAR)"),
    ("CAST(num AS BIGINT)", "CAST(\"NUM\" AS BIGINT)"),
    ("CAST(num AS INT)", "CAST(\"NUM\" AS INT)"),
    ("CAST(real AS DOUBLE)", "CAST(\"REAL\" AS DOUBLE)"),
    ("CAST(real AS DECIMAL(12, 4))", "CAST(\"REAL\" AS DECIMAL(12, 4))"),
    ("CAST(stamp AS TIMESTAMP)", "CAST(\"STAMP\" AS TIMESTAMP)"),
    ("CAST(day AS DATE)", "CAST(\"DAY\" AS DATE)"),
    ("CAST(b AS DOUBLE)", "CAST(\"B\" AS DOUBLE)"),
    ("CAST(b AS INT)", "CAST(\"B\" AS INT)"),
    ("CAST(d AS BIGINT)", "CAST(\"D\" AS BIGINT)"),
    ("CAST(b AS DECIMAL(12, 2))", "CAST(\"B\" AS DECIMAL(12, 2))"),
    ("CAST(n AS DOUBLE)", "CAST(\"N\" AS DOUBLE)"),
    ("COALESCE(bn, b)", "CASE WHEN \"BN\" IS NOT NULL THEN \"BN\" ELSE \"B\" END"),
    ("IFNULL(tn, 'none')", "CASE WHEN \"TN\" IS NOT NULL THEN \"TN\" ELSE 'none' END"),
    ("NULLIF(b, c)", "nullif(\"B\", \"C\")"),
    (
        "CASE WHEN b < 1000 THEN 1 WHEN b < 100000 THEN 2 ELSE 3 END",
        "CASE WHEN \"B\" < 1000 THEN 1 WHEN \"B\" < 100000 THEN 2 ELSE 3 END",
    ),
    ("CASE WHEN bn > 500 THEN t ELSE u END", "CASE WHEN \"BN\" > 500 THEN \"T\" ELSE \"U\" END"),
    ("FORMAT_TIMESTAMP(ts, 'yyyy-MM-dd HH:mm:ss')", "to_char(\"TS\", '%Y-%m-%d %H:%M:%S')"),
    ("TIMESTAMPTOSTRING(ms, 'yyyy-MM-dd HH:mm:ss.SSS', 'UTC')", "to_char(\"TS\", '%Y-%m-%d %H:%M:%S%.3f')"),
    ("FORMAT_DATE(da, 'dd/MM/yyyy')", "to_char(\"DA\", '%d/%m/%Y')"),
    ("PARSE_TIMESTAMP(stamp, 'yyyy-MM-dd''T''HH:mm:ss')", "to_timestamp_millis(\"STAMP\", '%Y-%m-%dT%H:%M:%S')"),
    (
        "STRINGTOTIMESTAMP(stamp, 'yyyy-MM-dd''T''HH:mm:ss', 'UTC')",
        "to_timestamp_millis(\"STAMP\", '%Y-%m-%dT%H:%M:%S')",
    ),
    ("PARSE_DATE(day, 'yyyy-MM-dd')", "to_date(\"DAY\", '%Y-%m-%d')"),
    ("TIMESTAMPADD(HOURS, 5, ts)", "\"TS\" + INTERVAL '5 hours'"),
    ("l[1]", "\"L\"[1]"),
    ("m['b']", "map_extract(\"M\", 'b')"),
    ("r->b", "get_field(\"R\", 'B')"),
    ("ARRAY_LENGTH(l)", "array_length(\"L\")"),
    ("ARRAY_CONTAINS(l, c)", "array_has(\"L\", \"C\")"),
    ("ARRAY_CONTAINS(w, 'topic')", "array_has(\"W\", 'topic')"),
    ("ARRAY_JOIN(w, '-')", "array_to_string(\"W\", '-')"),
    ("ARRAY_SORT(l)", "array_sort(\"L\")"),
    ("ARRAY_MAX(l)", "array_max(\"L\")"),
    ("ARRAY_DISTINCT(l)", "array_distinct(\"L\")"),
    ("ARRAY_CONCAT(l, l)", "array_concat(\"L\", \"L\")"),
    ("ARRAY[b, c]", "make_array(\"B\", \"C\")"),
    ("SLICE(l, 2, 3)", "array_slice(\"L\", 2, 3)"),
    ("MAP_KEYS(m)", "map_keys(\"M\")"),
    ("STRUCT(x := b, y := t)", "named_struct('X', \"B\", 'Y', \"T\")"),
    ("REGEXP_REPLACE(t, '[0-9]+', '#')", "regexp_replace(\"T\", '[0-9]+', '#', 'g')"),
    ("REGEXP_EXTRACT('([a-z]+)([0-9]+)', t, 2)", "regexp_match(\"T\", '([a-z]+)([0-9]+)')"),
    ("REGEXP_SPLIT_TO_ARRAY(line, '[,;]')", ""),
    ("EXTRACTJSONFIELD(json, '$.who.name')", ""),
    ("TRANSFORM(l, x => x + 1)", ""),
    ("SPLIT_TO_MAP(line, ',', 'a')", ""),
    ("MASK(t)", ""),
    ("URL_EXTRACT_HOST(t)", ""),
];

struct Table(Vec<Column>);

impl Scope for Table {
    fn column(&self, _source: Option<&str>, name: &str, position: Position) -> Result<Expr> {
        let column = self.0.iter().find(|c| c.name == name);
        let column = column.ok_or_else(|| Error::statement(format!("no column {name}")).at(position))?;
        Ok(Expr::column(&column.name, column.ty.clone()))
    }

    fn custom_type(&self, _name: &str) -> Option<SqlType> {
        None
    }
}

pub fn run(measure: &mut dyn FnMut(Comparison<'_>)) {
    let (table, batch) = (Table(columns()), batch());
    let settings = Settings::default();
    let context = SessionContext::new();
    let schema: SchemaRef = batch.schema();
    let df_schema = DFSchema::try_from(schema.as_ref().clone()).expect("names are unique");
    for (ours_sql, theirs_sql) in EXPRESSIONS {
        let parsed = parse_expression(ours_sql).unwrap_or_else(|e| panic!("{ours_sql}: {e}"));
        let typed = Analyzer::new(&table, &settings).expr(&parsed).unwrap_or_else(|e| panic!("{ours_sql}: {e}"));
        let ours = Compiled::new(&typed, &schema).unwrap_or_else(|e| panic!("{ours_sql}: {e}"));
        let (_, errors) = ours.evaluate(&batch).unwrap_or_else(|e| panic!("{ours_sql}: {e}"));
        assert!(errors.is_empty(), "{ours_sql}: {}", errors[0].message);
        let mut ours = || drop(black_box(ours.evaluate(&batch).expect("it ran before")));
        let theirs = (!theirs_sql.is_empty()).then(|| {
            let logical =
                context.parse_sql_expr(theirs_sql, &df_schema).unwrap_or_else(|e| panic!("{theirs_sql}: {e}"));
            context.create_physical_expr(logical, &df_schema).unwrap_or_else(|e| panic!("{theirs_sql}: {e}"))
        });
        let mut theirs = theirs.map(|theirs| {
            let batch = &batch;
            move || {
                let value = theirs.evaluate(batch).unwrap_or_else(|e| panic!("{theirs_sql}: {e}"));
                drop(black_box(value.into_array(ROWS)));
            }
        });
        let theirs = theirs.as_mut().map(|work| (*theirs_sql, work as &mut dyn FnMut()));
        measure(Comparison { name: ours_sql, rows: ROWS, bar: BAR, ours: &mut ours, theirs });
    }
}
