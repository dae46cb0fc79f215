//! The only place that knows a Kubernetes client.
//!
//! ```text
//! API server ── list, watch ──► stores ──► (controller, speaker: decide)
//!            ◄── status, events, leases ── one writer each
//! ```
//!
//! Everything read is read by watching, once per kind, and kept in [`stores`]; nothing polls. Everything written is a
//! value that somebody decided; here it is only carried.

use std::path::Path;

use anyhow::Context as _;
use ferrolb_rules::reason::Code;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

pub mod configuration_state;
pub mod events;
pub mod lease;
pub mod malformed;
pub mod memberlist_secret;
pub mod number;
mod references;
pub mod service_status;
pub mod stores;
pub mod webhook;

/// What is waited for: an API server that did not answer, was too busy or failed, or rights that are not there yet. None: no
/// waiting would help.
pub fn passing(error: &anyhow::Error) -> Option<Code> {
    match error.downcast_ref::<kube::Error>()? {
        kube::Error::Api(status) => match status.code {
            status @ (401 | 403 | 429 | 500..) => Some(code_of(status)),
            _ => None,
        },
        kube::Error::HyperError(_) | kube::Error::Service(_) => Some(Code::ApiServerAway),
        _ => None,
    }
}

/// What an answer of the API server with this HTTP status is called; the one place that says so.
pub const fn code_of(status: u16) -> Code {
    match status {
        404 => Code::KindMissing,
        401 | 403 => Code::AccessDenied,
        _ => Code::ApiServerAway,
    }
}

/// The same for any failure to get an answer.
pub fn code_of_error(error: &kube::Error) -> Code {
    match error {
        kube::Error::Api(status) => code_of(status.code),
        _ => Code::ApiServerAway,
    }
}

/// Connects to the API server: by this kubeconfig, else by the environment (`KUBECONFIG`, or the pod's own account).
/// `component` is how we introduce ourselves, and what an audit log shows.
///
/// # Errors
/// There is no configuration, or it cannot be read.
pub async fn connect(kubeconfig: Option<&Path>, component: &str) -> anyhow::Result<Client> {
    let mut config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).with_context(|| format!("--kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
        }
        None => Config::infer().await.context("no way to the API server: neither a pod's account nor KUBECONFIG")?,
    };
    let agent = format!("{component}/{}", env!("CARGO_PKG_VERSION"));
    // Whoever asks has a delay of his own, of seconds at most. The client's doubles up to minutes, and would sleep on long
    // after an API server that refused for a while is back.
    config.default_retry = false;
    config.headers.push((hyper::header::USER_AGENT, agent.parse()?));
    Ok(Client::try_from(config)?)
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn every_failure_to_get_an_answer_has_a_code() {
        let answer = |code| kube::Error::Api(kube::core::Status::failure("no", "Reason").with_code(code).boxed());
        assert_eq!([401, 403].map(|code| code_of_error(&answer(code))), [Code::AccessDenied; 2]);
        assert_eq!(code_of_error(&answer(404)), Code::KindMissing);
        assert_eq!([409, 429, 500, 503].map(|code| code_of_error(&answer(code))), [Code::ApiServerAway; 4]);
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(code_of_error(&kube::Error::Service(refused.into())), Code::ApiServerAway);
    }

    #[test]
    fn rights_and_an_api_server_that_are_not_there_yet_are_waited_for_and_nothing_else_is() {
        let answer = |code| {
            let status = kube::core::Status::failure("no", "Reason").with_code(code);
            Err::<(), _>(kube::Error::Api(status.boxed())).context("the first thing").context("the second").unwrap_err()
        };
        assert_eq!([429, 500, 503, 504].map(|code| passing(&answer(code))), [Some(Code::ApiServerAway); 4]);
        assert_eq!([401, 403].map(|code| passing(&answer(code))), [Some(Code::AccessDenied); 2]);
        assert_eq!([400, 404, 409, 422].map(|code| passing(&answer(code))), [None; 4]);
        let refused = kube::Error::Service(std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into());
        assert_eq!(passing(&anyhow::Error::from(refused).context("startup")), Some(Code::ApiServerAway));
        assert_eq!(passing(&anyhow::anyhow!("--deployment must name our Deployment")), None);
    }
}
