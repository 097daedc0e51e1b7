//! The bare server: hyper with one fixed answer, the limit of what any daemon on it could do. It is sent the
//! very requests that the daemon is sent, and answers with as many bytes; it looks at none of them.

use std::{convert::Infallible, io::Write};

use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode, body::Bytes, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};

/// Makes this program the bare server; the size and status of its answer follow.
pub const ARGUMENT: &str = "--be-the-limit";

pub fn serve(bytes: usize, status: u16) {
    let answer = Bytes::from(vec![b'x'; bytes]);
    let status = StatusCode::from_u16(status).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("listening on http://{}", listener.local_addr().unwrap());
        std::io::stdout().flush().unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                let answer = service_fn(move |_: Request<Incoming>| {
                    let mut response = Response::new(Full::new(answer.clone()));
                    *response.status_mut() = status;
                    async { Ok::<_, Infallible>(response) }
                });
                let _ = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), answer)
                    .await;
            });
        }
    });
}
