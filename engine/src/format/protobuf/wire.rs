//! Protobuf's wire format: a message is a list of tagged values.
//!
//! | wire type | value |
//! |---|---|
//! | 0 | varint: 7 bits a byte, least first |
//! | 1 | 8 bytes, little endian |
//! | 2 | length, then bytes |
//! | 5 | 4 bytes, little endian |

/// One field as it stands in a message.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    pub number: u32,
    pub value: Value<'a>,
}

#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

type Read<T> = std::result::Result<T, &'static str>;

impl<'a> Value<'a> {
    pub fn varint(self) -> Read<u64> {
        if let Value::Varint(value) = self { Ok(value) } else { Err("a field of another wire type") }
    }

    pub fn double(self) -> Read<f64> {
        if let Value::Fixed64(bits) = self { Ok(f64::from_bits(bits)) } else { Err("a field of another wire type") }
    }

    pub fn bytes(self) -> Read<&'a [u8]> {
        if let Value::Bytes(bytes) = self { Ok(bytes) } else { Err("a field of another wire type") }
    }
}

/// All fields of a message, in order.
pub fn fields(mut message: &[u8]) -> Read<Vec<Field<'_>>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let number = u32::try_from(tag >> 3).map_err(|_| "a field number out of range")?;
        if number == 0 {
            return Err("a field number of zero");
        }
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut message)?),
            1 => {
                let (bytes, rest) = message.split_first_chunk::<8>().ok_or(CUT_OFF)?;
                message = rest;
                Value::Fixed64(u64::from_le_bytes(*bytes))
            }
            2 => {
                let length = usize::try_from(varint(&mut message)?).map_err(|_| CUT_OFF)?;
                let (bytes, rest) = message.split_at_checked(length).ok_or(CUT_OFF)?;
                message = rest;
                Value::Bytes(bytes)
            }
            5 => {
                message = message.get(4..).ok_or(CUT_OFF)?;
                Value::Fixed32
            }
            _ => return Err("an unknown wire type"),
        };
        fields.push(Field { number, value });
    }
    Ok(fields)
}

const CUT_OFF: &str = "the message is cut off";

pub fn varint(bytes: &mut &[u8]) -> Read<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(CUT_OFF)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("a number of more than ten bytes")
}

pub fn push_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn push_tag(number: u32, wire_type: u32, out: &mut Vec<u8>) {
    push_varint(u64::from(number << 3 | wire_type), out);
}

pub fn push_double(number: u32, value: f64, out: &mut Vec<u8>) {
    push_tag(number, 1, out);
    out.extend(value.to_le_bytes());
}

pub fn push_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    push_tag(number, 2, out);
    push_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// A nested message. Its length is known only when it has been written.
pub fn push_message(number: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut message = Vec::new();
    write(&mut message);
    push_bytes(number, &message, out);
}
