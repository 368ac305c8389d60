//! Types of expressions: what is cast to what, what is refused, and with which words.

use super::*;
use crate::sql::{parse_expression, print};

/// Columns K STRING, N INTEGER, B BIGINT, D DOUBLE, C DECIMAL(4, 2), F BOOLEAN, T TIMESTAMP, Y DATE, A ARRAY<BIGINT>,
/// M MAP<STRING, INTEGER>, R STRUCT<X INTEGER>, ROWTIME BIGINT.
struct Fake;

impl Scope for Fake {
    fn column(&self, _source: Option<&str>, name: &str, position: Position) -> Result<Expr> {
        let ty = match name {
            "K" => SqlType::String,
            "N" => SqlType::Integer,
            "B" | "ROWTIME" => SqlType::Bigint,
            "D" => SqlType::Double,
            "C" => SqlType::decimal(4, 2),
            "F" => SqlType::Boolean,
            "T" => SqlType::Timestamp,
            "Y" => SqlType::Date,
            "A" => SqlType::array(SqlType::Bigint),
            "M" => SqlType::map(SqlType::String, SqlType::Integer),
            "R" => SqlType::structure([("X", SqlType::Integer)]),
            _ => return Err(Error::statement(format!("Unknown column {name}.")).at(position)),
        };
        Ok(Expr::column(name, ty))
    }

    fn custom_type(&self, _name: &str) -> Option<SqlType> {
        None
    }
}

fn typed(sql: &str) -> Result<Expr, String> {
    in_clause(Clause::Select, |a, e| a.expr(e), sql)
}

