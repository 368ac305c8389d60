//! The columns of a message as the text of a `.proto` file, for clients that read rows as Protobuf.
//!
//! ```text
//! syntax = "proto3";
//!
//! message ConnectDefault1 {
//!   int64 ID = 1;
//!   repeated ConnectDefault2Entry TAGS = 2;
//!
//!   message ConnectDefault2Entry {
//!     string key = 1;
//!     int32 value = 2;
//!   }
//! }
//! ```
//!
//! Messages are named as Kafka Connect's converter names those that have no name. DECIMAL and the temporal types are
//! messages of Confluent's and Google's, whose files are imported.

use std::collections::BTreeSet;

use crate::schema::Column;
use crate::types::SqlType;

/// The file that describes a message of `columns`.
pub fn proto3(columns: &[Column]) -> String {
    let mut file = File::default();
    let message = file.message("", columns.iter().map(|column| (column.name.as_str(), &column.ty)));
    let imports: String = file.imports.iter().map(|import| format!("import \"{import}\";\n")).collect();
    let imports = if imports.is_empty() { imports } else { format!("{imports}\n") };
    format!("syntax = \"proto3\";\n\n{imports}{}", message.text)
}

#[derive(Default)]
struct File {
    imports: BTreeSet<&'static str>,
    /// Messages named so far.
    named: u32,
}

struct Message {
    name: String,
    text: String,
}

impl File {
    fn message<'a>(&mut self, suffix: &str, columns: impl Iterator<Item = (&'a str, &'a SqlType)>) -> Message {
        self.named += 1;
        let name = format!("ConnectDefault{}{suffix}", self.named);
        let (mut fields, mut nested) = (String::new(), String::new());
        for (number, (column, ty)) in (1..).zip(columns) {
            let ty = self.field(ty, &mut nested);
            fields.push_str(&format!("  {ty} {column} = {number};\n"));
        }
        Message { text: format!("message {name} {{\n{fields}{nested}}}\n"), name }
    }

    /// The type of a field; messages it needs go into `nested`.
    fn field(&mut self, ty: &SqlType, nested: &mut String) -> String {
        match ty {
            SqlType::Array(item) if matches!(**item, SqlType::Array(_) | SqlType::Map(..)) => {
                let wrapped = self.message("", std::iter::once(("item", &**item)));
                format!("repeated {}", nest(wrapped, nested))
            }
            SqlType::Array(item) => format!("repeated {}", self.field(item, nested)),
            SqlType::Map(key, value) => {
                let entry = self.message("Entry", [("key", &**key), ("value", &**value)].into_iter());
                format!("repeated {}", nest(entry, nested))
            }
            SqlType::Struct(fields) => {
                let message = self.message("", fields.iter().map(|field| (field.name.as_str(), &field.ty)));
                nest(message, nested)
            }
            SqlType::Decimal { .. } => self.imported("confluent/type/decimal.proto", "confluent.type.Decimal"),
            SqlType::Date => self.imported("google/type/date.proto", "google.type.Date"),
            SqlType::Time => self.imported("google/type/timeofday.proto", "google.type.TimeOfDay"),
            SqlType::Timestamp => self.imported("google/protobuf/timestamp.proto", "google.protobuf.Timestamp"),
            SqlType::Boolean => "bool".into(),
            SqlType::Integer => "int32".into(),
            SqlType::Bigint => "int64".into(),
            SqlType::Double => "double".into(),
            SqlType::String => "string".into(),
            SqlType::Bytes => "bytes".into(),
        }
    }

    fn imported(&mut self, file: &'static str, name: &str) -> String {
        self.imports.insert(file);
        name.to_string()
    }
}

fn nest(message: Message, nested: &mut String) -> String {
    nested.push('\n');
    for line in message.text.lines() {
        let indent = if line.is_empty() { "" } else { "  " };
        nested.push_str(&format!("{indent}{line}\n"));
    }
    message.name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_within_messages_are_named_in_order() {
        let columns = [
            Column::new("ID", SqlType::Bigint),
            Column::new("TAGS", SqlType::map(SqlType::String, SqlType::Integer)),
            Column::new("AT", SqlType::structure([("DAY", SqlType::Date)])),
        ];
        let expected = "syntax = \"proto3\";\n\nimport \"google/type/date.proto\";\n\nmessage ConnectDefault1 {\n  \
                        int64 ID = 1;\n  repeated ConnectDefault2Entry TAGS = 2;\n  ConnectDefault3 AT = 3;\n\n  \
                        message ConnectDefault2Entry {\n    string key = 1;\n    int32 value = 2;\n  }\n\n  \
                        message ConnectDefault3 {\n    google.type.Date DAY = 1;\n  }\n}\n";
        assert_eq!(proto3(&columns), expected);
    }
}
