//! Names, types and legality: ksqlDB's rules and messages on our own syntax tree.
