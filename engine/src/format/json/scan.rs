//! A cursor over one JSON text: strings, numbers, literals, and whole values to be skipped.
//!
//! It checks RFC 8259's grammar and nothing else. It never recurses, so that no nesting can exhaust the stack; nesting
//! deeper than [`DEPTH_MAX`] is a fault. A fault names what was expected and where; the caller adds the column.

use std::borrow::Cow;

/// Deepest nesting of arrays and objects in a record (Jackson's limit as well).
pub const DEPTH_MAX: usize = 1000;

/// Why a record cannot be read: what, and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    pub what: &'static str,
    pub at: usize,
}

pub type Scan<T> = std::result::Result<T, Fault>;

/// A string as it stands between its quotes.
#[derive(Debug, Clone, Copy)]
pub struct RawText<'a> {
    pub raw: &'a str,
    pub escaped: bool,
    pub at: usize,
}

/// A number as it stands.
#[derive(Debug, Clone, Copy)]
pub struct RawNumber<'a> {
    pub text: &'a str,
    /// Neither fraction nor exponent.
    pub whole: bool,
}

#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    text: &'a str,
    bytes: &'a [u8],
    pos: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), pos: 0 }
    }

    /// A cursor over the same text at another place, which must be the start of a value.
    pub fn at(&self, pos: usize) -> Self {
        Self { pos, ..self.clone() }
    }

    pub fn pos(&self) -> usize {
        self.pos
    }

    pub fn fault<T>(&self, what: &'static str) -> Scan<T> {
        Err(Fault { what, at: self.pos })
    }

    /// The next byte that is not white space; 0 at the end (a NUL is no JSON, so both are faults for all callers).
    #[inline]
    pub fn peek(&mut self) -> u8 {
        loop {
            match self.bytes.get(self.pos) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.pos += 1,
                Some(&b) => return b,
                None => return 0,
            }
        }
    }

    /// Steps over `byte` if it is next after white space.
    #[inline]
    pub fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte && byte != 0;
        self.pos += usize::from(found);
        found
    }

    #[inline]
    pub fn expect(&mut self, byte: u8, what: &'static str) -> Scan<()> {
        if self.eat(byte) { Ok(()) } else { self.fault(what) }
    }

    /// Steps over `expected` if the text goes on with it.
    #[inline]
    pub fn eat_exact(&mut self, expected: &[u8]) -> bool {
        let found = self.bytes[self.pos..].starts_with(expected);
        if found {
            self.pos += expected.len();
        }
        found
    }

    /// Only white space may follow.
    pub fn end(&mut self) -> Scan<()> {
        self.peek();
        if self.pos == self.bytes.len() { Ok(()) } else { self.fault("something after the end of the value") }
    }

    pub fn literal(&mut self, word: &'static str) -> Scan<()> {
        if self.eat_exact(word.as_bytes()) { Ok(()) } else { self.fault("not a JSON value") }
    }

    /// Steps over `null` if it is next.
    #[inline]
    pub fn eat_null(&mut self) -> Scan<bool> {
        if self.peek() != b'n' {
            return Ok(false);
        }
        self.literal("null").map(|()| true)
    }

    /// A string; the cursor stands at its opening quote.
    #[inline]
    pub fn string(&mut self) -> Scan<RawText<'a>> {
        let start = self.pos + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            at = plain_end(self.bytes, at);
            match self.bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    at = self.escape_end(at)?;
                }
                Some(_) => return Err(Fault { what: "a control character inside a string", at }),
                None => return Err(Fault { what: "a string without end", at }),
            }
        }
        self.pos = at + 1;
        Ok(RawText { raw: &self.text[start..at], escaped, at: start })
    }

    /// The place after the escape that begins at `at`.
    fn escape_end(&self, at: usize) -> Scan<usize> {
        match self.bytes.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
            Some(b'u') => match self.bytes.get(at + 2..at + 6) {
                Some(hex) if hex.iter().all(u8::is_ascii_hexdigit) => Ok(at + 6),
                _ => Err(Fault { what: "an escape without four hexadecimal digits", at }),
            },
            _ => Err(Fault { what: "an unknown escape in a string", at }),
        }
    }

    /// A number; the cursor stands at its first byte.
    pub fn number(&mut self) -> Scan<RawNumber<'a>> {
        let start = self.pos;
        let mut at = start + usize::from(self.bytes.get(start) == Some(&b'-'));
        let digits = |mut at: usize| {
            while self.bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let whole_end = digits(at);
        if whole_end == at {
            return self.fault("not a JSON value");
        }
        if self.bytes[at] == b'0' && whole_end > at + 1 {
            return self.fault("a number with a leading zero");
        }
        at = whole_end;
        if self.bytes.get(at) == Some(&b'.') {
            let end = digits(at + 1);
            if end == at + 1 {
                return self.fault("a number without digits after its point");
            }
            at = end;
        }
        if matches!(self.bytes.get(at), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.bytes.get(at + 1), Some(b'+' | b'-')));
            let end = digits(at + 1 + sign);
            if end == at + 1 + sign {
                return self.fault("a number without digits in its exponent");
            }
            at = end;
        }
        self.pos = at;
        Ok(RawNumber { text: &self.text[start..at], whole: at == whole_end })
    }

    /// A whole number of at most 18 digits; None, and nothing read, for anything else.
    #[inline]
    pub fn short_integer(&mut self) -> Option<i64> {
        self.peek();
        let negative = self.bytes.get(self.pos) == Some(&b'-');
        let start = self.pos + usize::from(negative);
        let mut at = start;
        let mut value = 0i64;
        while let Some(digit) = self.bytes.get(at).map(|b| b.wrapping_sub(b'0')).filter(|&d| d < 10) {
            if at - start == 18 {
                return None;
            }
            value = value * 10 + i64::from(digit);
            at += 1;
        }
        let leading_zero = at > start + 1 && self.bytes[start] == b'0';
        if at == start || leading_zero || matches!(self.bytes.get(at), Some(b'.' | b'e' | b'E')) {
            return None;
        }
        self.pos = at;
        Some(if negative { -value } else { value })
    }

    /// Checks and steps over one value of any kind. The cursor may stand at white space before it.
    #[inline]
    pub fn skip(&mut self) -> Scan<()> {
        match self.peek() {
            b'"' => self.string().map(|_| ()),
            b'{' | b'[' => self.skip_nested(),
            _ => self.skip_scalar(),
        }
    }

    fn skip_scalar(&mut self) -> Scan<()> {
        match self.peek() {
            b'"' => self.string().map(|_| ()),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            0 => self.fault("the text ends where a value should be"),
            _ => self.number().map(|_| ()),
        }
    }

    fn skip_nested(&mut self) -> Scan<()> {
        // One bit a level: set in an object.
        let mut objects = [0u64; DEPTH_MAX.div_ceil(64)];
        let mut depth = 0;
        loop {
            let open = self.peek();
            if open == b'{' || open == b'[' {
                if depth == DEPTH_MAX {
                    return self.fault("nested too deeply");
                }
                self.pos += 1;
                let object = open == b'{';
                let bit = 1 << (depth % 64);
                objects[depth / 64] = if object { objects[depth / 64] | bit } else { objects[depth / 64] & !bit };
                depth += 1;
                if !self.eat(if object { b'}' } else { b']' }) {
                    if object {
                        self.key()?;
                    }
                    continue;
                }
                depth -= 1;
            } else {
                self.skip_scalar()?;
            }
            // A value has ended: close what ends with it.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                let object = objects[(depth - 1) / 64] >> ((depth - 1) % 64) & 1 == 1;
                if self.eat(b',') {
                    if object {
                        self.key()?;
                    }
                    break;
                }
                self.expect(if object { b'}' } else { b']' }, "a comma or the end of an array or object is missing")?;
                depth -= 1;
            }
        }
    }

    /// A field name and its colon.
    #[inline]
    pub fn key(&mut self) -> Scan<RawText<'a>> {
        if self.peek() != b'"' {
            return self.fault("a field name is missing");
        }
        let name = self.string()?;
        self.expect(b':', "a colon is missing after a field name")?;
        Ok(name)
    }
}

