//! The memberlist Secret that somebody deletes while the controller runs, against an API server that knows nothing else.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::super::look_again;
use crate::k8s::lease::Lead;
use crate::k8s::memberlist_secret;

/// Often enough for a test.
const INTERVAL: Duration = Duration::from_millis(2);

/// What the API server has, and was asked.
#[derive(Default)]
struct Server {
    there: bool,
    /// Whether it answers with errors.
    broken: bool,
    lists: usize,
    created: usize,
}

type Shared = &'static Mutex<Server>;

async fn list(State(server): State<Shared>) -> Result<Json<Value>, StatusCode> {
    let mut server = server.lock().unwrap();
    server.lists += 1;
    let one = json!({"metadata": {"name": "metallb-memberlist", "namespace": "metallb-system"}});
    let items: Vec<Value> = server.there.then_some(one).into_iter().collect();
    let kind =
        json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": {}, "items": items});
    if server.broken { Err(StatusCode::INTERNAL_SERVER_ERROR) } else { Ok(Json(kind)) }
}

async fn create(State(server): State<Shared>, Json(secret): Json<Value>) -> (StatusCode, Json<Value>) {
    let mut server = server.lock().unwrap();
    (server.there, server.created) = (true, server.created + 1);
    (StatusCode::CREATED, Json(secret))
}

async fn deployment() -> Json<Value> {
    Json(json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {"name": "metallb-controller", "uid": "an-uid"},
    }))
}

async fn until(server: Shared, what: &str, reached: impl Fn(&Server) -> bool) {
    let begun = Instant::now();
    while !reached(&server.lock().unwrap()) {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn looks(server: Shared, more: usize) {
    let so_far = server.lock().unwrap().lists;
    until(server, "it looks again and again", |server| server.lists >= so_far + more).await;
}

#[tokio::test]
async fn a_deleted_secret_is_made_anew_by_who_leads_and_no_failure_ends_that() {
    let server: Shared = Box::leak(Box::default());
    let (secrets, deployments) =
        ("/api/v1/namespaces/{ns}/secrets", "/apis/apps/v1/namespaces/{ns}/deployments/{name}");
    let routes = Router::new().route(secrets, get(list).post(create)).route(deployments, get(deployment));
    let client = Client::new(routes.with_state(server), "default");
    let (leading, leads) = watch::channel(None);
    let look =
        || memberlist_secret::ensure(&client, "metallb-system", "metallb-memberlist", Some("metallb-controller"));
    let story = async {
        tokio::time::sleep(INTERVAL * 10).await;
        assert_eq!(server.lock().unwrap().lists, 0, "who does not lead asks for nothing");
        leading.send_replace(Some(Lead { until: Instant::now() + Duration::from_secs(60), term: 1 }));
        for time in 1..=2 {
            until(server, "it is made", |server| server.created == time).await;
            looks(server, 3).await;
            assert_eq!(server.lock().unwrap().created, time, "what is there is left alone");
            server.lock().unwrap().broken = true;
            looks(server, 3).await;
            (server.lock().unwrap().there, server.lock().unwrap().broken) = (false, false);
        }
        until(server, "it is made a third time", |server| server.created == 3).await;
        leading.send_replace(None);
        // A look may be under way.
        tokio::time::sleep(INTERVAL * 10).await;
        let lists = server.lock().unwrap().lists;
        tokio::time::sleep(INTERVAL * 10).await;
        assert_eq!(server.lock().unwrap().lists, lists, "the next leader looks");
    };
    tokio::select! {
        never = look_again(look, &leads, INTERVAL) => match never {},
        () = story => {}
    }
}
