//! Functions of DATE, TIME and TIMESTAMP.
//!
//! Patterns are Java's (`values::java_time`). The old functions `STRINGTODATE`, `TIMESTAMPTOSTRING` and their kin work on
//! INT days and BIGINT milliseconds instead of DATE and TIMESTAMP; without a zone they use UTC.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, Int64Array};
use arrow::datatypes::{Date32Type, Int32Type, Int64Type, Time32MillisecondType, TimestampMillisecondType};

use super::{CallContext, Evaluated, ScalarFunction};
use crate::clock;
use crate::functions::columns::{Input, Output, Str, column, map3, unary};
use crate::functions::values::civil::{DAY_MS, date_of, days_in_month, days_of};
use crate::functions::values::java_time::{Pattern, Zone};

const CATEGORY: &str = "DATE / TIME";

pub fn functions() -> Vec<ScalarFunction> {
    let mut functions = texts();
    functions.extend(numbers());
    functions.extend(intervals());
    functions
}

/// Between texts and times.
fn texts() -> Vec<ScalarFunction> {
    let function = |name, description| ScalarFunction::new(name, CATEGORY, description);
    vec![
        function("FORMAT_DATE", "A date as text, by a pattern.")
            .example("FORMAT_DATE(FROM_DAYS(18993), 'dd-MMM-yyyy')", "01-Jan-2022")
            .overload("(DATE date, STRING format) -> STRING", |args, _| {
                by_pattern::<Date32Type, Str>(args, |pattern, _, days| pattern.format_date(days))
            }),
        function("FORMAT_TIME", "A time of day as text, by a pattern.")
            .example("FORMAT_TIME(CAST('22:04:05' AS TIME), 'HH.mm')", "22.04")
            .overload("(TIME time, STRING format) -> STRING", |args, _| {
                by_pattern::<Time32MillisecondType, Str>(args, |pattern, _, ms| pattern.format_time(ms))
            }),
        function("FORMAT_TIMESTAMP", "A timestamp as text, by a pattern, in a zone.")
            .example(
                "FORMAT_TIMESTAMP(FROM_UNIXTIME(1526075913000), 'yyyy-MM-dd HH:mm:ss', 'Europe/Paris')",
                "2018-05-11 23:58:33",
            )
            .overload("(TIMESTAMP timestamp, STRING format) -> STRING", format_timestamps)
            .overload("(TIMESTAMP timestamp, STRING format, STRING timezone) -> STRING", format_timestamps),
        function("PARSE_DATE", "The date of a text, by a pattern.")
            .example("PARSE_DATE('11/05/2019', 'dd/MM/yyyy')", "2019-05-11")
            .overload("(STRING formattedDate, STRING format) -> DATE", |args, _| {
                by_pattern::<Str, Date32Type>(args, |pattern, _, text| pattern.parse_date(text))
            }),
        function("PARSE_TIME", "The time of day of a text, by a pattern.")
            .example("PARSE_TIME('22.04', 'HH.mm')", "22:04")
            .overload("(STRING formattedTime, STRING format) -> TIME", |args, _| {
                by_pattern::<Str, Time32MillisecondType>(args, |pattern, _, text| pattern.parse_time(text))
            }),
        function("PARSE_TIMESTAMP", "The timestamp of a text, by a pattern; a zone in the text comes first.")
            .example(
                "PARSE_TIMESTAMP('2018-05-11T21:58:33', 'yyyy-MM-dd''T''HH:mm:ss', 'Europe/London')",
                "2018-05-11T20:58:33.000",
            )
            .overload(
                "(STRING formattedTimestamp, STRING format) -> TIMESTAMP",
                parse_timestamps::<TimestampMillisecondType>,
            )
            .overload(
                "(STRING formattedTimestamp, STRING format, STRING timezone) -> TIMESTAMP",
                parse_timestamps::<TimestampMillisecondType>,
            ),
        function("DATETOSTRING", "Days since 1970-01-01 as text; FORMAT_DATE is its successor.")
            .example("DATETOSTRING(1, 'yyyy-MM-dd')", "1970-01-02")
            .overload("(INT epochDays, STRING format) -> STRING", |args, _| {
                by_pattern::<Int32Type, Str>(args, |pattern, _, days| pattern.format_date(days))
            }),
        function("STRINGTODATE", "Days since 1970-01-01 of a text; PARSE_DATE is its successor.")
            .example("STRINGTODATE('19700102', 'yyyyMMdd')", "1")
            .overload("(STRING formattedDate, STRING format) -> INT", |args, _| {
                by_pattern::<Str, Int32Type>(args, |pattern, _, text| pattern.parse_whole_date(text))
            }),
        function("TIMESTAMPTOSTRING", "Milliseconds since 1970-01-01 as text; FORMAT_TIMESTAMP is its successor.")
            .example("TIMESTAMPTOSTRING(0, 'yyyy-MM-dd HH:mm', 'UTC')", "1970-01-01 00:00")
            .overload("(BIGINT epochMilli, STRING format) -> STRING", format_longs)
            .overload("(BIGINT epochMilli, STRING format, STRING timezone) -> STRING", format_longs),
        function("STRINGTOTIMESTAMP", "Milliseconds since 1970-01-01 of a text; PARSE_TIMESTAMP is its successor.")
            .example("STRINGTOTIMESTAMP('1970-01-02', 'yyyy-MM-dd', 'UTC')", "86400000")
            .overload("(STRING formattedTimestamp, STRING format) -> BIGINT", parse_timestamps::<Int64Type>)
            .overload(
                "(STRING formattedTimestamp, STRING format, STRING timezone) -> BIGINT",
                parse_timestamps::<Int64Type>,
            ),
    ]
}

