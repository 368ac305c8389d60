//! Functions of DOUBLE: roots, logarithms, angles, distances. Java's meaning: NaN and ±Infinity instead of errors.

use std::f64::consts::PI;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, ListBuilder, PrimitiveBuilder};
use arrow::compute::binary;
use arrow::datatypes::{ArrowPrimitiveType, Float64Type, Int32Type, Int64Type};

use super::{CallContext, Evaluated, ScalarFunction};
use crate::functions::columns::{Output, Str, column, unary};
use crate::functions::values::cast::cast;
use crate::types::SqlType;

const CATEGORY: &str = "MATHEMATICAL";
const EARTH_RADIUS_KM: f64 = 6371.0;
const EARTH_RADIUS_MILES: f64 = 3959.0;

pub fn functions() -> Vec<ScalarFunction> {
    vec![
        of_one("SQRT", "Square root.", f64::sqrt)
            .example("SQRT(4)", "2.0")
            .differs("of a negative number is an error, here it is NaN."),
        of_one("CBRT", "Cube root.", f64::cbrt).example("CBRT(27)", "3.0"),
        of_one("EXP", "e to the power of the value.", f64::exp).example("EXP(0)", "1.0"),
        of_one("LN", "Natural logarithm.", f64::ln).example("LN(1)", "0.0"),
        of_two(
            ScalarFunction::new("LOG", CATEGORY, "Natural logarithm, or the logarithm to a base.")
                .example("LOG(2, 8)", "3.0")
                .differs(
                    "of one argument is to base 10, here it is the natural logarithm; a base that is no base \
                 gives a number, here NaN.",
                ),
            Some(f64::ln),
            ["base", "value"],
            |base, value| if base <= 0.0 || base == 1.0 { f64::NAN } else { value.ln() / base.ln() },
        ),
        of_two(
            ScalarFunction::new("POWER", CATEGORY, "The base to the power of the exponent.")
                .example("POWER(2, 10)", "1024.0")
                .differs("zero to a negative power is an error, here it is Infinity."),
            None,
            ["base", "exponent"],
            f64::powf,
        ),
        of_one("SIN", "Sine of an angle in radians.", f64::sin).example("SIN(0)", "0.0"),
        of_one("COS", "Cosine of an angle in radians.", f64::cos).example("COS(0)", "1.0"),
        of_one("TAN", "Tangent of an angle in radians.", f64::tan).example("TAN(0)", "0.0"),
        of_one("SINH", "Hyperbolic sine.", f64::sinh).example("SINH(0)", "0.0"),
        of_one("COSH", "Hyperbolic cosine.", f64::cosh).example("COSH(0)", "1.0"),
        of_one("TANH", "Hyperbolic tangent.", f64::tanh).example("TANH(0)", "0.0"),
        of_one("COT", "Cotangent of an angle in radians.", |v| 1.0 / v.tan()).example("COT(0)", "Infinity"),
        of_one("ASIN", "Angle in radians of a sine.", f64::asin).example("ASIN(0)", "0.0"),
        of_one("ACOS", "Angle in radians of a cosine.", f64::acos).example("ACOS(1)", "0.0"),
        of_one("ATAN", "Angle in radians of a tangent.", f64::atan).example("ATAN(0)", "0.0"),
        of_two(
            ScalarFunction::new("ATAN2", CATEGORY, "Angle in radians of the point (x, y).")
                .example("ATAN2(0, 1)", "0.0"),
            None,
            ["y", "x"],
            f64::atan2,
        ),
        of_one("DEGREES", "Radians as degrees.", degrees).example("DEGREES(PI())", "180.0"),
        of_one("RADIANS", "Degrees as radians.", radians).example("RADIANS(180)", "3.141592653589793"),
        ScalarFunction::new("PI", CATEGORY, "The ratio of a circle's circumference to its diameter.")
            .example("PI()", "3.141592653589793")
            .overload("() -> DOUBLE", |_, ctx| Ok(Arc::new(Float64Array::from_value(PI, ctx.rows)))),
        ScalarFunction::new("RANDOM", CATEGORY, "A random number from 0 up to, not including, 1.")
            .example("RANDOM() < 1e0", "true")
            .volatile()
            .overload("() -> DOUBLE", |_, ctx| {
                Ok(Arc::new(Float64Array::from_iter_values((0..ctx.rows).map(|_| fastrand::f64()))))
            }),
        ScalarFunction::new("GEO_DISTANCE", CATEGORY, "Great circle distance of two points, in KM or MI.")
            .example("GEO_DISTANCE(37.4439e0, -122.1663e0, 51.5257e0, -0.1122e0, 'MI')", "5365.659729188262")
            .overload("(DOUBLE lat1, DOUBLE lon1, DOUBLE lat2, DOUBLE lon2) -> DOUBLE", |args, _| distances(args))
            .overload("(DOUBLE lat1, DOUBLE lon1, DOUBLE lat2, DOUBLE lon2, STRING units) -> DOUBLE", |args, _| {
                distances(args)
            }),
        ScalarFunction::new("GENERATE_SERIES", "ARRAY", "The numbers from start to end, both included, by steps.")
            .example("GENERATE_SERIES(-2, 2, 2)", "[-2, 0, 2]")
            .differs("from a greater start is empty; here it counts down.")
            .printed("GENERATE_SERIES")
            .overload("(INT start, INT end) -> ARRAY<INT>", |args, _| series::<Int32Type>(args))
            .overload("(BIGINT start, BIGINT end) -> ARRAY<BIGINT>", |args, _| series::<Int64Type>(args))
            .overload("(INT start, INT end, INT step) -> ARRAY<INT>", |args, _| series::<Int32Type>(args))
            .overload("(BIGINT start, BIGINT end, INT step) -> ARRAY<BIGINT>", |args, _| series::<Int64Type>(args)),
    ]
}

