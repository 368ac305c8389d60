//! Replays what the fuzz targets keep under `fuzz/seeds`: inputs to start from, and all that once broke a target.
//!
//! A new finding is kept by copying it there under a name that says what it was; see `fuzz/README.md`.

use std::fs;
use std::path::Path;

#[path = "fuzz/targets/mod.rs"]
mod targets;

#[test]
fn every_kept_input_holds() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let names = targets::names();
    for folder in fs::read_dir(&seeds).expect("tests/fuzz/seeds exists") {
        let folder = folder.expect("a folder of seeds").file_name();
        assert!(names.iter().any(|name| *name == folder), "{folder:?} is the name of no target");
    }
    for name in names {
        let target = targets::by_name(name).expect("a target");
        let files = fs::read_dir(seeds.join(name)).unwrap_or_else(|e| panic!("the seeds of {name}: {e}"));
        let files: Vec<_> = files.map(|file| file.expect("a seed").path()).collect();
        assert!(files.len() > 10, "{name} has {} seeds", files.len());
        for file in files {
            let input = fs::read(&file).expect("a readable seed");
            let run = std::panic::AssertUnwindSafe(|| target(&input));
            assert!(std::panic::catch_unwind(run).is_ok(), "{} breaks {name}", file.display());
        }
    }
}
