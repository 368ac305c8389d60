//! MASK and its kin: characters replaced by kind.
//!
//! | kind | mask |
//! |---|---|
//! | upper case | `X` |
//! | lower case | `x` |
//! | digit | `n` |
//! | any other | `-` |
//!
//! Other masks may be given; a null mask leaves its kind as it is.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::Int32Type;

use super::{Evaluated, ScalarFunction};
use crate::functions::columns::{Output, Str, column};

const CATEGORY: &str = "STRING";

/// Which characters are masked.
#[derive(Clone, Copy)]
enum Reach {
    All,
    Left,
    Right,
    /// All but the first.
    KeepLeft,
    /// All but the last.
    KeepRight,
}

pub fn functions() -> Vec<ScalarFunction> {
    let masks = "STRING upper, STRING lower, STRING digit, STRING other";
    let whole = ScalarFunction::new("MASK", CATEGORY, "The text with its characters masked by kind.")
        .example("MASK('My Test $123')", "Xx-Xxxx--nnn")
        .overload("(STRING input) -> STRING", |args, _| mask(args, Reach::All))
        .overload(&format!("(STRING input, {masks}) -> STRING"), |args, _| mask(args, Reach::All));
    let part = |name, description, reach| {
        ScalarFunction::new(name, CATEGORY, description)
            .overload("(STRING input, INT numChars) -> STRING", move |args, _| mask(args, reach))
            .overload(&format!("(STRING input, INT numChars, {masks}) -> STRING"), move |args, _| mask(args, reach))
    };
    vec![
        whole,
        part("MASK_LEFT", "The text with its first characters masked by kind.", Reach::Left)
            .example("MASK_LEFT('My Test', 3)", "Xx-Test"),
        part("MASK_RIGHT", "The text with its last characters masked by kind.", Reach::Right)
            .example("MASK_RIGHT('My Test', 3)", "My Txxx"),
        part("MASK_KEEP_LEFT", "The text with all but its first characters masked by kind.", Reach::KeepLeft)
            .example("MASK_KEEP_LEFT('My Test', 3)", "My Xxxx"),
        part("MASK_KEEP_RIGHT", "The text with all but its last characters masked by kind.", Reach::KeepRight)
            .example("MASK_KEEP_RIGHT('My Test', 3)", "Xx-Xest"),
    ]
}

const DEFAULTS: [Option<char>; 4] = [Some('X'), Some('x'), Some('n'), Some('-')];

fn masked(c: char, masks: &[Option<char>; 4]) -> char {
    let kind = if c.is_uppercase() {
        0
    } else if c.is_lowercase() {
        1
    } else if c.is_numeric() {
        2
    } else {
        3
    };
    masks[kind].unwrap_or(c)
}

fn mask(args: &[ArrayRef], reach: Reach) -> Evaluated {
    let texts = column::<Str>(&args[0]);
    let (counts, rest) = match reach {
        Reach::All => (None, &args[1..]),
        _ => (Some(column::<Int32Type>(&args[1])), &args[2..]),
    };
    let given: Vec<_> = rest.iter().map(column::<Str>).collect();
    Str::build(texts.len(), |row| {
        if texts.is_null(row) {
            return Ok(None);
        }
        let count = match counts {
            None => 0,
            Some(counts) if counts.is_null(row) => {
                return Err("function requires a non-negative number of characters to mask or skip".to_string());
            }
            Some(counts) => usize::try_from(counts.value(row))
                .map_err(|_| "function requires a non-negative number of characters to mask or skip".to_string())?,
        };
        let mut masks = DEFAULTS;
        for (mask, column) in masks.iter_mut().zip(&given) {
            *mask = column.is_valid(row).then(|| column.value(row).chars().next()).flatten();
        }
        let text = texts.value(row);
        let length = text.chars().count();
        let range = match reach {
            Reach::All => 0..length,
            Reach::Left => 0..count.min(length),
            Reach::Right => length.saturating_sub(count)..length,
            Reach::KeepLeft => count.min(length)..length,
            Reach::KeepRight => 0..length.saturating_sub(count),
        };
        let chars = text.chars().enumerate();
        Ok(Some(chars.map(|(at, c)| if range.contains(&at) { masked(c, &masks) } else { c }).collect()))
    })
}
