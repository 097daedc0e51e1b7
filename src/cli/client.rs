//! The client of the admin socket: one request, one answer, over HTTP/1.1 on a Unix socket.
//!
//! Finds the daemon by the rules of `config/locate.rs`, asks, and tells apart "the daemon said no" from "there
//! is no daemon". It knows no route and no exit code.

use std::{
    io,
    path::{Path, PathBuf},
};

use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use thiserror::Error;
use tokio::{net::UnixStream, runtime::Runtime};

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// Nobody listens at any of the places where a daemon should.
    #[error("no daemon answers at {}: is it running? (`--socket` names another place)", list(.0))]
    Unreachable(Vec<PathBuf>),
    /// Somebody listens, and the file system does not let this user in.
    #[error("{} does not let you in: run this as the daemon's user or as root", .0.display())]
    NotLetIn(PathBuf),
    /// The connection broke.
    #[error("the daemon went away in the middle of it: {0}")]
    Broken(String),
    /// The system.
    #[error("{0}")]
    System(#[from] io::Error),
}

fn list(places: &[PathBuf]) -> String {
    places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(" or ")
}

/// What the daemon answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body: `null` where there is none, or none that is JSON.
    pub body: Value,
}

impl Answer {
    /// Whether it is a good one.
    pub fn is_good(&self) -> bool {
        self.status.is_success()
    }

    /// What a problem says to people.
    pub fn detail(&self) -> String {
        let said = self.body.get("detail").or_else(|| self.body.get("error_description"));
        said.and_then(Value::as_str).map_or_else(|| self.status.to_string(), str::to_owned)
    }
}

/// A running daemon, found.
pub struct Client {
    runtime: Runtime,
    socket: PathBuf,
}

impl Client {
    /// The first of `places` at which a daemon answers.
    pub fn find(places: &[PathBuf]) -> Result<Self, AskError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        for place in places {
            match runtime.block_on(UnixStream::connect(place)) {
                Ok(_) => return Ok(Self { runtime, socket: place.clone() }),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(AskError::NotLetIn(place.clone()));
                }
                Err(_) => {}
            }
        }
        Err(AskError::Unreachable(places.to_vec()))
    }

    /// Where it was found.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks for something.
    pub fn get(&self, target: &str) -> Result<Answer, AskError> {
        self.ask(Method::GET, target, None)
    }

    /// Asks with a method and, where it has one, a JSON body.
    pub fn ask(&self, method: Method, target: &str, body: Option<&Value>) -> Result<Answer, AskError> {
        let text = body.map(Value::to_string).unwrap_or_default();
        let kind = body.map(|_| "application/json");
        self.runtime.block_on(async {
            let response = self.send(method, target, kind, text.into_bytes()).await?;
            read(response).await
        })
    }

    /// Asks with a body of its own making.
    pub fn post(&self, target: &str, media_type: &str, body: Vec<u8>) -> Result<Answer, AskError> {
        self.runtime.block_on(async {
            let response = self.send(Method::POST, target, Some(media_type), body).await?;
            read(response).await
        })
    }

    /// Asks with a form, as the OAuth endpoints have it.
    pub fn form(&self, target: &str, fields: &[(&str, &str)]) -> Result<Answer, AskError> {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.runtime.block_on(async {
            let kind = Some("application/x-www-form-urlencoded");
            let response = self.send(Method::POST, target, kind, form.into_bytes()).await?;
            read(response).await
        })
    }

    /// Asks for a stream and hands it on piece by piece, each with the headers; these come back. An answer that is
    /// no stream but a problem comes back as such.
    pub fn stream(
        &self,
        target: &str,
        take: &mut dyn FnMut(&HeaderMap, &[u8]) -> io::Result<()>,
    ) -> Result<Result<HeaderMap, Answer>, AskError> {
        self.runtime.block_on(async {
            let response = self.send(Method::GET, target, None, Vec::new()).await?;
            if !response.status().is_success() {
                return read(response).await.map(Err);
            }
            let (head, mut body) = response.into_parts();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| AskError::Broken(error.to_string()))?;
                if let Some(piece) = frame.data_ref() {
                    take(&head.headers, piece)?;
                }
            }
            Ok(Ok(head.headers))
        })
    }

    async fn send(
        &self,
        method: Method,
        target: &str,
        kind: Option<&str>,
        body: Vec<u8>,
    ) -> Result<hyper::Response<Incoming>, AskError> {
        let broken = |error: hyper::Error| AskError::Broken(error.to_string());
        let stream = UnixStream::connect(&self.socket).await?;
        let (mut sender, connection) =
            http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(target).header(HOST, "localhost");
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| AskError::Broken(error.to_string()))?;
        sender.send_request(request).await.map_err(broken)
    }
}

async fn read(response: hyper::Response<Incoming>) -> Result<Answer, AskError> {
    let status = response.status();
    let body = response.into_body().collect().await;
    let bytes = body.map_err(|error| AskError::Broken(error.to_string()))?.to_bytes();
    Ok(Answer { status, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) })
}
