//! `ferrolb controller`: gives Services addresses. Takes upstream's command line as it is (spec §8.6, §8.7).

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;

use super::Verdict;
use super::process::{self, Process, Shared, given};
use crate::controller::{self, Settings, WebhookMode, WebhookSettings};

/// The port that the API server reaches the webhooks on.
const WEBHOOK_PORT: u16 = 9443;

#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(super) struct Args {
    #[command(flatten)]
    shared: Shared,
    /// The memberlist Secret to create for the speakers; without it, none is created.
    #[arg(long, env = "METALLB_ML_SECRET_NAME", default_value = "", hide_default_value = true)]
    ml_secret_name: String,
    /// Our own Deployment, which becomes the owner of that Secret.
    #[arg(long, env = "METALLB_DEPLOYMENT", default_value = "", hide_default_value = true)]
    deployment: String,
    /// Whether to serve webhooks, and whether to do anything else.
    #[arg(long, value_enum, default_value_t = Mode::Enabled)]
    webhook_mode: Mode,
    /// The Secret with the webhooks' certificates.
    #[arg(long, default_value = "metallb-webhook-cert")]
    webhook_secret: String,
    /// The Service through which the API server calls the webhooks; its name is in the certificate.
    #[arg(long, default_value = "metallb-webhook-service")]
    cert_service_name: String,
    /// Use the certificate in --cert-dir as it is, and make none.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
          action = clap::ArgAction::Set)]
    disable_cert_rotation: bool,
    /// Where the webhooks' certificate is mounted.
    #[arg(long, default_value = "/tmp/k8s-webhook-server/serving-certs")]
    cert_dir: PathBuf,
    /// Offer HTTP/2 on the webhooks.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
          action = clap::ArgAction::Set)]
    webhook_http2: bool,
    /// Serve a web page that shows what `ferrolb status` does at this address and port, as in 127.0.0.1:7473. It can only
    /// be read, and there is no login: at 127.0.0.1 `kubectl port-forward` reaches it.
    #[arg(long, value_name = "ADDRESS:PORT")]
    web_page: Option<SocketAddr>,
    /// The port of the webhooks.
    #[arg(long, default_value_t = WEBHOOK_PORT, hide = true)]
    webhook_port: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Enabled,
    Disabled,
    #[value(name = "onlywebhook")]
    OnlyWebhook,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Verdict> {
    process::run(&args.shared, || {
        let settings = settings(args)?;
        let process = Process {
            name: "metallb-controller",
            health_is_local: false,
            waits_for: "the first list of every kind, and the webhooks where they are served",
            summary: summary(&settings),
            notes: Vec::new(),
        };
        Ok((process, move |metrics, ready, stop| -> process::Work {
            Box::pin(controller::run(settings, metrics, ready, stop))
        }))
    })
}

fn settings(args: &Args) -> anyhow::Result<Settings> {
    let shared = &args.shared;
    Ok(Settings {
        namespace: shared.namespace()?,
        kubeconfig: shared.kubeconfig(),
        pod_name: shared.pod_name(),
        lb_class: shared.lb_class(),
        webhook_mode: match args.webhook_mode {
            Mode::Enabled => WebhookMode::Enabled,
            Mode::Disabled => WebhookMode::Disabled,
            Mode::OnlyWebhook => WebhookMode::OnlyWebhook,
        },
        ml_secret_name: given(&args.ml_secret_name),
        deployment: given(&args.deployment),
        webhook: WebhookSettings {
            secret: args.webhook_secret.clone(),
            service_name: args.cert_service_name.clone(),
            disable_cert_rotation: args.disable_cert_rotation,
            cert_dir: args.cert_dir.clone(),
            port: args.webhook_port,
            tls: shared.tls()?,
            http2: args.webhook_http2,
        },
        web_page: args.web_page,
    })
}

fn summary(settings: &Settings) -> String {
    let class = settings.lb_class.as_ref().map_or_else(
        || "gives addresses to Services without a class".to_owned(),
        |class| format!("gives addresses to Services of class {class}"),
    );
    let port = settings.webhook.port;
    let work = match settings.webhook_mode {
        WebhookMode::Enabled => format!("{class}, serves webhooks on port {port}"),
        WebhookMode::Disabled => format!("{class}, serves no webhooks"),
        WebhookMode::OnlyWebhook => format!("serves webhooks on port {port} and nothing else"),
    };
    let page = settings.web_page.map(|address| format!(", web page at http://{address}/")).unwrap_or_default();
    format!("namespace {}, {work}{page}", settings.namespace)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn settings_of(line: &[&str]) -> anyhow::Result<Settings> {
        settings(&Line::parse_from(["controller", "--namespace=x"].iter().chain(line)).args)
    }

    #[test]
    fn defaults_are_upstreams() {
        let settings = settings_of(&[]).unwrap();
        assert_eq!(settings.webhook_mode, WebhookMode::Enabled);
        assert_eq!((settings.lb_class, settings.ml_secret_name, settings.deployment), (None, None, None));
        let webhook = settings.webhook;
        assert_eq!(webhook.secret, "metallb-webhook-cert");
        assert_eq!(webhook.service_name, "metallb-webhook-service");
        assert_eq!(webhook.cert_dir, PathBuf::from("/tmp/k8s-webhook-server/serving-certs"));
        assert_eq!((webhook.port, webhook.http2, webhook.disable_cert_rotation), (9443, false, false));
    }

    #[test]
    fn the_summary_says_what_this_start_will_do() {
        let told = |line: &[&str]| summary(&settings_of(line).unwrap());
        assert_eq!(told(&[]), "namespace x, gives addresses to Services without a class, serves webhooks on port 9443");
        let line = ["--webhook-mode=disabled", "--lb-class=a/b"];
        assert_eq!(told(&line), "namespace x, gives addresses to Services of class a/b, serves no webhooks");
        let line = ["--webhook-mode=disabled", "--web-page=127.0.0.1:7473"];
        let page = ", web page at http://127.0.0.1:7473/";
        assert!(told(&line).ends_with(page), "{}", told(&line));
        let line = ["--webhook-mode=onlywebhook"];
        assert_eq!(told(&line), "namespace x, serves webhooks on port 9443 and nothing else");
    }

    #[test]
    fn tls_flags_are_checked_before_anything_runs() {
        let error = settings_of(&["--tls-curve-preferences=0"]).unwrap_err().to_string();
        assert!(error.starts_with("--tls-curve-preferences: \"0\" is not a number from 1 to 65535"), "{error}");
    }
}