/// Between numbers and times, and between zones.
fn numbers() -> Vec<ScalarFunction> {
    let function = |name, description| ScalarFunction::new(name, CATEGORY, description);
    vec![
        function("FROM_DAYS", "The date of a number of days since 1970-01-01.")
            .example("FROM_DAYS(18993)", "2022-01-01")
            .overload("(INT days) -> DATE", |args, _| unary::<Int32Type, Date32Type>(args, |days| days)),
        function("FROM_UNIXTIME", "The timestamp of milliseconds since 1970-01-01.")
            .example("FROM_UNIXTIME(7)", "1970-01-01T00:00:00.007")
            .differs("takes seconds, here milliseconds.")
            .overload("(BIGINT epochMilli) -> TIMESTAMP", |args, _| {
                unary::<Int64Type, TimestampMillisecondType>(args, |ms| ms)
            }),
        function("UNIX_DATE", "Days since 1970-01-01 of a date, or of today.")
            .example("UNIX_DATE(FROM_DAYS(7))", "7")
            .volatile()
            .overload("() -> INT", |_, ctx| {
                let today = clock::now_ms().div_euclid(DAY_MS) as i32;
                Ok(Arc::new(Int32Array::from_value(today, ctx.rows)))
            })
            .overload("(DATE date) -> INT", |args, _| unary::<Date32Type, Int32Type>(args, |days| days)),
        function("UNIX_TIMESTAMP", "Milliseconds since 1970-01-01 of a timestamp, or of now.")
            .example("UNIX_TIMESTAMP(FROM_UNIXTIME(7))", "7")
            .volatile()
            .overload("() -> BIGINT", |_, ctx| Ok(Arc::new(Int64Array::from_value(clock::now_ms(), ctx.rows))))
            .overload("(TIMESTAMP timestamp) -> BIGINT", |args, _| {
                unary::<TimestampMillisecondType, Int64Type>(args, |ms| ms)
            }),
        function(
            "CONVERT_TZ",
            "The timestamp whose clock in the second zone shows what this one's shows in the first.",
        )
        .example("CONVERT_TZ(FROM_UNIXTIME(0), 'UTC', 'Asia/Tokyo')", "1970-01-01T09:00:00.000")
        .overload("(TIMESTAMP timestamp, STRING fromTimeZone, STRING toTimeZone) -> TIMESTAMP", |args, _| {
            map3::<TimestampMillisecondType, Str, Str, TimestampMillisecondType>(args, |ms, from, to| {
                let instant = Zone::new(from)?.to_utc(ms);
                let shifted = Zone::new(to)?.offset_at(instant) * 1000;
                Ok(instant.checked_add(shifted))
            })
        }),
    ]
}

