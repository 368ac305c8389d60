//! Expressions against rows: A INT, B INT, D DOUBLE, P DECIMAL(4, 2), S STRING, F BOOLEAN, L ARRAY<INT>.
//!
//! | A | B | D | P | S | F | L |
//! |---|---|---|---|---|---|---|
//! | 7 | 2 | 1.5 | 10.25 | `ab` | true | `[1, 2]` |
//! | null | 1 | null | null | null | null | null |
//! | 1 | 0 | 0.0 | -0.30 | `7` | false | `[]` |

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal256Array, Float64Array, Int32Array, ListArray, RecordBatch, RecordBatchOptions,
    StringArray,
};
use arrow::datatypes::{Int32Type, Schema, i256};

use super::*;
use crate::functions::values::text::write_value;
use crate::plan::expr::{ArithmeticOp, ComparisonOp, ExprKind, Value};

fn batch() -> RecordBatch {
    let decimals = Decimal256Array::from(vec![Some(i256::from_i128(1025)), None, Some(i256::from_i128(-30))])
        .with_precision_and_scale(4, 2)
        .unwrap();
    let lists =
        ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), Some(2)]), None, Some(vec![])]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("A", Arc::new(Int32Array::from(vec![Some(7), None, Some(1)]))),
        ("B", Arc::new(Int32Array::from(vec![2, 1, 0]))),
        ("D", Arc::new(Float64Array::from(vec![Some(1.5), None, Some(0.0)]))),
        ("P", Arc::new(decimals)),
        ("S", Arc::new(StringArray::from(vec![Some("ab"), None, Some("7")]))),
        ("F", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("L", Arc::new(lists)),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn column(name: &str) -> Expr {
    let batch = batch();
    let ty = SqlType::from_arrow(batch.schema().field_with_name(name).unwrap().data_type()).unwrap();
    Expr::column(name, ty)
}

fn int(value: i32) -> Expr {
    Expr::literal(Value::Integer(value), SqlType::Integer)
}

fn string(value: &str) -> Expr {
    Expr::literal(Value::String(value.into()), SqlType::String)
}

fn arithmetic(op: ArithmeticOp, left: Expr, right: Expr, ty: SqlType) -> Expr {
    Expr { kind: ExprKind::Arithmetic { op, left: Box::new(left), right: Box::new(right) }, ty }
}

fn compare(op: ComparisonOp, left: Expr, right: Expr) -> Expr {
    boolean(ExprKind::Comparison { op, left: Box::new(left), right: Box::new(right) })
}

fn boolean(kind: ExprKind) -> Expr {
    Expr { kind, ty: SqlType::Boolean }
}

fn call(name: &str, args: Vec<Expr>, ty: SqlType) -> Expr {
    Expr { kind: ExprKind::Call { name: name.into(), args }, ty }
}

fn lambda(parameters: &[(&str, SqlType)], body: Expr) -> Expr {
    let parameters = parameters.iter().map(|(n, t)| (n.to_string(), t.clone())).collect();
    Expr { ty: body.ty.clone(), kind: ExprKind::Lambda { parameters, body: Box::new(body) } }
}

/// Values as text, and the rows that failed.
fn run(expr: &Expr) -> (Vec<String>, Vec<usize>) {
    let batch = batch();
    let (column, errors) = Compiled::new(expr, &batch.schema()).unwrap().evaluate(&batch).unwrap();
    assert_eq!(column.data_type(), &expr.ty.to_arrow());
    let texts = (0..column.len())
        .map(|row| {
            let mut text = String::new();
            write_value(column.as_ref(), row, &mut text);
            text
        })
        .collect();
    (texts, errors.iter().map(|e| e.row).collect())
}

#[track_caller]
fn gives(expr: Expr, expected: [&str; 3], failed: &[usize]) {
    assert_eq!(run(&expr), (expected.map(String::from).to_vec(), failed.to_vec()));
}

#[test]
fn arithmetic_wraps_and_division_by_zero_fails_one_row() {
    use ArithmeticOp::{Add, Divide, Modulo};
    gives(arithmetic(Divide, column("A"), column("B"), SqlType::Integer), ["3", "null", "null"], &[2]);
    gives(arithmetic(Modulo, column("B"), column("A"), SqlType::Integer), ["2", "null", "0"], &[]);
    gives(
        arithmetic(Add, column("B"), int(i32::MAX), SqlType::Integer),
        ["-2147483647", "-2147483648", "2147483647"],
        &[],
    );
    gives(arithmetic(Divide, column("D"), column("D"), SqlType::Double), ["1.0", "null", "NaN"], &[]);
    let doubled = arithmetic(Add, column("P"), column("A"), SqlType::decimal(13, 2));
    gives(doubled, ["17.25", "null", "0.70"], &[]);
    let quotient = arithmetic(Divide, column("A"), column("P"), SqlType::decimal(30, 6));
    gives(quotient, ["0.682927", "null", "-3.333333"], &[]);
    gives(arithmetic(Add, column("S"), string("!"), SqlType::String), ["ab!", "null", "7!"], &[]);
}

#[test]
fn comparisons_are_two_valued() {
    use ComparisonOp::{Equal, Greater, IsDistinctFrom, NotEqual};
    gives(compare(Greater, column("A"), column("B")), ["true", "false", "true"], &[]);
    gives(boolean(ExprKind::Not(Box::new(compare(Equal, column("A"), int(7))))), ["false", "true", "true"], &[]);
    gives(compare(NotEqual, column("L"), column("L")), ["false", "false", "false"], &[]);
    gives(compare(Equal, column("L"), column("L")), ["true", "false", "true"], &[]);
    gives(compare(IsDistinctFrom, column("A"), Expr::null(SqlType::Integer)), ["true", "false", "true"], &[]);
    gives(compare(Greater, column("P"), column("D")), ["true", "false", "false"], &[]);
}

#[test]
fn the_right_side_only_counts_where_the_left_does_not_decide() {
    let risky = || {
        compare(ComparisonOp::Greater, arithmetic(ArithmeticOp::Divide, int(4), column("B"), SqlType::Integer), int(1))
    };
    let guard = |op| compare(op, column("B"), int(0));
    let and = boolean(ExprKind::And(Box::new(guard(ComparisonOp::NotEqual)), Box::new(risky())));
    gives(and, ["true", "true", "false"], &[]);
    let or = boolean(ExprKind::Or(Box::new(guard(ComparisonOp::Equal)), Box::new(risky())));
    gives(or, ["true", "true", "true"], &[]);
    gives(risky(), ["true", "true", "null"], &[2]);
}

#[test]
fn a_list_of_constants_is_looked_up_as_the_comparisons_would_say() {
    let any_of = |candidates: Vec<Expr>, value: &Expr| {
        let mut equals = candidates.into_iter().map(|c| compare(ComparisonOp::Equal, value.clone(), c));
        let first = equals.next().unwrap();
        equals.fold(first, |chain, next| boolean(ExprKind::Or(Box::new(chain), Box::new(next))))
    };
    // A is 7, null, 1: null is in no list, and the answer is false, not null.
    let looked_up = any_of(vec![int(7), int(8), int(9)], &column("A"));
    gives(looked_up.clone(), ["true", "false", "false"], &[]);
    gives(boolean(ExprKind::Not(Box::new(looked_up))), ["false", "true", "true"], &[]);
    let chain = any_of(vec![int(7), column("B"), int(1)], &column("A"));
    gives(chain, ["true", "false", "true"], &[]);
    let quotient = arithmetic(ArithmeticOp::Divide, int(7), column("B"), SqlType::Integer);
    gives(any_of(vec![int(3), int(4), int(5)], &quotient), ["true", "false", "null"], &[2]);
    let letters = ["a", "b", "ab", "d", "e", "7"].map(string).to_vec();
    gives(any_of(letters, &column("S")), ["true", "false", "true"], &[]);
}

#[test]
fn case_is_lazy_and_in_order() {
    let divided = arithmetic(ArithmeticOp::Divide, int(4), column("B"), SqlType::Integer);
    let case = Expr {
        kind: ExprKind::Case {
            branches: vec![
                (compare(ComparisonOp::Equal, column("B"), int(0)), int(-1)),
                (compare(ComparisonOp::Equal, column("A"), int(7)), divided),
            ],
            otherwise: None,
        },
        ty: SqlType::Integer,
    };
    gives(case, ["2", "null", "-1"], &[]);
}

#[test]
fn a_predicate_has_no_nulls_and_a_failed_row_does_not_pass() {
    let batch = batch();
    let pass = |expr: &Expr| {
        let (bits, errors) = Compiled::new(expr, &batch.schema()).unwrap().predicate(&batch).unwrap();
        assert_eq!(bits.null_count(), 0);
        (bits.values().iter().collect::<Vec<_>>(), errors.len())
    };
    assert_eq!(pass(&column("F")), (vec![true, false, false], 0));
    let cast = Expr { kind: ExprKind::Cast(Box::new(column("S"))), ty: SqlType::Integer };
    assert_eq!(pass(&compare(ComparisonOp::Equal, cast, int(7))), (vec![false, false, true], 1));
}

#[test]
fn collections_are_reached_into_and_built() {
    let at = |index| Expr {
        kind: ExprKind::Subscript { base: Box::new(column("L")), index: Box::new(int(index)) },
        ty: SqlType::Integer,
    };
    gives(at(1), ["1", "null", "null"], &[]);
    gives(at(-1), ["2", "null", "null"], &[]);
    gives(at(0), ["null", "null", "null"], &[]);
    let array = Expr { kind: ExprKind::Array(vec![column("A"), column("B")]), ty: SqlType::array(SqlType::Integer) };
    gives(array, ["[7, 2]", "[null, 1]", "[1, 0]"], &[]);
    let map = Expr {
        kind: ExprKind::Map(vec![(string("x"), column("A")), (column("S"), column("B"))]),
        ty: SqlType::map(SqlType::String, SqlType::Integer),
    };
    gives(map, ["{x=7, ab=2}", "{x=null}", "{x=1, 7=0}"], &[]);
    let structure = Expr {
        kind: ExprKind::Struct(vec![("X".into(), column("S"))]),
        ty: SqlType::structure([("X", SqlType::String)]),
    };
    let field = Expr { kind: ExprKind::Field { base: Box::new(structure), field: "X".into() }, ty: SqlType::String };
    gives(field, ["ab", "null", "7"], &[]);
}

#[test]
fn lambdas_see_outer_columns_and_nest() {
    let list = SqlType::array(SqlType::Integer);
    let plus = arithmetic(ArithmeticOp::Add, Expr::column("X", SqlType::Integer), column("A"), SqlType::Integer);
    let transform = call("TRANSFORM", vec![column("L"), lambda(&[("X", SqlType::Integer)], plus)], list.clone());
    gives(transform, ["[8, 9]", "null", "[]"], &[]);
    // REDUCE over L within TRANSFORM over L: the inner body names the outer parameter and a column.
    let (x, y, s) = (
        Expr::column("X", SqlType::Integer),
        Expr::column("Y", SqlType::Integer),
        Expr::column("S1", SqlType::Integer),
    );
    let product = arithmetic(ArithmeticOp::Multiply, x, y, SqlType::Integer);
    let sum = arithmetic(ArithmeticOp::Add, s, product, SqlType::Integer);
    let reducer = lambda(&[("S1", SqlType::Integer), ("Y", SqlType::Integer)], sum);
    let inner = call("REDUCE", vec![column("L"), column("A"), reducer], SqlType::Integer);
    let nested = call("TRANSFORM", vec![column("L"), lambda(&[("X", SqlType::Integer)], inner)], list.clone());
    gives(nested, ["[10, 13]", "null", "[]"], &[]);
    let risky = arithmetic(ArithmeticOp::Divide, int(4), Expr::column("X", SqlType::Integer), SqlType::Integer);
    let shifted = arithmetic(
        ArithmeticOp::Divide,
        int(4),
        arithmetic(ArithmeticOp::Subtract, Expr::column("X", SqlType::Integer), int(1), SqlType::Integer),
        SqlType::Integer,
    );
    gives(
        call("TRANSFORM", vec![column("L"), lambda(&[("X", SqlType::Integer)], risky)], list.clone()),
        ["[4, 2]", "null", "[]"],
        &[],
    );
    gives(
        call("TRANSFORM", vec![column("L"), lambda(&[("X", SqlType::Integer)], shifted)], list),
        ["null", "null", "[]"],
        &[0],
    );
}

#[test]
fn a_null_operand_fails_what_stands_around_it() {
    use ArithmeticOp::Add;
    let sum = || arithmetic(Add, column("A"), int(1), SqlType::Integer);
    // As the whole expression it is null; in a comparison the row fails, so that NOT does not make it true.
    gives(sum(), ["8", "null", "2"], &[]);
    gives(compare(ComparisonOp::Greater, sum(), int(5)), ["true", "null", "false"], &[1]);
    gives(call("COALESCE", vec![sum(), int(0)], SqlType::Integer), ["8", "null", "2"], &[1]);
    let not = boolean(ExprKind::Not(Box::new(column("F"))));
    gives(not, ["false", "null", "true"], &[]);
    let both = boolean(ExprKind::And(Box::new(column("F")), Box::new(compare(ComparisonOp::Equal, int(1), int(2)))));
    gives(both, ["false", "null", "false"], &[1]);
    let batch = batch();
    let filter = compare(ComparisonOp::Greater, sum(), int(1));
    let (bits, errors) = Compiled::new(&filter, &batch.schema()).unwrap().predicate(&batch).unwrap();
    assert_eq!((bits.values().iter().collect::<Vec<_>>(), errors.len()), (vec![true, false, true], 0));
}

#[test]
fn an_item_of_a_constructor_fails_alone() {
    let quotient = arithmetic(ArithmeticOp::Divide, int(4), column("B"), SqlType::Integer);
    let ty = SqlType::structure([("X", SqlType::Integer), ("Y", SqlType::String)]);
    let structure = Expr { kind: ExprKind::Struct(vec![("X".into(), quotient), ("Y".into(), column("S"))]), ty };
    gives(structure, ["Struct{X=2,Y=ab}", "Struct{X=4}", "Struct{Y=7}"], &[]);
}

#[test]
fn constants_have_a_row_each_even_without_columns() {
    let rows = RecordBatch::try_new_with_options(
        Arc::new(Schema::empty()),
        Vec::new(),
        &RecordBatchOptions::new().with_row_count(Some(3)),
    )
    .unwrap();
    let sum = arithmetic(ArithmeticOp::Add, int(1), int(2), SqlType::Integer);
    let (column, errors) = Compiled::new(&sum, &Schema::empty()).unwrap().evaluate(&rows).unwrap();
    assert_eq!((column.len(), errors.len()), (3, 0));
    let failing = arithmetic(ArithmeticOp::Divide, int(1), int(0), SqlType::Integer);
    let (column, errors) = Compiled::new(&failing, &Schema::empty()).unwrap().evaluate(&rows).unwrap();
    assert_eq!((column.null_count(), errors.len()), (3, 3));
}

#[test]
fn like_with_a_column_or_a_constant() {
    let like = |pattern: Expr, negated| {
        boolean(ExprKind::Like { expr: Box::new(column("S")), pattern: Box::new(pattern), escape: None, negated })
    };
    gives(like(string("a%"), false), ["true", "false", "false"], &[]);
    gives(like(column("S"), true), ["false", "false", "false"], &[]);
}
