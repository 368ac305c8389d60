//! Functions of BYTES, and encodings between BYTES and STRING.
//!
//! | encoding | text of the bytes 1A B2 |
//! |---|---|
//! | `hex` | `1AB2` |
//! | `base64` | `GrI=` |
//! | `utf8`, `ascii` | what they spell; what they cannot spell is `U+FFFD`, and `?` on the way back to ASCII |

use arrow::array::ArrayRef;
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use uuid::Uuid;

use super::{Evaluated, ScalarFunction};
use crate::functions::columns::{Bin, Output, Str, column, map1, map2, map3};

const CATEGORY: &str = "STRING";

pub fn functions() -> Vec<ScalarFunction> {
    let function = |name, description| ScalarFunction::new(name, CATEGORY, description);
    vec![
        function("ENCODE", "The text in another encoding: hex, utf8, ascii or base64.")
            .example("ENCODE('abc', 'utf8', 'base64')", "YWJj")
            .differs("takes BYTES or a text and one encoding.")
            .overload("(STRING str, STRING inputEncoding, STRING outputEncoding) -> STRING", |args, _| {
                map3::<Str, Str, Str, Str>(args, |text, from, to| encode(text, from, to).map(Some))
            }),
        function("TO_BYTES", "The bytes a text stands for in an encoding: hex, utf8, ascii or base64.")
            .example("LEN(TO_BYTES('616263', 'hex'))", "3")
            .overload("(STRING string, STRING encoding) -> BYTES", |args, _| {
                map2::<Str, Str, Bin>(args, |text, encoding| Encoding::new(encoding)?.read(text).map(Some))
            }),
        function("FROM_BYTES", "The text of bytes in an encoding: hex, utf8, ascii or base64.")
            .example("FROM_BYTES(TO_BYTES('abc', 'utf8'), 'hex')", "616263")
            .overload("(BYTES bytes, STRING encoding) -> STRING", |args, _| {
                map2::<Bin, Str, Str>(args, |bytes, encoding| Ok(Some(Encoding::new(encoding)?.write(bytes, true))))
            }),
        number("INT_FROM_BYTES", "The INT that 4 bytes are.", "INT", |args| {
            from_bytes::<Int32Type, 4>(args, i32::from_be_bytes)
        })
        .example("INT_FROM_BYTES(TO_BYTES('000007E5', 'hex'))", "2021"),
        number("BIGINT_FROM_BYTES", "The BIGINT that 8 bytes are.", "BIGINT", |args| {
            from_bytes::<Int64Type, 8>(args, i64::from_be_bytes)
        })
        .example("BIGINT_FROM_BYTES(TO_BYTES('00000000000007E5', 'hex'))", "2021"),
        number("DOUBLE_FROM_BYTES", "The DOUBLE that 8 bytes are.", "DOUBLE", |args| {
            from_bytes::<Float64Type, 8>(args, f64::from_be_bytes)
        })
        .example("DOUBLE_FROM_BYTES(TO_BYTES('3FF8000000000000', 'hex'))", "1.5"),
        function("MD5", "The MD5 of a text, in hexadecimal digits.")
            .example("MD5('abc')", "900150983cd24fb0d6963f7d28e17f72")
            .overload("(STRING s) -> STRING", |args, _| {
                map1::<Str, Str>(args, |text| Ok(Some(hex(&Md5::digest(text.as_bytes()), false))))
            }),
        function("UUID", "A random UUID, or the UUID that 16 bytes are.")
            .example("LEN(UUID())", "36")
            .differs("takes no argument; here bytes may be given.")
            .volatile()
            .overload("() -> STRING", |_, ctx| Str::build(ctx.rows, |_| Ok(Some(Uuid::new_v4().to_string()))))
            .overload("(BYTES bytes) -> STRING", |args, _| {
                map1::<Bin, Str>(args, |bytes| Ok(Uuid::from_slice(bytes).ok().map(|uuid| uuid.to_string())))
            }),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Hex,
    Utf8,
    Ascii,
    Base64,
}

impl Encoding {
    fn new(name: &str) -> Result<Self, String> {
        match name.to_ascii_lowercase().as_str() {
            "hex" => Ok(Self::Hex),
            "utf8" => Ok(Self::Utf8),
            "ascii" => Ok(Self::Ascii),
            "base64" => Ok(Self::Base64),
            _ => Err(format!(
                "Unknown encoding type '{name}'. Supported formats are 'hex', 'utf8', 'ascii', and 'base64'."
            )),
        }
    }

    fn read(self, text: &str) -> Result<Vec<u8>, String> {
        match self {
            Self::Hex => read_hex(text),
            Self::Utf8 => Ok(text.as_bytes().to_vec()),
            Self::Ascii => {
                Ok(text.chars().map(|c| u8::try_from(c).ok().filter(u8::is_ascii).unwrap_or(b'?')).collect())
            }
            Self::Base64 => STANDARD.decode(text).map_err(|e| format!("'{text}' is not base64: {e}")),
        }
    }

    fn write(self, bytes: &[u8], upper: bool) -> String {
        match self {
            Self::Hex => hex(bytes, upper),
            Self::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
            Self::Ascii => bytes.iter().map(|b| if b.is_ascii() { char::from(*b) } else { '\u{fffd}' }).collect(),
            Self::Base64 => STANDARD.encode(bytes),
        }
    }
}

fn hex(bytes: &[u8], upper: bool) -> String {
    let digits: &[u8; 16] = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    bytes.iter().flat_map(|b| [digits[usize::from(b >> 4)], digits[usize::from(b & 15)]]).map(char::from).collect()
}

fn read_hex(text: &str) -> Result<Vec<u8>, String> {
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    let bytes = text.as_bytes();
    let pairs = bytes.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(format!("'{text}' has an odd number of hexadecimal digits"));
    }
    pairs
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(|| format!("'{text}' is not hexadecimal"))
}