/// The first place at or after `at` that a string cannot simply run over: a quote, a backslash, a control character, or
/// the end of the text.
#[inline]
pub(super) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // Long strings by 32 bytes (the compiler makes vector code of it), the rest by 8.
    while let Some(block) = bytes.get(at..at + 32) {
        let stop = block.iter().fold(false, |stop, &b| stop | (b == b'"') | (b == b'\\') | (b < 0x20));
        if stop {
            break;
        }
        at += 32;
    }
    while let Some(block) = bytes.get(at..at + 8).and_then(|b| <[u8; 8]>::try_from(b).ok()) {
        let word = u64::from_le_bytes(block);
        // A zero byte of `x` sets the high bit of its byte; bits above the first one set may be wrong.
        let zero = |x: u64| x.wrapping_sub(ONES) & !x & HIGH;
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let stop = zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\'))) | control;
        if stop != 0 {
            return at + stop.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|&b| b != b'"' && b != b'\\' && b >= 0x20) {
        at += 1;
    }
    at
}

impl<'a> RawText<'a> {
    /// The text it stands for.
    pub fn text(&self) -> Scan<Cow<'a, str>> {
        if !self.escaped {
            return Ok(Cow::Borrowed(self.raw));
        }
        let mut out = String::with_capacity(self.raw.len());
        let mut rest = self.raw;
        while let Some(at) = rest.find('\\') {
            out.push_str(&rest[..at]);
            let kind = rest.as_bytes()[at + 1];
            rest = &rest[at + 2..];
            out.push(match kind {
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'u' => {
                    let (unit, after) = hex_unit(rest);
                    rest = after;
                    match unit {
                        0xD800..0xDC00 if rest.starts_with("\\u") => {
                            let (low, after) = hex_unit(&rest[2..]);
                            if !(0xDC00..0xE000).contains(&low) {
                                return Err(self.lone_surrogate());
                            }
                            rest = after;
                            let code = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
                            char::from_u32(code).ok_or_else(|| self.lone_surrogate())?
                        }
                        _ => char::from_u32(unit).ok_or_else(|| self.lone_surrogate())?,
                    }
                }
                plain => char::from(plain),
            });
        }
        out.push_str(rest);
        Ok(Cow::Owned(out))
    }

    fn lone_surrogate(&self) -> Fault {
        Fault { what: "half of a surrogate pair in a string", at: self.at }
    }
}