fn intervals() -> Vec<ScalarFunction> {
    let function = |name, description| ScalarFunction::new(name, CATEGORY, description);
    vec![
        function("DATEADD", "The date a number of units later.")
            .example("DATEADD(DAYS, 29, FROM_DAYS(0))", "1970-01-30")
            .overload("(UNIT unit, INT interval, DATE date) -> DATE", |args, _| dates_plus(args, 1)),
        function("DATESUB", "The date a number of units earlier.")
            .example("DATESUB(DAYS, 5, FROM_DAYS(5))", "1970-01-01")
            .overload("(UNIT unit, INT interval, DATE date) -> DATE", |args, _| dates_plus(args, -1)),
        function("TIMEADD", "The time of day a number of units later, around midnight.")
            .example("TIMEADD(MINUTES, 2, CAST('23:59' AS TIME))", "00:01")
            .overload("(UNIT unit, INT interval, TIME time) -> TIME", |args, _| times_plus(args, 1)),
        function("TIMESUB", "The time of day a number of units earlier, around midnight.")
            .example("TIMESUB(HOURS, 1, CAST('00:30' AS TIME))", "23:30")
            .overload("(UNIT unit, INT interval, TIME time) -> TIME", |args, _| times_plus(args, -1)),
        function("TIMESTAMPADD", "The timestamp a number of units later.")
            .example("TIMESTAMPADD(DAYS, 1, FROM_UNIXTIME(0))", "1970-01-02T00:00:00.000")
            .overload("(UNIT unit, INT interval, TIMESTAMP timestamp) -> TIMESTAMP", |args, _| {
                timestamps_plus(args, 1)
            }),
        function("TIMESTAMPSUB", "The timestamp a number of units earlier.")
            .example("TIMESTAMPSUB(MILLISECONDS, 10, FROM_UNIXTIME(20))", "1970-01-01T00:00:00.010")
            .overload("(UNIT unit, INT interval, TIMESTAMP timestamp) -> TIMESTAMP", |args, _| {
                timestamps_plus(args, -1)
            }),
    ]
}

