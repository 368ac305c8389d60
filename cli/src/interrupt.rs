//! Ctrl-C: the first asks the running query to stop, and whoever runs one looks here.
//!
//! A statement that does not come back (a hung disk) is left by pressing three times within two seconds: the process
//! ends, and what was acknowledged is safe.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use headwater_engine::clock::Stopwatch;

use crate::exit::Exit;

static PRESSED: AtomicBool = AtomicBool::new(false);
static LISTENING: OnceLock<()> = OnceLock::new();

/// Presses in a row that end the process, and how close together.
const PRESSES_TO_LEAVE: u32 = 3;
const PRESSES_WITHIN: Duration = Duration::from_secs(2);

/// Starts listening; later calls do nothing.
pub fn listen() {
    LISTENING.get_or_init(|| {
        let listener = std::thread::Builder::new().name("ctrl-c".into()).spawn(wait_for_presses);
        if let Err(error) = listener {
            tracing::warn!(%error, "Ctrl-C will end the process at once");
        }
    });
}

fn wait_for_presses() {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::warn!(%error, "Ctrl-C will end the process at once");
            return;
        }
    };
    runtime.block_on(async {
        let mut presses: Vec<Stopwatch> = Vec::new();
        while tokio::signal::ctrl_c().await.is_ok() {
            PRESSED.store(true, Ordering::Release);
            presses.retain(|press| press.elapsed() < PRESSES_WITHIN);
            presses.push(Stopwatch::start());
            if presses.len() as u32 >= PRESSES_TO_LEAVE {
                eprintln!();
                std::process::exit(Exit::Interrupted as i32);
            }
        }
    });
}

pub fn pressed() -> bool {
    PRESSED.load(Ordering::Acquire)
}

/// What was pressed before does not count for the next statement.
pub fn clear() {
    PRESSED.store(false, Ordering::Release);
}