/// `Math.toDegrees`, with its order of operations, so that the last digit agrees.
fn degrees(radians: f64) -> f64 {
    radians * 180.0 / PI
}

/// `Math.toRadians`, likewise.
fn radians(degrees: f64) -> f64 {
    degrees / 180.0 * PI
}

fn doubles(args: &[ArrayRef], ctx: &CallContext<'_>) -> Result<Vec<ArrayRef>, String> {
    args.iter().zip(ctx.types).map(|(array, ty)| cast(array, ty, &SqlType::Double)).collect()
}

const NUMBERS: [&str; 3] = ["INT", "BIGINT", "DOUBLE"];

fn of_one(
    name: &'static str,
    description: &'static str,
    f: impl Fn(f64) -> f64 + Copy + Send + Sync + 'static,
) -> ScalarFunction {
    with_one(ScalarFunction::new(name, CATEGORY, description), f)
}

fn with_one(function: ScalarFunction, f: impl Fn(f64) -> f64 + Copy + Send + Sync + 'static) -> ScalarFunction {
    NUMBERS.iter().fold(function, |function, ty| {
        function.overload(&format!("({ty} value) -> DOUBLE"), move |args, ctx| {
            unary::<Float64Type, Float64Type>(&doubles(args, ctx)?, f)
        })
    })
}

fn of_two(
    function: ScalarFunction,
    one: Option<fn(f64) -> f64>,
    names: [&str; 2],
    f: impl Fn(f64, f64) -> f64 + Copy + Send + Sync + 'static,
) -> ScalarFunction {
    let function = match one {
        Some(one) => with_one(function, one),
        None => function,
    };
    let [first, second] = names;
    NUMBERS.iter().fold(function, |function, ty| {
        function.overload(&format!("({ty} {first}, {ty} {second}) -> DOUBLE"), move |args, ctx| {
            let columns = doubles(args, ctx)?;
            let (a, b) = (columns[0].as_primitive::<Float64Type>(), columns[1].as_primitive::<Float64Type>());
            let both: Float64Array = binary(a, b, f).map_err(|e| e.to_string())?;
            Ok(Arc::new(both))
        })
    })
}

