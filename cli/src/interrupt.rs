//! Ctrl-C: the first asks the running query to stop, and whoever runs one looks here.
//!
//! A statement that does not come back (a hung disk) is left by pressing three times within two seconds: the process
//! ends, and what was acknowledged is safe.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use headwater_engine::clock::Stopwatch;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Exit;

static PRESSED: AtomicBool = AtomicBool::new(false);
static LISTENING: OnceLock<()> = OnceLock::new();

/// Presses in a row that end the process, and how close together.
const PRESSES_TO_LEAVE: u32 = 3;
const PRESSES_WITHIN: Duration = Duration::from_secs(2);

/// Starts listening; later calls do nothing. On return a press is heard, however late the thread that counts it runs.
pub fn listen() {
    LISTENING.get_or_init(|| {
        if let Err(error) = start() {
            tracing::warn!(%error, "Ctrl-C will end the process at once");
        }
    });
}

fn start() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let presses = {
        let _entered = runtime.enter();
        signal(SignalKind::interrupt())?
    };
    std::thread::Builder::new().name("ctrl-c".into()).spawn(move || runtime.block_on(count(presses)))?;
    Ok(())
}

async fn count(mut presses: Signal) {
    let mut recent: Vec<Stopwatch> = Vec::new();
    while presses.recv().await.is_some() {
        PRESSED.store(true, Ordering::Release);
        recent.retain(|press| press.elapsed() < PRESSES_WITHIN);
        recent.push(Stopwatch::start());
        if recent.len() as u32 >= PRESSES_TO_LEAVE {
            eprintln!();
            std::process::exit(Exit::Interrupted as i32);
        }
    }
}

pub fn pressed() -> bool {
    PRESSED.load(Ordering::Acquire)
}

/// What was pressed before does not count for the next statement.
pub fn clear() {
    PRESSED.store(false, Ordering::Release);
}
