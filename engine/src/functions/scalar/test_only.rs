//! Functions that ksqlDB's test suites define for themselves; only there once `functions::enable_test_functions` ran.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StructArray};
use arrow::datatypes::{DataType, Int32Type};

use super::{CallContext, Evaluated, Evaluation, ScalarFunction};
use crate::functions::columns::{Bool, Input, Output, Str, column, map1, map2};

const CATEGORY: &str = "TEST";

pub fn functions() -> Vec<ScalarFunction> {
    vec![
        ScalarFunction::new("TEST_UDF", CATEGORY, "The name of the overload picked.")
            .overload("(INT a, STRING b) -> STRING", |_, ctx| named("doStuffIntString", ctx))
            .overload("(BIGINT a, STRING b) -> STRING", |_, ctx| named("doStuffLongString", ctx))
            .overload("(BIGINT a, BIGINT b, STRING c) -> STRING", |_, ctx| named("doStuffLongLongString", ctx))
            .overload("(BIGINT... a) -> STRING", |_, ctx| named("doStuffLongVarargs", ctx))
            .overload("(STRUCT<A STRING> a) -> STRING", |args, _| Ok(Arc::clone(args[0].as_struct().column(0))))
            .overload("() -> STRUCT<A STRING>", |_, ctx| {
                let DataType::Struct(fields) = ctx.returns.to_arrow() else { return Err("a STRUCT".to_string()) };
                let column = named("foo", ctx)?;
                Ok(Arc::new(StructArray::try_new(fields, vec![column], None).map_err(|e| e.to_string())?))
            }),
        ScalarFunction::new("TOSTRUCT", CATEGORY, "The text as a STRUCT's field A.").overload(
            "(STRING value) -> STRUCT<A STRING>",
            |args, ctx| {
                let DataType::Struct(fields) = ctx.returns.to_arrow() else { return Err("a STRUCT".to_string()) };
                let texts = vec![Arc::clone(&args[0])];
                Ok(Arc::new(StructArray::try_new(fields, texts, None).map_err(|e| e.to_string())?))
            },
        ),
        ScalarFunction::new("BAD_UDF", CATEGORY, "Fails, or is null, as its arguments say.")
            .overload("(INT arg) -> INT", |args, _| map1::<Int32Type, Int32Type>(args, |_| Err("boom!".to_string())))
            .overload("(BOOLEAN arg) -> INT", |args, _| {
                map1::<Bool, Int32Type>(args, |fails| {
                    if fails { Err("You asked me to throw...".to_string()) } else { Ok(Some(0)) }
                })
            })
            .overload_with_state("(STRING arg) -> STRING", every_other),
        if_ok("WHENCONDITION"),
        if_ok("WHENRESULT"),
    ]
}

fn named(text: &str, ctx: &CallContext<'_>) -> Evaluated {
    Ok(Arc::new(StringArray::from_iter_values((0..ctx.rows).map(|_| text))))
}

/// Null, the argument, null, the argument, …
fn every_other() -> Evaluation {
    let null = AtomicBool::new(false);
    Arc::new(move |args: &[ArrayRef], _: &CallContext<'_>| {
        let texts = column::<Str>(&args[0]);
        Str::build(texts.len(), |row| {
            let is_null = !null.fetch_xor(true, Ordering::Relaxed);
            Ok(if is_null || texts.is_null(row) { None } else { Some(texts.value(row).to_string()) })
        })
    })
}

fn if_ok(name: &'static str) -> ScalarFunction {
    fn first<T>(args: &[ArrayRef]) -> Evaluated
    where
        T: Output,
        for<'a> T: Input<Value<'a> = <T as Output>::Owned>,
    {
        map2::<T, Bool, T>(args, |value, ok| {
            if ok { Ok(Some(value)) } else { Err("this branch must not be evaluated".to_string()) }
        })
    }
    ScalarFunction::new(name, CATEGORY, "The first argument; fails unless the second is true.")
        .volatile()
        .overload("(BOOLEAN value, BOOLEAN ok) -> BOOLEAN", |args, _| first::<Bool>(args))
        .overload("(INT value, BOOLEAN ok) -> INT", |args, _| first::<Int32Type>(args))
}