/// Value, pattern and perhaps zone, row by row; pattern and zone are read again only when they change.
fn by_pattern<A: Input, R: Output>(
    args: &[ArrayRef],
    f: impl Fn(&Pattern, &Zone, A::Value<'_>) -> Result<R::Owned, String>,
) -> Evaluated {
    let (values, patterns) = (column::<A>(&args[0]), column::<Str>(&args[1]));
    let zones = args.get(2).map(column::<Str>);
    let mut pattern: Option<(&str, Pattern)> = None;
    let mut zone: (&str, Zone) = ("", Zone::UTC);
    R::build(values.len(), |row| {
        if values.is_null(row) || patterns.is_null(row) || zones.is_some_and(|z| z.is_null(row)) {
            return Ok(None);
        }
        let text = patterns.value(row);
        if pattern.as_ref().is_none_or(|(known, _)| *known != text) {
            pattern = Some((text, Pattern::new(text)?));
        }
        if let Some(zones) = zones
            && zones.value(row) != zone.0
        {
            zone = (zones.value(row), Zone::new(zones.value(row))?);
        }
        match &pattern {
            Some((_, pattern)) => f(pattern, &zone.1, A::value(values, row)).map(Some),
            None => Ok(None),
        }
    })
}

fn format_timestamps(args: &[ArrayRef], _: &CallContext<'_>) -> Evaluated {
    by_pattern::<TimestampMillisecondType, Str>(args, |pattern, zone, ms| pattern.format_timestamp(ms, zone))
}

fn format_longs(args: &[ArrayRef], _: &CallContext<'_>) -> Evaluated {
    by_pattern::<Int64Type, Str>(args, |pattern, zone, ms| pattern.format_timestamp(ms, zone))
}

fn parse_timestamps<R: Output<Owned = i64>>(args: &[ArrayRef], _: &CallContext<'_>) -> Evaluated {
    by_pattern::<Str, R>(args, |pattern, zone, text| pattern.parse_timestamp(text, zone))
}

/// An interval: whole months, or milliseconds.
enum Span {
    Months(i64),
    Milliseconds(i64),
}

/// How long one of a unit is; its name without the S.
const UNITS: [(&str, Span); 8] = [
    ("DAY", Span::Milliseconds(DAY_MS)),
    ("HOUR", Span::Milliseconds(3_600_000)),
    ("MINUTE", Span::Milliseconds(60_000)),
    ("SECOND", Span::Milliseconds(1000)),
    ("MILLISECOND", Span::Milliseconds(1)),
    ("WEEK", Span::Milliseconds(7 * DAY_MS)),
    ("MONTH", Span::Months(1)),
    ("YEAR", Span::Months(12)),
];

fn span(unit: &str, interval: i64) -> Result<Span, String> {
    let milliseconds =
        |each: i64| interval.checked_mul(each).map(Span::Milliseconds).ok_or("the interval is too long".to_string());
    let name = unit.trim().trim_end_matches(['S', 's']);
    match UNITS.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)) {
        Some((_, Span::Months(each))) => Ok(Span::Months(interval * each)),
        Some((_, Span::Milliseconds(each))) => milliseconds(*each),
        None => Err(format!("Unknown interval unit: {unit}")),
    }
}

/// A time an interval later; a day beyond the month's last is the last.
fn plus(ms: i64, span: &Span) -> Result<i64, String> {
    let too_far = || "the time is out of range".to_string();
    match span {
        Span::Milliseconds(more) => ms.checked_add(*more).ok_or_else(too_far),
        Span::Months(months) => {
            let (year, month, day) = date_of(ms.div_euclid(DAY_MS));
            let total = year * 12 + i64::from(month - 1) + months;
            let (year, month) = (total.div_euclid(12), total.rem_euclid(12) as u32 + 1);
            let days = days_of(year, month, day.min(days_in_month(year, month)));
            days.checked_mul(DAY_MS).and_then(|d| d.checked_add(ms.rem_euclid(DAY_MS))).ok_or_else(too_far)
        }
    }
}

fn dates_plus(args: &[ArrayRef], sign: i64) -> Evaluated {
    map3::<Str, Int32Type, Date32Type, Date32Type>(args, |unit, interval, days| {
        let later = plus(i64::from(days) * DAY_MS, &span(unit, sign * i64::from(interval))?)?;
        i32::try_from(later.div_euclid(DAY_MS)).map(Some).map_err(|_| "the date is out of range".to_string())
    })
}

fn times_plus(args: &[ArrayRef], sign: i64) -> Evaluated {
    map3::<Str, Int32Type, Time32MillisecondType, Time32MillisecondType>(args, |unit, interval, ms| {
        match span(unit, sign * i64::from(interval))? {
            Span::Milliseconds(more) => Ok(Some((i64::from(ms) + more % DAY_MS).rem_euclid(DAY_MS) as i32)),
            Span::Months(_) => Err(format!("Unsupported unit: {unit}")),
        }
    })
}

fn timestamps_plus(args: &[ArrayRef], sign: i64) -> Evaluated {
    map3::<Str, Int32Type, TimestampMillisecondType, TimestampMillisecondType>(args, |unit, interval, ms| {
        plus(ms, &span(unit, sign * i64::from(interval))?).map(Some)
    })
}