/// `0x1AB` and `X'1AB2'` are hexadecimal too.
fn strip_hex(text: &str) -> std::borrow::Cow<'_, str> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return if digits.len() % 2 == 0 { digits.into() } else { format!("0{digits}").into() };
    }
    let quoted = text.strip_prefix("X'").or_else(|| text.strip_prefix("x'")).and_then(|t| t.strip_suffix('\''));
    quoted.unwrap_or(text).into()
}

fn encode(text: &str, from: &str, to: &str) -> Result<String, String> {
    let supported = |_| "Supported input and output encodings are: hex, utf8, ascii and base64".to_string();
    let (from, to) = (Encoding::new(from).map_err(supported)?, Encoding::new(to).map_err(supported)?);
    if from == to {
        return Err(supported(String::new()));
    }
    let bytes = match from {
        Encoding::Hex => read_hex(&strip_hex(text))?,
        other => other.read(text)?,
    };
    Ok(to.write(&bytes, false))
}

fn number(
    name: &'static str,
    description: &'static str,
    ty: &str,
    evaluate: fn(&[ArrayRef]) -> Evaluated,
) -> ScalarFunction {
    ScalarFunction::new(name, CATEGORY, description)
        .overload(&format!("(BYTES value) -> {ty}"), move |args, _| evaluate(args))
        .overload(&format!("(BYTES value, STRING byteOrder) -> {ty}"), move |args, _| evaluate(args))
}

fn from_bytes<R: Output, const N: usize>(args: &[ArrayRef], read: fn([u8; N]) -> R::Owned) -> Evaluated {
    use arrow::array::Array;
    let (values, orders) = (column::<Bin>(&args[0]), args.get(1).map(column::<Str>));
    R::build(values.len(), |row| {
        if values.is_null(row) || orders.is_some_and(|o| o.is_null(row)) {
            return Ok(None);
        }
        let bytes = values.value(row);
        let mut number: [u8; N] =
            bytes.try_into().map_err(|_| format!("Number of bytes must be equal to {N}, but found {}", bytes.len()))?;
        match orders.map_or("BIG_ENDIAN", |o| o.value(row)).to_ascii_uppercase().as_str() {
            "BIG_ENDIAN" => {}
            "LITTLE_ENDIAN" => number.reverse(),
            other => return Err(format!("Byte order must be BIG_ENDIAN or LITTLE_ENDIAN, not {other}")),
        }
        Ok(Some(read(number)))
    })
}
