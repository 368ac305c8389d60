//! libFuzzer's door to the targets: `HEADWATER_FUZZ_TARGET` names the one to run.

#![no_main]

mod targets;

use std::sync::OnceLock;

static TARGET: OnceLock<targets::Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = std::env::var("HEADWATER_FUZZ_TARGET").unwrap_or_default();
        let target = targets::by_name(&name);
        TARGET.get_or_init(|| {
            target.unwrap_or_else(|| panic!("HEADWATER_FUZZ_TARGET is {name:?}; it can be {:?}", targets::names()))
        });
    },
    |input: &[u8]| {
        let target = TARGET.get().expect("the target is chosen before the first input");
        target(input);
    }
);
