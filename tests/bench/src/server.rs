//! The HTTP servers of the benchmark.

use std::net::SocketAddr;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

/// Serves on a free port of the loopback, until the process ends.
///
/// Answers leave at once. Otherwise an answer's last part waits until the first was acknowledged, some 40 ms, which
/// no service of AWS lets happen.
pub(crate) async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound port has an address");
    let listener = listener.tap_io(|connection| {
        connection
            .set_nodelay(true)
            .expect("a connection takes the option");
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}
