//! Every file under `tests/sql`: statements and what they must answer, as text.
//!
//! ```text
//! -- two comment lines: what is shown, and why it is so
//! ok
//! CREATE STREAM s (v INT) WITH (…);
//!
//! rows            (sorted: rows in any order)
//! SELECT …;
//! ----
//! 1|a
//!
//! error does not exist
//! SELECT nope FROM s;
//! ```
//!
//! `HEADWATER_UPDATE_CORPUS=1 cargo test corpus` writes the answers of today into the files; read the difference.

use std::fs;
use std::path::Path;

use headwater_tests::sql::{memory_session, run};

#[test]
fn every_file_answers_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let mut files: Vec<_> =
        fs::read_dir(&folder).expect("tests/sql exists").map(|f| f.expect("a file").path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "slt"));
    files.sort();
    assert!(files.len() > 5, "the corpus is not there: {files:?}");
    let mut wrong = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).expect("a readable file");
        let answered = answer(&text);
        if text != answered {
            if std::env::var_os("HEADWATER_UPDATE_CORPUS").is_some() {
                fs::write(file, &answered).expect("a writable file");
            }
            wrong.push(format!("{}\n--- written\n{text}\n--- answered\n{answered}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The file's text with the answers its statements give now.
fn answer(text: &str) -> String {
    let mut session = memory_session();
    let blocks: Vec<String> = text.split("\n\n").map(|block| answer_block(&mut session, block.trim_end())).collect();
    format!("{}\n", blocks.join("\n\n"))
}

fn answer_block(session: &mut headwater_engine::Session, block: &str) -> String {
    let comments: Vec<&str> = block.lines().take_while(|l| l.starts_with("--")).collect();
    let rest: Vec<&str> = block.lines().skip(comments.len()).collect();
    let Some((kind, body)) = rest.split_first() else { return block.to_string() };
    let sql: Vec<&str> = body.iter().take_while(|l| **l != "----").copied().collect();
    let result = run(session, &sql.join("\n"));
    let mut lines: Vec<String> = comments.into_iter().map(str::to_string).collect();
    let (expected, sorted) = (kind.strip_prefix("error "), *kind == "sorted");
    match result {
        Ok(mut rows) => {
            lines.push(if expected.is_some() { "ok".into() } else { (*kind).to_string() });
            lines.extend(sql.iter().map(|l| (*l).to_string()));
            if *kind != "ok" || !rows.is_empty() {
                if sorted {
                    rows.sort();
                }
                lines.push("----".into());
                lines.extend(rows);
            }
        }
        Err(error) => {
            let first = error.message().lines().next().unwrap_or_default().to_string();
            let message = expected.filter(|e| error.message().contains(e)).map_or(first, str::to_string);
            lines.push(format!("error {message}"));
            lines.extend(sql.iter().map(|l| (*l).to_string()));
        }
    }
    lines.join("\n")
}
