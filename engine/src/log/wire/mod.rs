//! Bytes of batches, as the write-ahead log holds them.
//!
//! | file | from | to |
//! |---|---|---|
//! | `flat` | a body: columns and what is beside them | one Arrow batch whose schema says what is what |
//! | `batches` | an Arrow batch | bytes: an Arrow IPC message, or the compact form for few rows |
//! | `compact` | an array of few values | its values, without the headers and padding of IPC |
//!
//! Here are the bytes below all of them: numbers of 7 bits a byte, texts with their length.

use crate::error::{Error, Result};

pub(crate) mod batches;
pub(crate) mod compact;
pub(crate) mod flat;

pub(crate) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Small negative numbers are small, too (zigzag).
pub(crate) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_number(out, ((number << 1) ^ (number >> 63)) as u64);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads what the functions above wrote; an end too early is an error, never a panic.
pub(crate) struct Bytes<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    pub fn new(all: &'a [u8]) -> Self {
        Self { all, at: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.at >= self.all.len()
    }

    /// Where the next byte is read.
    pub fn at(&self) -> usize {
        self.at
    }

    pub fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.all.len()).ok_or_else(damaged)?;
        let taken = &self.all[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    pub fn number(&mut self) -> Result<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(damaged())
    }

    /// A number that counts things of this message, so that it cannot be larger than memory allows.
    pub fn len(&mut self) -> Result<usize> {
        let number = self.number()?;
        usize::try_from(number).ok().filter(|n| *n <= u32::MAX as usize).ok_or_else(damaged)
    }

    pub fn signed(&mut self) -> Result<i64> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = self.len()?;
        self.take(len)
    }

    pub fn text(&mut self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| damaged())
    }

    /// Skips to a multiple of `alignment`.
    pub fn align(&mut self, alignment: usize) -> Result<()> {
        self.take(self.at.next_multiple_of(alignment) - self.at).map(|_| ())
    }
}

pub(crate) fn damaged() -> Error {
    Error::storage("stored bytes do not have the form they were written in")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_short_bytes_are_errors() {
        let mut out = Vec::new();
        for n in [0, 127, 128, u64::MAX] {
            put_number(&mut out, n);
        }
        for n in [0, -1, i64::MIN, i64::MAX] {
            put_signed(&mut out, n);
        }
        put_bytes(&mut out, b"text");
        let mut bytes = Bytes::new(&out);
        for n in [0, 127, 128, u64::MAX] {
            assert_eq!(bytes.number().unwrap(), n);
        }
        for n in [0, -1, i64::MIN, i64::MAX] {
            assert_eq!(bytes.signed().unwrap(), n);
        }
        assert_eq!(bytes.text().unwrap(), "text");
        assert!(bytes.is_empty() && bytes.byte().is_err());
        assert!(Bytes::new(&[0xff; 3]).number().is_err());
        assert!(Bytes::new(&[9, 1]).bytes().is_err());
    }
}
