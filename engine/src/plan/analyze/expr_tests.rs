use super::*;
use crate::sql::ast::{ArithmeticOp, ComparisonOp as Compare, Literal};

/// Columns N INTEGER, B BIGINT, D DOUBLE, S STRING, T TIMESTAMP, A ARRAY<BIGINT>, ROWTIME BIGINT.
struct Fake;

impl Scope for Fake {
    fn column(&self, _source: Option<&str>, name: &str, position: Position) -> Result<Expr> {
        let ty = match name {
            "N" => SqlType::Integer,
            "B" | "ROWTIME" => SqlType::Bigint,
            "D" => SqlType::Double,
            "S" => SqlType::String,
            "T" => SqlType::Timestamp,
            "A" => SqlType::array(SqlType::Bigint),
            _ => return Err(Error::statement(format!("Unknown column {name}.")).at(position)),
        };
        Ok(Expr::column(name, ty))
    }

    fn custom_type(&self, _name: &str) -> Option<SqlType> {
        None
    }
}

fn with_analyzer<T>(f: impl FnOnce(&Analyzer<'_>) -> T) -> T {
    let settings = Settings::default();
    f(&Analyzer::new(&Fake, &settings))
}

fn ty(e: &ast::Expr) -> Result<String, String> {
    with_analyzer(|a| a.expr(e)).map(|e| e.ty.to_string()).map_err(|e| e.to_string())
}

fn column(name: &str) -> ast::Expr {
    ast::Expr::Column { source: None, name: name.into(), position: Position { line: 1, column: 8 } }
}

fn literal(literal: Literal) -> ast::Expr {
    ast::Expr::Literal(literal)
}

fn string(text: &str) -> ast::Expr {
    literal(Literal::String(text.into()))
}

fn compare_ast(op: Compare, left: ast::Expr, right: ast::Expr) -> ast::Expr {
    ast::Expr::Comparison { op, left: Box::new(left), right: Box::new(right) }
}

#[test]
fn operands_are_widened_and_constants_converted_at_once() {
    let e = ast::Expr::Arithmetic {
        op: ArithmeticOp::Add,
        left: Box::new(column("B")),
        right: Box::new(literal(Literal::Integer(2))),
    };
    let typed = with_analyzer(|a| a.expr(&e)).unwrap();
    let ExprKind::Arithmetic { right, .. } = typed.kind else { panic!("{typed:?}") };
    assert_eq!(*right, Expr::literal(Value::Bigint(2), SqlType::Bigint));
}

#[test]
fn text_beside_a_time_is_read_while_planning() {
    let e = compare_ast(Compare::Greater, column("T"), string("1970-01-01T00:00:01"));
    let typed = with_analyzer(|a| a.expr(&e)).unwrap();
    let ExprKind::Comparison { right, .. } = typed.kind else { panic!("{typed:?}") };
    assert_eq!(right.kind, ExprKind::Literal(Value::Timestamp(1000)));
}

#[test]
fn rowtime_reads_text_in_predicates_only() {
    let e = compare_ast(Compare::Greater, string("1970-01-01T00:00:01"), column("ROWTIME"));
    let typed = with_analyzer(|a| a.predicate(&e, "WHERE")).unwrap();
    let ExprKind::Comparison { left, .. } = typed.kind else { panic!("{typed:?}") };
    assert_eq!(left.kind, ExprKind::Literal(Value::Bigint(1000)));
    assert!(ty(&e).is_err());
}

#[test]
fn a_predicate_must_be_boolean_and_says_so() {
    let failed = |e: ast::Expr| with_analyzer(|a| a.predicate(&e, "WHERE")).map_err(|e| e.to_string()).unwrap_err();
    assert!(failed(string("x")).starts_with("Type error in WHERE expression: Should evaluate to boolean but is "));
    let mismatch = compare_ast(Compare::Equal, column("N"), string("x"));
    assert!(failed(mismatch).starts_with("Error in WHERE expression: Cannot compare "));
    assert_eq!(failed(column("NOPE")), "Error in WHERE expression: Unknown column NOPE.");
}

#[test]
fn in_lists_compare_on_the_common_type() {
    let e = ast::Expr::In {
        expr: Box::new(column("N")),
        list: vec![literal(Literal::Integer(1)), string("2147483648"), literal(Literal::Null)],
        negated: false,
    };
    let typed = with_analyzer(|a| a.expr(&e)).unwrap();
    let ExprKind::Or(first, second) = typed.kind else { panic!("{typed:?}") };
    for side in [first, second] {
        let ExprKind::Comparison { left, right, .. } = side.kind else { panic!("{side:?}") };
        assert_eq!((left.ty, right.ty), (SqlType::Bigint, SqlType::Bigint));
    }
    let wrong =
        ast::Expr::In { expr: Box::new(column("N")), list: vec![literal(Literal::Boolean(true))], negated: false };
    let message = with_analyzer(|a| a.predicate(&wrong, "WHERE")).unwrap_err().to_string();
    assert!(message.starts_with("Invalid Predicate: operator does not exist: INTEGER = BOOLEAN ("), "{message}");
}

#[test]
fn case_branches_have_one_exact_type() {
    let case = |then: ast::Expr, other: ast::Expr| ast::Expr::Case {
        operand: None,
        branches: vec![(literal(Literal::Boolean(true)), then)],
        otherwise: Some(Box::new(other)),
    };
    assert_eq!(ty(&case(column("N"), literal(Literal::Null))), Ok("INTEGER".into()));
    assert!(ty(&case(column("N"), column("B"))).unwrap_err().contains("THEN type: INTEGER. DEFAULT type: BIGINT."));
    assert_eq!(
        ty(&case(literal(Literal::Null), literal(Literal::Null))),
        Err("Invalid Case expression. All case branches have a NULL type".into())
    );
}

#[test]
fn constructors_find_their_element_type() {
    let array =
        ast::Expr::Array(vec![literal(Literal::Null), literal(Literal::Integer(10)), string("2e1"), column("B")]);
    assert_eq!(ty(&array), Ok("ARRAY<DECIMAL(19, 0)>".into()));
    let empty = ty(&ast::Expr::Map(Vec::new())).unwrap_err();
    assert!(empty.starts_with("Map constructor cannot be empty."), "{empty}");
    assert_eq!(
        ty(&ast::Expr::Array(vec![literal(Literal::Integer(1)), string("not a number")])),
        Err("invalid input syntax for type INTEGER: \"not a number\".".into())
    );
}

#[test]
fn unsupported_casts_name_their_clause() {
    let e = ast::Expr::Cast { expr: Box::new(column("S")), ty: ast::TypeName::Sql(SqlType::array(SqlType::Integer)) };
    assert_eq!(ty(&e), Err("Invalid Select: Cast of STRING to ARRAY<INTEGER> is not supported".into()));
}

#[test]
fn null_alone_has_no_type_but_takes_a_wanted_one() {
    assert!(ty(&literal(Literal::Null)).unwrap_err().starts_with("Can't infer a type of null."));
    let typed = with_analyzer(|a| a.expr_as(&literal(Literal::Null), &SqlType::Date)).unwrap();
    assert_eq!(typed, Expr::null(SqlType::Date));
    assert!(with_analyzer(|a| a.expr_as(&column("D"), &SqlType::Integer)).is_err());
}

#[test]
fn inserted_values_fit_by_value_and_structs_by_name() {
    let insert = |e: &ast::Expr, ty: &SqlType| {
        with_analyzer(|a| a.clone().in_clause(Clause::Values).expr_as(e, ty)).map_err(|e| e.to_string())
    };
    let decimal = SqlType::decimal(4, 2);
    let fitted = insert(&literal(Literal::Integer(12)), &decimal).unwrap();
    assert_eq!(fitted.kind, ExprKind::Literal(Value::Decimal("12.00".into())));
    assert!(insert(&literal(Literal::Decimal("1.234".into())), &decimal).is_err());
    let structure =
        ast::Expr::Struct(vec![("A".into(), literal(Literal::Integer(1))), ("X".into(), string("dropped"))]);
    let target = SqlType::structure([("A", SqlType::Bigint), ("B", SqlType::String)]);
    let ExprKind::Struct(fields) = insert(&structure, &target).unwrap().kind else { panic!("not a struct") };
    assert_eq!(fields[0].1.kind, ExprKind::Literal(Value::Bigint(1)));
    assert_eq!(fields[1].1, Expr::null(SqlType::String));
}
