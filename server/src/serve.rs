//! Runs the HTTP door on a socket: HTTP/1.1 and prior-knowledge HTTP/2 on one port, until told to stop.
//!
//! Stopping: no new connections, running push queries end with a well-formed last message, requests in flight get
//! [`DRAIN_TIMEOUT`] to finish, what is left is cut.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use headwater_engine::Engine;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt;

use crate::http::{self, ServerOptions};

/// How long requests in flight may take to finish once the server is told to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A client must have sent its request head within this time (slow peers are dropped).
const HEAD_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// All headers of a request together.
const HEAD_BYTES_MAX: u32 = 64 * 1024;
/// Requests one HTTP/2 connection may have open at a time.
const STREAMS_PER_CONNECTION_MAX: u32 = 256;
/// After a failed `accept` (out of file descriptors), how long to wait before the next.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Serves until `shutdown` completes. The engine stays open: closing it is the caller's, once nothing uses it.
pub async fn serve(
    listener: TcpListener,
    engine: Engine,
    options: ServerOptions,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let connections = Arc::new(Semaphore::new(options.connections_max));
    let (router, shared) = http::build(engine, options);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_READ_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .keep_alive_interval(Duration::from_secs(30));
    let builder = Arc::new(builder);
    let graceful = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);

    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
            () = shared.terminated() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        let Ok(permit) = connections.clone().try_acquire_owned() else {
            // Dropping the socket is the refusal: connections that exist are not harmed.
            tracing::warn!("refused a connection: {} are open", connections_open(&graceful));
            continue;
        };
        let watcher = graceful.watcher();
        let (builder, router) = (builder.clone(), router.clone());
        tokio::spawn(async move {
            let served = watcher.watch(connection(&builder, stream, router)).await;
            if let Err(error) = served {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(permit);
        });
    }

    drop(listener);
    shared.stop();
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish within {DRAIN_TIMEOUT:?} and were cut");
    }
    Ok(())
}

fn connections_open(graceful: &GracefulShutdown) -> usize {
    graceful.count()
}

fn connection(
    builder: &auto::Builder<TokioExecutor>,
    stream: TcpStream,
    router: Router,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = Box<dyn std::error::Error + Send + Sync>> + use<> {
    // Rows of a push query are small and must not wait for more.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY is not available");
    }
    let service =
        router.map_request(|request: hyper::Request<hyper::body::Incoming>| request.map(axum::body::Body::new));
    let service = service.map_err(|never: Infallible| never);
    builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).into_owned()
}