fn in_clause(
    clause: Clause,
    f: impl FnOnce(&Analyzer<'_>, &ast::Expr) -> Result<Expr>,
    sql: &str,
) -> Result<Expr, String> {
    let settings = Settings::default();
    let e = parse_expression(sql).map_err(|e| e.to_string())?;
    f(&Analyzer::new(&Fake, &settings).in_clause(clause), &e).map_err(|e| e.to_string())
}

fn ty(sql: &str) -> Result<String, String> {
    typed(sql).map(|e| e.ty.to_string())
}

fn predicate(sql: &str) -> Result<Expr, String> {
    in_clause(Clause::Predicate, |a, e| a.predicate(e, "WHERE"), sql)
}

fn sides(e: Expr) -> (Expr, Expr) {
    match e.kind {
        ExprKind::Comparison { left, right, .. } | ExprKind::Arithmetic { left, right, .. } => (*left, *right),
        ExprKind::Or(left, right) | ExprKind::And(left, right) => (*left, *right),
        other => panic!("{other:?} has no two sides"),
    }
}

#[test]
fn operands_are_widened_and_constants_converted_at_once() {
    let (_, right) = sides(typed("B + 2").unwrap());
    assert_eq!(right, Expr::literal(Value::Bigint(2), SqlType::Bigint));
    let (_, right) = sides(typed("D < 2.5").unwrap());
    assert_eq!(right, Expr::literal(Value::Double(2.5), SqlType::Double));
    assert_eq!(ty("C * N"), Ok("DECIMAL(15, 2)".into()));
    assert_eq!(ty("-2147483648"), Ok("INTEGER".into()));
}

#[test]
fn text_beside_a_time_is_read_while_planning() {
    let (_, right) = sides(typed("T > '1970-01-01T00:00:01'").unwrap());
    assert_eq!(right.kind, ExprKind::Literal(Value::Timestamp(1000)));
    let (left, right) = sides(typed("Y = K").unwrap());
    assert_eq!((left.ty, right.ty), (SqlType::Date, SqlType::Date));
    let (left, _) = sides(typed("Y < T").unwrap());
    assert_eq!(left.ty, SqlType::Timestamp);
}

#[test]
fn rowtime_reads_text_in_predicates_only() {
    let (left, _) = sides(predicate("'1970-01-01T00:00:01' < ROWTIME").unwrap());
    assert_eq!(left.kind, ExprKind::Literal(Value::Bigint(1000)));
    assert!(predicate("ROWTIME BETWEEN '2020' AND '2021-05'").is_ok());
    assert!(typed("ROWTIME > '2020'").is_err());
    assert!(predicate("B > '2020'").is_err());
}

#[test]
fn a_predicate_must_be_boolean_and_says_so() {
    for (sql, message) in [
        ("'x'", "Type error in WHERE expression: Should evaluate to boolean but is 'x' (STRING) instead."),
        (
            "N + 1.5",
            "Type error in WHERE expression: Should evaluate to boolean but is (N + 1.5) (DECIMAL(12, 1)) instead.",
        ),
        (
            "F AND N >= 'x'",
            "Error in WHERE expression: Cannot compare N (INTEGER) to 'x' (STRING) with GREATER_THAN_OR_EQUAL.",
        ),
        ("NOPE = 1", "Error in WHERE expression: Unknown column NOPE."),
        (
            "N = NULL",
            "Error in WHERE expression: Comparison with NULL not supported: INTEGER = NULL\nUse 'IS NULL' or 'IS NOT NULL' instead.",
        ),
    ] {
        let refused = predicate(sql).expect_err(sql);
        let (text, statement) = refused.rsplit_once("\nStatement: ").expect("the part it is about");
        assert_eq!((text, statement), (message, print::message(&parse_expression(sql).unwrap()).as_str()));
    }
    let pull = in_clause(Clause::Pull, |a, e| a.predicate(e, "WHERE"), "K BETWEEN 10 AND 'a'");
    assert_eq!(
        pull,
        Err("Invalid expression: Cannot compare K (STRING) to 10 (INTEGER) with GREATER_THAN_OR_EQUAL.".into())
    );
}

#[test]
fn in_lists_compare_on_the_common_type() {
    let (first, second) = sides(typed("N IN (1, '2147483648', NULL)").unwrap());
    for side in [first, second] {
        let (left, right) = sides(side);
        assert_eq!((left.ty, right.ty), (SqlType::Bigint, SqlType::Bigint));
    }
    let hint = "\nHint: You might need to add explicit type casts.";
    for (sql, message) in [
        ("N IN (10, true)", format!("operator does not exist: INTEGER = BOOLEAN (true){hint}")),
        ("C IN (10, K)", format!("operator does not exist: DECIMAL(12, 2) = STRING (K){hint}")),
        ("A IN (A, ARRAY[F])", format!("operator does not exist: ARRAY<BIGINT> = ARRAY<BOOLEAN> (ARRAY[F]){hint}")),
        ("A IN (A, ARRAY['10', 'not 10'])", "invalid input syntax for type BIGINT: \"not 10\".".into()),
        ("R IN (STRUCT(X := 'not 10'))", "invalid input syntax for type INTEGER: \"not 10\".".into()),
        ("F IN (true, 'maybe')", "invalid input syntax for type BOOLEAN: \"maybe\".".into()),
    ] {
        assert_eq!(predicate(sql).map(|e| e.ty), Err(format!("Invalid Predicate: {message}")), "{sql}");
    }
    for sql in
        ["K IN (true, 10, 10.30, '10.1')", "M IN (MAP('a' := B))", "R IN (STRUCT(X := 1, Z := 2), STRUCT(X := 1))"]
    {
        assert_eq!(predicate(sql).map(|e| e.ty), Ok(SqlType::Boolean), "{sql}");
    }
    assert_eq!(typed("N NOT IN (NULL)").map(|e| matches!(e.kind, ExprKind::Not(_))), Ok(true));
}

#[test]
fn case_branches_have_one_exact_type() {
    assert_eq!(ty("CASE WHEN F THEN N ELSE NULL END"), Ok("INTEGER".into()));
    assert_eq!(ty("CASE K WHEN 'a' THEN 1.0 END"), Ok("DECIMAL(2, 1)".into()));
    assert_eq!(
        ty("CASE WHEN F THEN N ELSE B END"),
        Err("Invalid Case expression. Type for the default clause should be the same as for 'THEN' clauses. THEN type: \
             INTEGER. DEFAULT type: BIGINT."
            .into())
    );
    assert_eq!(
        ty("CASE WHEN F THEN N WHEN F THEN K END"),
        Err(
            "Invalid Case expression. Type for all 'THEN' clauses should be the same. THEN expression 'WHEN F THEN K' \
             has type: STRING. Previous THEN expression(s) type: INTEGER."
                .into()
        )
    );
    assert_eq!(
        ty("CASE WHEN F THEN NULL END"),
        Err("Invalid Case expression. All case branches have a NULL type".into())
    );
}

#[test]
fn constructors_find_their_element_type() {
    assert_eq!(ty("ARRAY[NULL, 10, '2e1', N, B]"), Ok("ARRAY<DECIMAL(19, 0)>".into()));
    assert_eq!(ty("MAP(K := F, 'b' := 'true', 10 := 'no')"), Ok("MAP<STRING, BOOLEAN>".into()));
    assert_eq!(
        ty("ARRAY[NULL, STRUCT(X := N, Y := B), STRUCT(Y := N, Z := B)]"),
        Ok("ARRAY<STRUCT<`X` INTEGER, `Y` BIGINT, `Z` BIGINT>>".into())
    );
    assert_eq!(ty("ARRAY[1, 'x']"), Err("invalid input syntax for type INTEGER: \"x\".".into()));
    assert_eq!(ty("STRUCT()"), Ok("STRUCT<>".into()));
    for (sql, start) in [
        ("ARRAY[NULL]", "Cannot construct an array with all NULL elements (see "),
        ("MAP()", "Map constructor cannot be empty. Please supply at least one key value pair (see "),
        ("MAP(NULL := 1)", "Cannot construct a map with all NULL keys (see "),
        ("MAP(1 := NULL)", "Cannot construct a map with all NULL values (see "),
        ("STRUCT(A := 1, A := 2)", "Duplicate field names found in STRUCT: '`A` INTEGER' and '`A` INTEGER'"),
    ] {
        let message = ty(sql).expect_err(sql);
        assert!(message.starts_with(start), "{sql}: {message}");
    }
}

#[test]
fn parts_of_nested_values_have_their_types() {
    assert_eq!(ty("A[1]"), Ok("BIGINT".into()));
    assert_eq!(ty("M['a']"), Ok("INTEGER".into()));
    assert_eq!(ty("R->X"), Ok("INTEGER".into()));
    assert_eq!(ty("R->NOPE"), Err("Could not find field 'NOPE' in 'R'.".into()));
    assert!(ty("N[1]").is_err());
    assert!(ty("A['x']").is_err());
    assert!(ty("N->X").is_err());
}

#[test]
fn only_some_casts_exist() {
    assert_eq!(ty("CAST(NULL AS MAP<STRING, DATE>)"), Ok("MAP<STRING, DATE>".into()));
    assert_eq!(
        ty("CAST(K AS ARRAY<INT>)"),
        Err("Invalid Select: Cast of STRING to ARRAY<INTEGER> is not supported".into())
    );
    assert_eq!(ty("CAST(F AS INT)"), Err("Invalid Select: Cast of BOOLEAN to INTEGER is not supported".into()));
}

#[test]
fn arithmetic_refuses_null_and_names_the_types() {
    let refused = |printed: &str, types: &str| {
        Err(format!("Error processing expression: {printed}. Arithmetic on types {types} are not supported."))
    };
    assert_eq!(ty("5.0 / NULL"), refused("(5.0 / null)", "DECIMAL(2, 1) and null"));
    assert_eq!(ty("MAP(1 := 'cat') + NULL"), refused("(MAP(1:='cat') + null)", "MAP<INTEGER, STRING> and null"));
    assert_eq!(ty("K - 1"), refused("(K - 1)", "STRING and INTEGER"));
}

#[test]
fn strings_concatenate_in_one_call() {
    let ExprKind::Call { name, args } = typed("'a' + K + 'b'").unwrap().kind else { panic!("no call") };
    assert_eq!((name.as_str(), args.len()), ("CONCAT", 3));
}

#[test]
fn lambdas_are_typed_from_the_other_arguments() {
    assert_eq!(ty("TRANSFORM(A, x => x + N)"), Ok("ARRAY<BIGINT>".into()));
    assert_eq!(ty("TRANSFORM(M, (k, v) => UCASE(k), (k, v) => v * 1.5)"), Ok("MAP<STRING, DECIMAL(13, 1)>".into()));
    assert_eq!(ty("FILTER(A, x => x > 5)"), Ok("ARRAY<BIGINT>".into()));
    assert_eq!(ty("REDUCE(A, B, (s, x) => s + x)"), Ok("BIGINT".into()));
    assert_eq!(ty("TRANSFORM(A, x => TRANSFORM(A, y => x + y))"), Ok("ARRAY<ARRAY<BIGINT>>".into()));
    assert!(ty("TRANSFORM(A, x => TRANSFORM(A, x => x))").unwrap_err().contains("Duplicate lambda arguments"));
    assert!(ty("TRANSFORM(A, x => nope)").unwrap_err().contains("Unknown column NOPE."));
    let Ok(Expr { kind: ExprKind::Call { args, .. }, .. }) = typed("TRANSFORM(A, x => x + N)") else { panic!() };
    let ExprKind::Lambda { parameters, .. } = &args[1].kind else { panic!("{args:?}") };
    assert_eq!(parameters, &[("X".to_string(), SqlType::Bigint)]);
}

#[test]
fn arguments_become_what_the_overload_takes() {
    let Ok(Expr { kind: ExprKind::Call { args, .. }, .. }) = typed("COALESCE(D, NULL, 1.5)") else { panic!() };
    assert_eq!(args[1], Expr::null(SqlType::Double));
    assert_eq!(args[2], Expr::literal(Value::Double(1.5), SqlType::Double));
    assert_eq!(ty("NOT_THERE(1)"), Err("Can't find any functions with the name 'NOT_THERE'".into()));
}

#[test]
fn null_alone_has_no_type_but_takes_a_wanted_one() {
    assert!(ty("NULL").unwrap_err().starts_with("Can't infer a type of null."));
    let as_type = |sql: &str, ty: &SqlType| in_clause(Clause::Select, |a, e| a.expr_as(e, ty), sql);
    assert_eq!(as_type("NULL", &SqlType::Date), Ok(Expr::null(SqlType::Date)));
    assert_eq!(as_type("D", &SqlType::Integer), Err("Expected type INTEGER but got DOUBLE (D)".into()));
}

#[test]
fn inserted_values_fit_by_value_and_structs_by_name() {
    let insert = |sql: &str, ty: &SqlType| in_clause(Clause::Values, |a, e| a.column_value(e, "V", ty), sql);
    let decimal = SqlType::decimal(4, 2);
    assert_eq!(insert("12", &decimal).map(|e| e.kind), Ok(ExprKind::Literal(Value::Decimal("12.00".into()))));
    assert_eq!(insert("6 + 6", &decimal).map(|e| e.kind), Ok(ExprKind::Literal(Value::Decimal("12.00".into()))));
    assert_eq!(insert("1.234", &decimal), Err("Expected type DECIMAL(4, 2) for field V but got DECIMAL(1.234)".into()));
    let target = SqlType::structure([("A", SqlType::Bigint), ("B", SqlType::String)]);
    let ExprKind::Struct(fields) = insert("STRUCT(A := 1, X := 'dropped')", &target).unwrap().kind else { panic!() };
    assert_eq!(fields[0].1.kind, ExprKind::Literal(Value::Bigint(1)));
    assert_eq!(fields[1].1, Expr::null(SqlType::String));
}

#[test]
fn messages_print_expressions_as_written() {
    let e = parse_expression("n + 1 >= 'x'").unwrap();
    assert_eq!(print::message(&e), "((N + 1) >= 'x')");
}
