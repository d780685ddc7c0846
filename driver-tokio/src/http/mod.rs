//! One HTTP/1.1 exchange over a stream of the driver's own network, with TLS when asked.
//!
//! No redirect is followed, no connection reused, no body unpacked; how long it may take is the engine's decision. Headers and
//! body are limited while they arrive.

use crate::fault::link_fault;
use crate::net::Net;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, HOST, LOCATION, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sameseed_core::action::Fetch;
use sameseed_core::event::FetchReply;
use sameseed_core::fault::LinkFault;
use std::error::Error as _;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The status line and headers together; trackers send some hundred bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Headers; trackers behind proxies send some twenty.
const MAX_HEADERS: usize = 64;

/// Trust in the world's certificate authorities; certificates are always verified.
pub(crate) fn public_trust() -> TlsConnector {
    trust(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
}

fn trust(roots: RootCertStore) -> TlsConnector {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// Connects from `from`, asks and reads the answer.
pub(crate) async fn fetch<N: Net>(
    net: &N,
    from: Option<IpAddr>,
    tls: Option<TlsConnector>,
    fetch: &Fetch,
) -> Result<FetchReply, LinkFault> {
    let (stream, _) = net.dial(from, fetch.addr).await.map_err(|error| link_fault(&error))?;
    // Boxed: the whole of it is 13 KiB, of which nothing is needed before somebody has answered. Thousands of torrents ask and most are refused or wait.
    match (&fetch.tls_name, tls) {
        (Some(name), Some(tls)) => {
            let name = ServerName::try_from(name.clone()).map_err(|_| LinkFault::Tls)?;
            let stream = Box::pin(tls.connect(name, stream)).await.map_err(|error| tls_fault(&error))?;
            Box::pin(exchange(stream, fetch)).await
        }
        (Some(_), None) => Err(LinkFault::Tls),
        (None, _) => Box::pin(exchange(stream, fetch)).await,
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(stream: S, fetch: &Fetch) -> Result<FetchReply, LinkFault> {
    let request = Request::get(fetch.target.as_str())
        .header(HOST, &fetch.host)
        .header(USER_AGENT, &fetch.user_agent)
        .header(ACCEPT_ENCODING, "gzip")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| LinkFault::BadHttp)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| http_fault(&error))?;
    let mut answer = pin!(async {
        let response = sender.send_request(request).await.map_err(|error| http_fault(&error))?;
        read_reply(response, fetch.max_body_bytes).await
    });
    let mut connection = pin!(connection);
    // hyper's connection moves the bytes while the answer is read. It may end before the last of them have been taken.
    tokio::select! {
        biased;
        reply = &mut answer => reply,
        _ = &mut connection => answer.await,
    }
}

async fn read_reply<B>(response: Response<B>, max_body_bytes: usize) -> Result<FetchReply, LinkFault>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    let (head, mut body) = response.into_parts();
    if body.size_hint().lower() > max_body_bytes as u64 {
        return Err(LinkFault::TooLarge);
    }
    let text = |name| head.headers.get(name).and_then(|value: &hyper::header::HeaderValue| value.to_str().ok());
    let gzip = text(CONTENT_ENCODING)
        .is_some_and(|coding| coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip"));
    let mut reply =
        FetchReply { status: head.status.as_u16(), location: text(LOCATION).map(String::from), gzip, body: Vec::new() };
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|error| http_fault(&error))?.into_data() {
            if data.len() > max_body_bytes - reply.body.len() {
                return Err(LinkFault::TooLarge);
            }
            reply.body.extend_from_slice(&data);
        }
    }
    Ok(reply)
}

fn http_fault(error: &hyper::Error) -> LinkFault {
    if error.is_parse() {
        // Also a head beyond its limits: an honest answer has none such.
        LinkFault::BadHttp
    } else if let Some(error) = error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        link_fault(error)
    } else {
        // The rest is an answer that ended early, or none at all.
        LinkFault::Eof
    }
}

/// rustls wraps its own errors into those of the stream.
fn tls_fault(error: &io::Error) -> LinkFault {
    match link_fault(error) {
        LinkFault::Other => LinkFault::Tls,
        fault => fault,
    }
}

#[cfg(test)]
mod tests;
