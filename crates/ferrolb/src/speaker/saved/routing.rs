//! Sessions with routers and what they are told: in force, and kept over a restart (decision D21).
//!
//! A session that comes back with other routes than before, or none, makes its router forget the rest: what it is told
//! first after a restart has to be everything.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use ferrolb_proto::bgp::{Attributes, Routes};
use ferrolb_rules::names::{NodeName, ServiceKey};
use ferrolb_rules::plan::bgp::{BgpPlan, BgpService, Leads};
use ferrolb_rules::service::{View, status_ips};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Kept, read};
use crate::drive::routers::Configs;
use crate::durable::Readers;

/// The version of the file's content.
const VERSION: u32 = 1;

/// What routers are to be told, and how.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::speaker) struct Routing {
    pub(in crate::speaker) node: NodeName,
    /// How sessions are configured.
    pub(in crate::speaker) configs: Configs,
    /// What goes over them.
    pub(in crate::speaker) plan: BgpPlan,
}

impl Routing {
    /// Reads what was saved for this node; none where nothing was.
    ///
    /// # Errors
    /// The file is there and cannot be used.
    pub(in crate::speaker) fn load(directory: &Path, node: &NodeName) -> io::Result<Option<Self>> {
        let Some(text) = read::<Arc<Self>>(directory)? else { return Ok(None) };
        let saved: Saved = serde_json::from_slice(&text)?;
        Ok((saved.version == VERSION && saved.node == *node).then(|| saved.routing()))
    }

    /// Without the routes to addresses that Services do not have any more.
    pub(in crate::speaker) fn still(&self, services: &BTreeMap<ServiceKey, Arc<dyn View>>) -> Self {
        let mut kept = Self { plan: BgpPlan { services: BTreeMap::new(), ..self.plan.clone() }, ..self.clone() };
        for (key, part) in &self.plan.services {
            let ips =
                services.get(key).map(|service| status_ips(&**service).filter_map(|ip| ip.parse().ok()).collect());
            let ips: Vec<IpAddr> = ips.unwrap_or_default();
            let leads = |prefix: &IpNet| ips.iter().any(|ip| prefix.contains(ip));
            let addresses = part.addresses.iter().filter(|address| ips.contains(*address)).copied().collect();
            let leads = part.leads.filtered(leads);
            kept.plan.services.insert(key.clone(), BgpService { addresses, leads, ..BgpService::default() });
        }
        for (peer, routes) in &mut kept.plan.peers {
            let leads = kept.plan.services.values().flat_map(|part| part.leads.iter());
            let needed = leads.filter(|(_, routers)| routers.contains(peer)).map(|(prefix, _)| prefix);
            let needed: BTreeSet<&IpNet> = needed.collect();
            Arc::make_mut(routes).retain(|prefix, _| needed.contains(prefix));
        }
        kept
    }
}

impl Kept for Arc<Routing> {
    const FILE: &'static str = "speaker-routers.json";
    const READERS: Readers = Readers::Owner;

    fn text(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&Saved::of(self))
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    version: u32,
    node: NodeName,
    configs: Configs,
    /// By the name of the peer.
    routes: BTreeMap<String, Vec<SavedRoutes>>,
    /// By `namespace/name`.
    services: BTreeMap<String, SavedService>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedService {
    addresses: Vec<IpAddr>,
    /// By the name of the peer, the prefixes that lead to it.
    peers: BTreeMap<String, BTreeSet<IpNet>>,
}

/// Routes that say the same.
#[derive(Debug, Serialize, Deserialize)]
struct SavedRoutes {
    attributes: Attributes,
    prefixes: Vec<IpNet>,
}

impl Saved {
    fn of(routing: &Routing) -> Self {
        let routes = routing.plan.peers.iter().map(|(peer, routes)| (peer.clone(), together(routes)));
        let told = routing.plan.services.iter().filter(|(_, part)| !part.leads.is_empty());
        Self {
            version: VERSION,
            node: routing.node.clone(),
            configs: routing.configs.clone(),
            routes: routes.collect(),
            services: told.map(|(key, part)| (key.to_string(), SavedService::of(part))).collect(),
        }
    }

