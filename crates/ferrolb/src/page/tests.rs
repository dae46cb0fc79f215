//! The page as a browser asks for it, over a real socket.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::http;
use crate::state::ServiceState;

/// Serves the page on a free port.
async fn serve(source: Source) -> (SocketAddr, watch::Sender<bool>) {
    let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (close, closing) = watch::channel(false);
    tokio::spawn(http::serve(listener, None, routes(source, address), closing));
    (address, close)
}

/// The status, the head in lower case, and the body of one answer.
async fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), body.to_owned())
}

fn state() -> State {
    let service = ServiceState { namespace: "a".to_owned(), name: "web".to_owned(), ..ServiceState::default() };
    State { services: vec![service], ..State::default() }
}

#[tokio::test]
async fn the_page_can_only_be_read_and_every_answer_forbids_the_browser_everything_else() {
    let (_state, source) = watch::channel(Arc::new(state()));
    let (address, _close) = serve(Source::Process(source)).await;
    for (method, path, expected) in [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/page.js", 200),
        ("GET", "/page.css", 200),
        ("GET", "/status.json", 200),
        ("GET", "/metrics", 404),
        ("POST", "/", 405),
        ("POST", "/status.json", 405),
        ("PUT", "/status.json", 405),
        ("DELETE", "/status.json", 405),
    ] {
        let (status, head, _) = ask(address, method, path).await;
        assert_eq!(status, expected, "{method} {path}");
        for (name, value) in HEADERS {
            assert!(head.contains(&format!("{name}: {value}")), "{method} {path}: {head}");
        }
    }
}

#[tokio::test]
async fn the_document_is_that_of_the_command_line_and_the_newest() {
    let (sender, source) = watch::channel(Arc::new(state()));
    let (address, _close) = serve(Source::Process(source)).await;
    let expected = |state: &State| serde_json::to_string_pretty(state).unwrap() + "\n";
    assert_eq!(ask(address, "GET", "/status.json").await.2, expected(&state()));
    let newer = State { ok: true, ..state() };
    sender.send_replace(Arc::new(newer.clone()));
    assert_eq!(ask(address, "GET", "/status.json").await.2, expected(&newer));
}

/// An API server that knows no kind and counts how often it is asked for Services.
fn api_server(asked: Arc<AtomicUsize>, status: StatusCode) -> Client {
    let services = move || async move {
        asked.fetch_add(1, Ordering::Relaxed);
        status
    };
    Client::new(Router::new().route("/api/v1/services", get(services)), "default")
}

#[tokio::test]
async fn however_many_look_the_api_server_is_asked_once() {
    let asked = Arc::new(AtomicUsize::new(0));
    let client = api_server(asked.clone(), StatusCode::NOT_FOUND);
    let (address, _close) = serve(Source::Cluster(Looker::new(client, "metallb-system".to_owned()))).await;
    let answers = futures::future::join_all((0..8).map(|_| ask(address, "GET", "/status.json"))).await;
    assert!(answers.iter().all(|(status, _, body)| *status == 200 && body.contains("LB0020")), "{answers:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_api_server_that_fails_is_told_as_such_and_not_asked_at_once_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let client = api_server(asked.clone(), StatusCode::INTERNAL_SERVER_ERROR);
    let (address, _close) = serve(Source::Cluster(Looker::new(client, "metallb-system".to_owned()))).await;
    for _ in 0..2 {
        let (status, head, body) = ask(address, "GET", "/status.json").await;
        assert_eq!(status, 503, "{body}");
        assert!(body.contains("LB0022") || body.contains("the API server was asked for Service"), "{body}");
        assert!(head.contains("content-type: text/plain"), "never markup: {head}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_the_flag() {
    let taken = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let error = listen(taken.local_addr().unwrap()).await.unwrap_err().to_string();
    assert!(error.contains("--web-page") && error.contains(&Code::PortNotFree.to_string()), "{error}");
}

#[test]
fn nothing_in_the_page_turns_text_into_markup_or_runs_beside_its_one_script() {
    let script = include_str!("page.js");
    for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc"] {
        assert!(!script.contains(word), "{word}");
    }
    let page = include_str!("index.html");
    assert_eq!(page.matches("<script").count(), 1);
    assert!(page.contains("<script src=\"page.js\" defer></script>"));
    for word in ["style=", "<style", "onload", "onclick", "onerror", "http:", "https:"] {
        assert!(!page.contains(word), "{word}");
    }
}

#[tokio::test]
async fn a_name_that_somebody_else_may_point_at_this_machine_is_not_answered() {
    let (_state, source) = watch::channel(Arc::new(state()));
    let (address, _close) = serve(Source::Process(source)).await;
    for (host, expected) in [
        ("localhost", "200"),
        ("LOCALHOST.:7473", "200"),
        ("page.localhost", "200"),
        ("127.0.0.1:7473", "200"),
        ("[::1]:7473", "200"),
        ("192.168.1.5", "200"),
        ("rebound.example:7473", "421"),
        ("localhost.example", "421"),
        ("127.0.0.1.example", "421"),
        ("user@localhost:1:2", "421"),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /status.json HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(expected), "{host}: {answer}");
        assert_eq!(answer.contains("\"services\""), expected == "200", "{host}");
    }
}
