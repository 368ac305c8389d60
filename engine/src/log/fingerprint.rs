//! A number for "these formats and this schema": typed batches carry it, and a reader with the same number shares their
//! columns without decoding.
//!
//! It is stored on disk, so it is FNV-1a over an explicit text and depends on nothing that a compiler or library may
//! change: `KAFKA,-,-|JSON,-,true|K:STRING KEY, V:BIGINT`.

use std::fmt::Write;

use crate::format::FormatSpec;
use crate::schema::Schema;

/// The fingerprint of records whose key and value have these formats and this schema.
pub fn fingerprint(key: &FormatSpec, value: &FormatSpec, schema: &Schema) -> u64 {
    let mut text = String::new();
    for format in [key, value] {
        text.push_str(format.name.sql());
        text.push(',');
        match format.delimiter {
            Some(c) => text.push(c),
            None => text.push('-'),
        }
        text.push_str(match format.wrap_single {
            None => ",-|",
            Some(true) => ",true|",
            Some(false) => ",false|",
        });
    }
    for (columns, side) in [(&schema.key, 'K'), (&schema.value, 'V')] {
        for column in columns {
            // The length keeps a name with odd characters from looking like the next column.
            let written = write!(text, "{side}{}:{} {};", column.name.len(), column.name, column.ty);
            written.expect("writing to a string never fails");
        }
    }
    fnv1a(text.as_bytes())
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::FormatName;
    use crate::schema::Column;
    use crate::types::SqlType;

    fn schema(value: &str) -> Schema {
        Schema::new(vec![Column::new("K", SqlType::String)], vec![Column::new(value, SqlType::Bigint)])
    }

    #[test]
    fn it_is_the_same_for_ever() {
        let spec = |name| FormatSpec::new(name);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(
            fingerprint(&spec(FormatName::Kafka), &spec(FormatName::Json), &schema("V")),
            fingerprint(&spec(FormatName::Kafka), &spec(FormatName::Json), &schema("V")),
        );
    }

    #[test]
    fn formats_names_types_and_sides_all_count() {
        let kafka = FormatSpec::new(FormatName::Kafka);
        let json = FormatSpec::new(FormatName::Json);
        let unwrapped = FormatSpec { wrap_single: Some(false), ..json };
        let base = fingerprint(&kafka, &json, &schema("V"));
        assert_ne!(base, fingerprint(&json, &kafka, &schema("V")));
        assert_ne!(base, fingerprint(&kafka, &unwrapped, &schema("V")));
        assert_ne!(base, fingerprint(&kafka, &json, &schema("W")));
        let all_values = Schema::new(vec![], schema("V").columns().cloned().collect());
        assert_ne!(base, fingerprint(&kafka, &json, &all_values));
    }
}