    fn routing(self) -> Routing {
        let apart = |saved: Vec<SavedRoutes>| -> Routes {
            let each = saved.into_iter().map(|one| (Arc::new(one.attributes), one.prefixes));
            each.flat_map(|(set, prefixes)| prefixes.into_iter().map(move |prefix| (prefix, set.clone()))).collect()
        };
        let service = |(key, saved): (String, SavedService)| {
            let (namespace, name) = key.split_once('/')?;
            let SavedService { addresses, peers } = saved;
            let leads = Leads::of(peers);
            Some((ServiceKey::new(namespace, name), BgpService { addresses, leads, ..BgpService::default() }))
        };
        let plan = BgpPlan {
            peers: self.routes.into_iter().map(|(peer, routes)| (peer, Arc::new(apart(routes)))).collect(),
            services: self.services.into_iter().filter_map(service).collect(),
        };
        Routing { node: self.node, configs: self.configs, plan }
    }
}

impl SavedService {
    fn of(part: &BgpService) -> Self {
        let peers = part.leads.by_router().into_iter().map(|(peer, prefixes)| (peer.to_owned(), prefixes));
        Self { addresses: part.addresses.clone(), peers: peers.collect() }
    }
}

fn together(routes: &Routes) -> Vec<SavedRoutes> {
    let mut by_attributes = BTreeMap::<&Arc<Attributes>, Vec<IpNet>>::new();
    for (prefix, attributes) in routes {
        by_attributes.entry(attributes).or_default().push(*prefix);
    }
    let one = |(set, prefixes): (&Arc<Attributes>, _)| SavedRoutes { attributes: Attributes::clone(set), prefixes };
    by_attributes.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use ferrolb_rules::config::{self, Resources};
    use ferrolb_rules::plan::{self, Snapshot};
    use ferrolb_rules::slice::Slice;
    use k8s_openapi::api::core::v1::Service;
    use k8s_openapi::api::discovery::v1::EndpointSlice;
    use serde::de::DeserializeOwned;

    use super::super::Saver;
    use super::*;
    use crate::drive::routers;

    fn object<T: DeserializeOwned>(yaml: &str) -> Arc<T> {
        Arc::new(serde_saphyr::from_str(yaml).unwrap())
    }

    fn service(name: &str, ip: &str) -> (ServiceKey, Arc<dyn View>) {
        let service = object::<Service>(&format!(
            "metadata: {{name: {name}, namespace: default}}\nspec: {{type: LoadBalancer}}\nstatus: {{loadBalancer: {{ingress: [{{ip: {ip}}}]}}}}"
        ));
        (ServiceKey::new("default", name), service)
    }

    /// Two Services told to one router, with a password and communities.
    fn routing() -> Routing {
        let metadata = |name: &str| format!("metadata: {{name: {name}, namespace: metallb-system}}");
        let resources = Resources {
            pools: vec![object(&format!("{}\nspec: {{addresses: [192.0.2.0/24]}}", metadata("p")))],
            bgp_advertisements: vec![object(&format!(
                "{}\nspec: {{localPref: 7, communities: ['1:2', 'large:1:2:3']}}",
                metadata("a")
            ))],
            bgp_peers: vec![object(&format!(
                "{}\nspec: {{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, password: geheim}}",
                metadata("r")
            ))],
            nodes: vec![object("metadata: {name: n}")],
            ..Resources::default()
        };
        let node = NodeName::new("n");
        let config = Arc::new(config::parse(&resources).unwrap());
        let slice: Arc<EndpointSlice> = object("addressType: IPv4\nendpoints: [{addresses: [10.1.0.1]}]");
        let slice = |key: &ServiceKey| vec![Arc::new(Slice::with(key.clone(), "x", &slice.endpoints))];
        let services = BTreeMap::from([service("web", "192.0.2.1"), service("db", "192.0.2.2")]);
        let endpoints = services.keys().map(|key| (key.clone(), slice(key))).collect();
        let snapshot =
            Snapshot { config: config.clone(), services, endpoints, own: node.clone(), ..Snapshot::default() };
        let plan = plan::bgp::plan(&snapshot);
        Routing { configs: routers::configs(&config, &plan, &node, None, &BTreeMap::new()), node, plan }
    }

    #[tokio::test]
    async fn sessions_and_routes_are_there_after_a_restart_and_only_the_owner_may_read_the_passwords() {
        let directory = tempfile::tempdir().unwrap();
        let (path, node) = (directory.path(), NodeName::new("n"));
        assert_eq!(Routing::load(path, &node).unwrap(), None);
        let routing = routing();
        assert_eq!((routing.configs.len(), routing.plan.peers["r"].len()), (1, 2));
        Saver::start(path.to_owned(), Arc::<Routing>::default()).save(Arc::new(routing.clone()));
        let file = path.join(<Arc<Routing> as Kept>::FILE);
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if file.exists() {
                break;
            }
        }
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Routing::load(path, &node).unwrap(), Some(routing));
        assert_eq!(Routing::load(path, &NodeName::new("other")).unwrap(), None);
    }

    #[test]
    fn routes_to_addresses_that_nobody_has_any_more_are_left_out() {
        let kept = routing().still(&BTreeMap::from([service("web", "192.0.2.1"), service("db", "192.0.2.9")]));
        let prefixes: Vec<String> = kept.plan.peers["r"].keys().map(ToString::to_string).collect();
        assert_eq!(prefixes, ["192.0.2.1/32"]);
        assert_eq!(kept.configs.len(), 1);
    }
}