fn radius(unit: &str) -> Result<f64, String> {
    match unit.to_ascii_uppercase().as_str() {
        "KM" | "KILOMETER" | "KILOMETERS" | "KILOMETRE" | "KILOMETRES" => Ok(EARTH_RADIUS_KM),
        "MI" | "MILE" | "MILES" => Ok(EARTH_RADIUS_MILES),
        _ => Err(format!("GeoDistance function units parameter must be one of KM or MI, but was {unit}")),
    }
}

fn distances(args: &[ArrayRef]) -> Evaluated {
    use arrow::array::Array;
    let points: Vec<&Float64Array> = args[..4].iter().map(|a| a.as_primitive::<Float64Type>()).collect();
    let units = args.get(4).map(column::<Str>);
    Float64Type::build(args[0].len(), |row| {
        if points.iter().any(|p| p.is_null(row)) {
            return Ok(None);
        }
        let radius = match units.filter(|u| u.is_valid(row)) {
            Some(units) => radius(units.value(row))?,
            None => EARTH_RADIUS_KM,
        };
        let [lat1, lon1, lat2, lon2] = [0, 1, 2, 3].map(|i: usize| points[i].value(row));
        if [lat1, lat2].iter().any(|v| v.abs() > 90.0) {
            return Err(
                "valid latitude values for GeoDistance function are in the range of -90 to 90 decimal degrees".into()
            );
        }
        if [lon1, lon2].iter().any(|v| v.abs() > 180.0) {
            return Err(
                "valid longitude values for GeoDistance function are in the range of -180 to 180 decimal degrees"
                    .into(),
            );
        }
        let half_sine = |difference: f64| (radians(difference) / 2.0).sin().powi(2);
        let a = half_sine(lat2 - lat1) + half_sine(lon2 - lon1) * radians(lat1).cos() * radians(lat2).cos();
        Ok(Some(2.0 * a.sqrt().asin() * radius))
    })
}

/// Largest array GENERATE_SERIES makes for one row.
const SERIES_ITEMS_MAX: i128 = 10_000_000;

fn series<T: ArrowPrimitiveType>(args: &[ArrayRef]) -> Evaluated
where
    T::Native: TryFrom<i64>,
{
    use arrow::array::Array;
    let longs = |array: &ArrayRef| -> Result<Int64Array, String> {
        match array.as_primitive_opt::<Int64Type>() {
            Some(longs) => Ok(longs.clone()),
            None => Ok(column::<Int32Type>(array).unary(i64::from)),
        }
    };
    let (starts, ends) = (longs(&args[0])?, longs(&args[1])?);
    let steps: Option<&Int32Array> = args.get(2).map(column::<Int32Type>);
    let mut builder = ListBuilder::new(PrimitiveBuilder::<T>::new());
    for row in 0..starts.len() {
        if starts.is_null(row) || ends.is_null(row) || steps.is_some_and(|s| s.is_null(row)) {
            builder.append(false);
            continue;
        }
        let (start, end) = (i128::from(starts.value(row)), i128::from(ends.value(row)));
        let step = match steps {
            Some(steps) => i128::from(steps.value(row)),
            None => {
                if end >= start {
                    1
                } else {
                    -1
                }
            }
        };
        if step == 0 {
            return Err("GENERATE_SERIES step cannot be zero".to_string());
        }
        if (end - start).signum() == -step.signum() {
            return Err("GENERATE_SERIES step has wrong sign".to_string());
        }
        let count = (end - start) / step + 1;
        if count > SERIES_ITEMS_MAX {
            return Err(format!("GENERATE_SERIES would make {count} items; the limit is {SERIES_ITEMS_MAX}"));
        }
        for i in 0..count {
            let item = i64::try_from(start + i * step).ok().and_then(|v| T::Native::try_from(v).ok());
            builder.values().append_option(item);
        }
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}
