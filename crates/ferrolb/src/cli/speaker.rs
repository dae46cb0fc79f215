//! `ferrolb speaker`: announces addresses from one node. Takes upstream's command line as it is (spec §8.6, §8.7).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use super::Verdict;
use super::process::{self, Process, Shared, given, given_path, wrong_flag};
use crate::drive::l2::Promiscuous;
use crate::drive::owners::Failover;
use crate::speaker::{self, Settings};

/// Interfaces to leave alone, where the ConfigMap of upstream's manifests is mounted.
const EXCLUDE_L2: &str = "/etc/metallb/excludel2.yaml";
/// Membership's port unless something else is said.
const ML_PORT: u16 = 7946;

#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(super) struct Args {
    #[command(flatten)]
    shared: Shared,
    /// The node that we speak for.
    #[arg(long, env = "METALLB_NODE_NAME", default_value = "", hide_default_value = true)]
    node_name: String,
    /// The address for membership among the speakers.
    #[arg(long, env = "METALLB_ML_BIND_ADDR", default_value = "", hide_default_value = true)]
    ml_bindaddr: String,
    /// The port for it [default: 7946].
    #[arg(long, env = "METALLB_ML_BIND_PORT", default_value = "", hide_default_value = true)]
    ml_bindport: String,
    /// The labels of the speakers' Pods; without them there is no membership, and every node counts as alive.
    #[arg(long, env = "METALLB_ML_LABELS", default_value = "", hide_default_value = true)]
    ml_labels: String,
    /// The directory with the file `secretkey`, which membership is sealed with.
    #[arg(long, env = "METALLB_ML_SECRET_KEY_PATH", default_value = "", hide_default_value = true)]
    ml_secret_key_path: String,
    /// The Secret with that key, read while there is no such file.
    #[arg(long, env = "METALLB_ML_SECRET_NAME", default_value = "", hide_default_value = true)]
    ml_secret_name: String,
    /// Announce also from nodes labelled node.kubernetes.io/exclude-from-external-load-balancers.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
          action = clap::ArgAction::Set)]
    ignore_exclude_lb: bool,
    /// Announce all the same where every node carries that label.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true",
          action = clap::ArgAction::Set)]
    announce_if_all_excluded: bool,
    /// Hand addresses over from nodes that show one of these signs: cordon, annotation (ferrolb.io/drain), taint:KEY.
    #[arg(long, env = "FERROLB_DRAIN_ON", default_value = "", hide_default_value = true, value_name = "SIGN,...")]
    drain_on: String,
    /// How fast another node takes over.
    #[arg(long, value_enum, env = "FERROLB_FAILOVER", default_value_t)]
    failover: Failover,
    /// On which interfaces every frame is heard, whomever it is for: on Wi-Fi some drivers lose ARP requests otherwise.
    #[arg(long, value_enum, default_value_t)]
    promiscuous: Promiscuous,
    /// Answer pings for the addresses that this node announces: kube-proxy does not, in most of its modes. A ping that is
    /// answered says nothing about the Service behind the address.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
          action = clap::ArgAction::Set)]
    answer_ping: bool,
    /// Announce only on this interface; repeatable.
    #[arg(long = "interface")]
    interfaces: Vec<String>,
    /// Where the last plan is kept for a restart without an API server; without it, nowhere.
    #[arg(long, default_value = "", hide_default_value = true)]
    state_dir: String,
    #[command(flatten)]
    unused: Unused,
}

/// Flags of upstream's that mean nothing here.
#[derive(clap::Args)]
struct Unused {
    /// Upstream does not use it either.
    #[arg(long, env = "METALLB_HOST", default_value = "", hide = true)]
    host: String,
    #[arg(long, env = "METALLB_BGP_DEBOUNCE_TIMEOUT", default_value = "", hide = true)]
    bgp_debounce_timeout: String,
    #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", hide = true,
          action = clap::ArgAction::Set)]
    ml_wan_config: bool,
    #[arg(long, env = "FRRK8S_NAMESPACE", default_value = "", hide = true)]
    frrk8s_namespace: String,
    #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", hide = true,
          action = clap::ArgAction::Set)]
    frrk8s_secret_passthrough: bool,
}

