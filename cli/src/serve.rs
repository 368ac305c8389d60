//! `headwater serve`: the HTTP door over an embedded engine, until SIGTERM or Ctrl-C.

use std::io::ErrorKind;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use headwater_engine::Engine;
use headwater_server::ServerOptions;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{Common, ServeArgs};
use crate::backend::embedded;
use crate::exit::{Exit, usage};
use crate::output::{self, error};

/// After the server has stopped, what still runs on the blocking pool is left behind after this time.
const RUNTIME_STOP_TIMEOUT: Duration = Duration::from_secs(2);

pub fn run(common: &Common, args: &ServeArgs) -> Result<(), Exit> {
    if common.server.is_some() {
        return usage("serve runs an engine of its own: --server cannot be given");
    }
    let address = address(&args.listen)?;
    if !address.ip().is_loopback() && !args.insecure {
        eprintln!("error: {address} can be reached from other machines, and nobody is asked who they are");
        eprintln!("hint: listen on 127.0.0.1, or say --insecure if the network is trusted");
        return Err(Exit::Usage);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the server's threads cannot be started: {error}");
            return Err(Exit::Connection);
        }
    };
    // The port first: a second server started by mistake must not wait for the data directory.
    let listener = match runtime.block_on(TcpListener::bind(address)) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("error: {address} cannot be listened on: {error}");
            if error.kind() == ErrorKind::AddrInUse {
                eprintln!("hint: another program uses the port; choose another with --listen HOST:PORT");
            }
            return Err(Exit::Connection);
        }
    };
    let engine = Engine::open(embedded::config(common)).map_err(|error| {
        eprint!("{}", error::render_plain(&error, output::colour(&std::io::stderr())));
        Exit::Connection
    })?;
    let address = listener.local_addr().unwrap_or(address);
    let options = ServerOptions { advertised: address.to_string(), ..ServerOptions::default() };
    eprintln!("headwater {} listens on http://{address}", env!("CARGO_PKG_VERSION"));
    let served = runtime.block_on(headwater_server::serve(listener, engine.clone(), options, told_to_stop()));
    runtime.shutdown_timeout(RUNTIME_STOP_TIMEOUT);
    let closed = engine.close();
    if let Err(error) = served {
        eprintln!("error: the server failed: {error}");
        return Err(Exit::Connection);
    }
    if let Err(error) = closed {
        eprint!("{}", error::render_plain(&error, output::colour(&std::io::stderr())));
        return Err(Exit::from(&error));
    }
    eprintln!("stopped; all that was acknowledged is on disk");
    Ok(())
}

fn address(listen: &str) -> Result<SocketAddr, Exit> {
    let resolved = listen.to_socket_addrs().map(|mut all| all.next());
    match resolved {
        Ok(Some(address)) => Ok(address),
        Ok(None) => usage(&format!("--listen {listen}: the name has no address")),
        Err(error) => usage(&format!("--listen {listen}: write HOST:PORT ({error})")),
    }
}

async fn told_to_stop() {
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            tracing::warn!(%error, "SIGTERM will end the process at once");
            return std::future::pending().await;
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    tracing::info!("stopping");
}