/// Four hexadecimal digits, checked by the scan, and what follows them.
fn hex_unit(text: &str) -> (u32, &str) {
    let (hex, rest) = text.split_at(4);
    (u32::from_str_radix(hex, 16).unwrap_or(0xD800), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skips(text: &str) -> bool {
        let mut cursor = Cursor::new(text);
        cursor.skip().and_then(|()| cursor.end()).is_ok()
    }

    #[test]
    fn exactly_json_is_taken() {
        for good in
            ["{}", " [ ] ", r#"{"a":[1,2,{"b":null}],"c":"\u00e9\n"}"#, "-0", "1.5e+10", "true", r#""""#, "[[],[{}],0]"]
        {
            assert!(skips(good), "{good}");
        }
        for bad in [
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "{\"a\":}",
            "{,}",
            "[1 2]",
            "01",
            "1.",
            "1e",
            "+1",
            "nul",
            "\"\u{1}\"",
            r#""\x""#,
            r#""\u12g4""#,
            "[1}",
            "{\"a\":1]",
            "NaN",
            "\"open",
            "1 2",
        ] {
            assert!(!skips(bad), "{bad}");
        }
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
        assert!(skips(&nested(DEPTH_MAX)));
        assert!(!skips(&nested(DEPTH_MAX + 1)));
    }

    #[test]
    fn escapes_are_undone() {
        let text = r#""a\"\\\/\b\u00e9\ud83d\ude00""#;
        let raw = Cursor::new(text).string().map(|r| r.text().map(Cow::into_owned));
        assert_eq!(raw, Ok(Ok("a\"\\/\u{8}é😀".to_string())));
        assert!(Cursor::new(r#""\ud83d""#).string().is_ok_and(|r| r.text().is_err()));
    }

    #[test]
    fn strings_end_wherever_they_end() {
        for n in 0..100 {
            let text = format!("\"{}\" ", "x".repeat(n));
            assert_eq!(Cursor::new(&text).string().map(|r| r.raw.len()), Ok(n));
        }
    }
}