impl Unused {
    fn notes(&self) -> Vec<String> {
        let set = [
            (!self.bgp_debounce_timeout.is_empty(), "--bgp-debounce-timeout delayed reloads of FRR, which is not used"),
            (self.ml_wan_config, "--ml-wan-config: membership has one set of timings"),
            (!self.frrk8s_namespace.is_empty(), "--frrk8s-namespace: no FRRConfiguration is written"),
            (self.frrk8s_secret_passthrough, "--frrk8s-secret-passthrough: no FRRConfiguration is written"),
        ];
        set.into_iter().filter(|(is_set, _)| *is_set).map(|(_, note)| format!("{note}; leave the flag out")).collect()
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<Verdict> {
    process::run(&args.shared, || {
        let settings = settings(args)?;
        let process = Process {
            name: "metallb-speaker",
            health_is_local: true,
            waits_for: "the first list of every kind, or a plan kept from before",
            summary: summary(&settings),
            notes: args.unused.notes(),
        };
        Ok((process, move |metrics, ready, stop| -> process::Work {
            Box::pin(speaker::run(settings, metrics, ready, stop))
        }))
    })
}

pub(super) fn settings(args: &Args) -> anyhow::Result<Settings> {
    let shared = &args.shared;
    if given(&args.node_name).is_none() {
        return Err(wrong_flag(&"no node name: set --node-name, or METALLB_NODE_NAME from spec.nodeName"));
    }
    let node_name = process::node_name(&args.node_name)?;
    let ml_bind_port = match given(&args.ml_bindport) {
        None => ML_PORT,
        Some(text) => match text.parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => {
                return Err(wrong_flag(&format!(
                    "--ml-bindport={text}: use a port from 1 to 65535, such as {ML_PORT}"
                )));
            }
        },
    };
    let ml_bind_addr = match given(&args.ml_bindaddr) {
        None => None,
        Some(text) => match text.parse::<IpAddr>() {
            Ok(address) => Some(address),
            Err(_) => return Err(wrong_flag(&format!("--ml-bindaddr={text}: use an IP address of this node"))),
        },
    };
    Ok(Settings {
        namespace: shared.namespace()?,
        kubeconfig: shared.kubeconfig(),
        node_name,
        pod_name: shared.pod_name(),
        lb_class: shared.lb_class(),
        ignore_exclude_lb: args.ignore_exclude_lb,
        announce_if_all_excluded: args.announce_if_all_excluded,
        drain_on: process::drain_on(&args.drain_on)?,
        ml_bind_addr,
        ml_bind_port,
        ml_labels: given(&args.ml_labels),
        ml_secret_key_path: given_path(&args.ml_secret_key_path),
        ml_secret_name: given(&args.ml_secret_name),
        state_dir: given_path(&args.state_dir),
        failover: args.failover,
        promiscuous: args.promiscuous,
        answer_ping: args.answer_ping,
        interfaces: (!args.interfaces.is_empty()).then(|| args.interfaces.iter().cloned().collect::<BTreeSet<_>>()),
        exclude_l2: PathBuf::from(EXCLUDE_L2),
    })
}

fn summary(settings: &Settings) -> String {
    let class =
        settings.lb_class.as_ref().map_or_else(|| "without a class".to_owned(), |class| format!("of class {class}"));
    let membership = if settings.ml_labels.is_some() {
        format!("membership on port {}", settings.ml_bind_port)
    } else {
        "no membership, every node counts as alive".to_owned()
    };
    let (namespace, node) = (&settings.namespace, &settings.node_name);
    format!("namespace {namespace}, announces Services {class} from node {node}, {membership}")
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use ferrolb_rules::drain::Trigger;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(line: &[&str]) -> Args {
        Line::parse_from(["speaker", "--namespace=x"].iter().chain(line)).args
    }

    #[test]
    fn defaults_are_upstreams() {
        let settings = settings(&args(&["--node-name=n1"])).unwrap();
        assert_eq!(settings.namespace, "x");
        assert_eq!(settings.node_name, "n1");
        assert_eq!(settings.ml_bind_port, 7946);
        assert_eq!(settings.exclude_l2, PathBuf::from("/etc/metallb/excludel2.yaml"));
        assert!(!settings.ignore_exclude_lb && !settings.answer_ping);
        assert!(settings.announce_if_all_excluded);
        let unset = (settings.lb_class, settings.ml_bind_addr, settings.ml_labels, settings.interfaces);
        assert_eq!(unset, (None, None, None, None));
        assert_eq!((settings.ml_secret_key_path, settings.state_dir, settings.kubeconfig), (None, None, None));
        assert_eq!(settings.ml_secret_name, None);
    }

    #[test]
    fn an_empty_value_is_no_value() {
        let settings = settings(&args(&["--node-name=n1", "--lb-class=", "--ml-labels=", "--ml-bindport="])).unwrap();
        assert_eq!((settings.lb_class, settings.ml_labels, settings.ml_bind_port), (None, None, 7946));
    }

    #[test]
    fn switches_can_be_set_either_way() {
        let line = ["--node-name=n1", "--ignore-exclude-lb", "--announce-if-all-excluded=false", "--answer-ping"];
        let settings = settings(&args(&line)).unwrap();
        assert!(settings.ignore_exclude_lb && !settings.announce_if_all_excluded && settings.answer_ping);
    }

    #[test]
    fn no_node_is_drained_unless_it_is_said_by_what() {
        assert_eq!(settings(&args(&["--node-name=n1", "--drain-on="])).unwrap().drain_on, BTreeSet::new());
        let settings = settings(&args(&["--node-name=n1", "--drain-on=cordon,taint:k"])).unwrap();
        assert_eq!(settings.drain_on, BTreeSet::from([Trigger::Cordon, Trigger::Taint("k".to_owned())]));
    }

    #[test]
    fn values_that_make_no_sense_are_refused_by_name() {
        for (line, start) in [
            (&["--node-name="][..], "no node name: set --node-name"),
            (&["--node-name=Bad Name"], "--node-name \"Bad Name\" is a name that no Node can have: 'B' is not allowed"),
            (&["--node-name=n", "--ml-bindport=x"], "--ml-bindport=x: use a port"),
            (&["--node-name=n", "--ml-bindport=0"], "--ml-bindport=0: use a port"),
            (&["--node-name=n", "--ml-bindaddr=x"], "--ml-bindaddr=x: use an IP address"),
            (&["--node-name=n", "--drain-on=cordon,x"], "--drain-on=cordon,x: \"x\" is none of cordon, annotation"),
        ] {
            let error = settings(&args(line)).unwrap_err().to_string();
            assert!(error.starts_with(start) && error.ends_with("(LB0031 FlagInvalid)"), "{error}");
        }
    }

    #[test]
    fn flags_for_frr_are_explained_and_those_that_upstream_ignores_are_not() {
        assert_eq!(args(&["--host=192.0.2.1"]).unused.notes(), Vec::<String>::new());
        let line =
            ["--bgp-debounce-timeout=10", "--frrk8s-namespace=f", "--frrk8s-secret-passthrough", "--ml-wan-config"];
        let notes = args(&line).unused.notes();
        assert_eq!(notes.len(), 4);
        assert_eq!(notes[0], "--bgp-debounce-timeout delayed reloads of FRR, which is not used; leave the flag out");
    }
}
