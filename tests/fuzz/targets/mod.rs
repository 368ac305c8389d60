//! What must hold for any bytes whatever. A target panics where it does not.
//!
//! | target | input |
//! |---|---|
//! | `sql` | SQL text, parsed, printed and planned against a small catalog |
//! | `json`, `delimited`, `kafka`, `protobuf` | a character that picks columns and side, then the bytes of one record |
//!
//! The fuzzer runs them over what it makes up, the tests over the inputs that are kept under `seeds/`.

mod decoders;
mod sql;

pub type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 5] = [
    ("sql", sql::check),
    ("json", decoders::json),
    ("delimited", decoders::delimited),
    ("kafka", decoders::kafka),
    ("protobuf", decoders::protobuf),
];

pub fn names() -> Vec<&'static str> {
    TARGETS.iter().map(|(name, _)| *name).collect()
}

pub fn by_name(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(n, _)| *n == name).map(|(_, target)| *target)
}
