//! One look at a cluster, for whoever asks once: every verb of the command line, and the web page.
//!
//! ```text
//! API server ── one list per kind ──► cluster ── rules::picture ──► view ──► state document
//!            ── events ─────────────► timeline ────────────────────────────► with who announced what, when
//! ```
//!
//! Nothing is watched and nothing written.

use ferrolb_rules::names::ServiceKey;
use ferrolb_rules::picture;
use ferrolb_rules::reason::Code;
use kube::Client;

use crate::state::{ReasonState, ServiceState, State};

pub mod cluster;
mod timeline;
pub mod view;

use cluster::Cluster;

/// Services that a speaker is asked for its objection to, at most: each costs a request.
const OBJECTIONS: usize = 20;

/// Looks, and says what is so.
///
/// # Errors
/// The API server does not answer.
pub async fn look(client: &Client, namespace: &str) -> anyhow::Result<(Cluster, State)> {
    let cluster = cluster::read(client.clone(), namespace).await?;
    let mut state = {
        let picture = picture::draw(&cluster.known, &cluster.options);
        view::of_cluster(&picture, &cluster)
    };
    object(client, &mut state).await?;
    state.timeline = timeline::read(client).await?;
    Ok((cluster, state))
}

/// Where a node is elected and does not announce, that node knows why.
async fn object(client: &Client, state: &mut State) -> anyhow::Result<()> {
    let silent = |service: &&mut ServiceState| {
        service.reasons.first().is_some_and(|reason| reason.code == Code::AnnouncerSilent)
    };
    for service in state.services.iter_mut().filter(silent).take(OBJECTIONS) {
        let key = ServiceKey::new(&service.namespace, &service.name);
        if let Some(finding) = cluster::objection(client, &key).await? {
            let reason = ReasonState { code: finding.code, node: None, message: finding.message, fix: finding.fix };
            service.reasons.insert(0, reason);
        }
    }
    Ok(())
}
