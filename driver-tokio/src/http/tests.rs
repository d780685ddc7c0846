//! Small servers written by hand, honest and hostile, on loopback.

use super::*;
use crate::tokio_net::TokioNet;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

const MAX_BODY_BYTES: usize = 1000;

/// Serves one connection: reads the head of the request, then does `serve`.
async fn server<F: Future<Output = ()> + Send>(
    serve: impl FnOnce(TcpStream, String) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        serve(stream, String::from_utf8(head).unwrap()).await;
    });
    addr
}

/// A server that answers with these bytes and closes.
async fn answering(bytes: impl Into<Vec<u8>>) -> SocketAddr {
    let bytes = bytes.into();
    server(|mut stream, _| async move {
        // A client that has enough may be gone.
        let _ = stream.write_all(&bytes).await;
    })
    .await
}

/// A server that answers with `head`, then with `more` for ever.
async fn endless(head: &'static str, more: &'static str) -> SocketAddr {
    server(move |mut stream, _| async move {
        let _ = stream.write_all(head.as_bytes()).await;
        let more = more.repeat(100);
        while stream.write_all(more.as_bytes()).await.is_ok() {}
    })
    .await
}

fn ask(addr: SocketAddr) -> Fetch {
    Fetch {
        addr,
        tls_name: None,
        host: "tracker.example:80".into(),
        target: "/announce?info_hash=%01%02".into(),
        user_agent: "sameseed/test".into(),
        max_body_bytes: MAX_BODY_BYTES,
    }
}

async fn get(addr: SocketAddr) -> Result<FetchReply, LinkFault> {
    tokio::time::timeout(Duration::from_secs(20), fetch(&TokioNet, None, None, &ask(addr))).await.expect("an end")
}

#[tokio::test]
async fn the_request_is_plain_and_the_answer_comes_as_sent() {
    let addr = server(|mut stream, head| async move {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let reply = get(addr).await.unwrap();
    assert_eq!(
        String::from_utf8(reply.body).unwrap(),
        "GET /announce?info_hash=%01%02 HTTP/1.1\r\nhost: tracker.example:80\r\nuser-agent: sameseed/test\r\n\
         accept-encoding: gzip\r\nconnection: close\r\n\r\n"
    );
    assert_eq!((reply.status, reply.gzip, reply.location), (200, false, None));
}

#[tokio::test]
async fn every_way_to_end_a_body_is_understood() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\n\r\nhello",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhello",
    ] {
        assert_eq!(get(answering(answer).await).await.unwrap().body, b"hello", "{answer}");
    }
}

#[tokio::test]
async fn status_location_and_coding_are_told_and_nothing_is_followed_or_unpacked() {
    let reply = get(answering("HTTP/1.1 302 Found\r\nLocation: http://x/y\r\n\r\n").await).await.unwrap();
    assert_eq!((reply.status, reply.location.as_deref()), (302, Some("http://x/y")));
    let reply = get(answering("HTTP/1.1 200 OK\r\nContent-Encoding: X-Gzip\r\n\r\nraw").await).await.unwrap();
    assert_eq!((reply.gzip, &reply.body[..]), (true, &b"raw"[..]));
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_too_large_however_it_is_told() {
    for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"] {
        assert_eq!(get(endless(head, "xxxxxxxxxx").await).await, Err(LinkFault::TooLarge));
    }
    let chunked = endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n").await;
    assert_eq!(get(chunked).await, Err(LinkFault::TooLarge));
    let exact = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(MAX_BODY_BYTES));
    assert_eq!(get(answering(exact).await).await.unwrap().body.len(), MAX_BODY_BYTES);
}

#[tokio::test]
async fn endless_headers_end_the_exchange() {
    assert_eq!(get(endless("HTTP/1.1 200 OK\r\n", "A: b\r\n").await).await, Err(LinkFault::BadHttp));
    assert_eq!(get(endless("HTTP/1.1 200 OK\r\nA: ", "bbbbbbbb").await).await, Err(LinkFault::BadHttp));
}

#[tokio::test]
async fn what_is_not_http_is_bad_http() {
    for answer in [&b"220 ftp ready\r\n"[..], &[0xff; 300], b"HTTP/9.9 200 OK\r\n\r\n", b"HTTP/1.1 banana\r\n\r\n"] {
        assert_eq!(get(answering(answer).await).await, Err(LinkFault::BadHttp));
    }
}

#[tokio::test]
async fn an_answer_that_ends_early_is_a_fault_of_the_link() {
    for answer in ["", "HTTP/1.1 200 OK\r\nConte", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"] {
        assert_eq!(get(answering(answer).await).await, Err(LinkFault::Eof), "{answer}");
    }
}

#[tokio::test]
async fn nobody_listening_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(get(addr).await, Err(LinkFault::Refused));
}

#[tokio::test]
async fn a_server_that_drips_is_left_by_dropping_the_future() {
    let (closed, seen) = tokio::sync::oneshot::channel();
    let addr = server(|mut stream, _| async move {
        let mut outcome = stream.write_all(b"HTTP/1.1 200 OK\r\nA: ").await;
        while outcome.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            outcome = stream.write_all(b"b").await;
        }
        closed.send(()).unwrap();
    })
    .await;
    let request = ask(addr);
    let dripping = tokio::time::timeout(Duration::from_millis(50), fetch(&TokioNet, None, None, &request)).await;
    assert!(dripping.is_err());
    tokio::time::timeout(Duration::from_secs(5), seen).await.expect("its socket is closed").unwrap();
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_a_fault_of_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let request = Fetch { tls_name: Some("tracker.example".into()), ..ask(addr) };
    assert_eq!(fetch(&TokioNet, None, Some(public_trust()), &request).await, Err(LinkFault::Tls));
}

/// Asks a TLS server whose certificate is for `tracker.example` and signed by itself.
async fn get_tls(name: &str, trusted: bool) -> Result<FetchReply, LinkFault> {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["tracker.example".into()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        if let Ok(mut stream) = tokio_rustls::TlsAcceptor::from(Arc::new(server)).accept(stream).await {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    let mut roots = RootCertStore::empty();
    if trusted {
        roots.add(cert.der().clone()).unwrap();
    }
    let tls = if trusted { trust(roots) } else { public_trust() };
    fetch(&TokioNet, None, Some(tls), &Fetch { tls_name: Some(name.into()), ..ask(addr) }).await
}

#[tokio::test]
async fn a_certificate_is_verified_and_must_be_for_the_name_asked() {
    assert_eq!(get_tls("tracker.example", true).await.unwrap().body, b"hi");
    assert_eq!(get_tls("tracker.example", false).await, Err(LinkFault::Tls));
    assert_eq!(get_tls("other.example", true).await, Err(LinkFault::Tls));
}

#[tokio::test]
async fn a_dial_from_one_family_never_goes_to_the_other() {
    let request = ask("[::1]:9".parse().unwrap());
    let outcome = fetch(&TokioNet, Some("127.0.0.1".parse().unwrap()), None, &request).await;
    assert_eq!(outcome, Err(LinkFault::Unreachable));
}
