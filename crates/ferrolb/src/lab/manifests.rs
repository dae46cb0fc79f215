//! The directory of manifests that all nodes of the lab read: the first user's own files, byte for byte and in the
//! layout of their repository, and beside them in `lab/` what a cluster would know by itself.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::isolate::SCRATCH;
use super::network::{NODES, address_of};

/// A file of the user's repository: where, and what is in it.
type UserFile = (&'static str, &'static str);

macro_rules! user_file {
    ($path:literal) => {
        ($path, include_str!(concat!("../../../../examples/gitops/", $path)))
    };
}

/// What the user starts with: the installation, one pool, one consumer.
const FIRST: [UserFile; 5] = [
    user_file!("apps/workloads/metallb/app.yaml"),
    user_file!("apps/workloads/metallb-config/app.yaml"),
    user_file!("manifests/metallb-config/namespace.yaml"),
    user_file!("manifests/metallb-config/ip-pool.yaml"),
    user_file!("services/traefik.yaml"),
];

/// The examples of the user's own page, added later.
const LATER: [UserFile; 3] = [
    user_file!("services/static-ip.yaml"),
    user_file!("services/pool-by-annotation.yaml"),
    user_file!("manifests/multiple-pools.yaml"),
];

/// The pool that the Service `by-pool` waits for. The user's own `multiple-pools.yaml` does not make it: it names no
/// namespace. With their range it would also lie inside default-pool.
const PRODUCTION_POOL: &str = "\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: production-pool, namespace: metallb-system}
spec:
  addresses: [192.168.1.230-192.168.1.239]
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: production-advertisement, namespace: metallb-system}
spec:
  ipAddressPools: [production-pool]
";

/// A Service of the user's files that the lab runs pods for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backend {
    pub(super) namespace: &'static str,
    pub(super) name: &'static str,
    /// Port of the Service, port of the pod.
    pub(super) ports: &'static [(u16, u16)],
    /// The last octet of the pods' addresses.
    pub(super) number: u8,
}

/// Every Service with pods: one pod on every node.
pub(super) const BACKENDS: [Backend; 3] = [
    Backend {
        namespace: "traefik-system",
        name: "traefik",
        ports: &[(80, 8000), (443, 8443), (9000, 9000)],
        number: 10,
    },
    Backend { namespace: "default", name: "static-ip", ports: &[(80, 80)], number: 20 },
    Backend { namespace: "default", name: "by-pool", ports: &[(80, 80)], number: 30 },
];

impl Backend {
    /// The address of the pod on a node; nodes count from 0 in the order of [`NODES`].
    pub(super) fn pod_address(&self, node: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 244, u8::try_from(node).unwrap_or(u8::MAX), self.number)
    }

    /// The name of the pod on a node.
    pub(super) fn pod_name(&self, node: usize) -> String {
        format!("{}-{}", self.name, node + 1)
    }
}

/// The directory.
pub(super) struct Manifests {
    directory: PathBuf,
}

impl Manifests {
    /// Makes it, with what the user starts with.
    pub(super) fn create() -> anyhow::Result<Self> {
        Self::create_in(Path::new(SCRATCH).join("manifests"))
    }

    /// Makes it with nothing in it.
    pub(super) fn empty() -> Self {
        Self { directory: Path::new(SCRATCH).join("manifests") }
    }

    fn create_in(directory: PathBuf) -> anyhow::Result<Self> {
        let manifests = Self { directory };
        manifests.write("lab/nodes.yaml", &nodes())?;
        manifests.write("lab/endpoints.yaml", &endpoints())?;
        manifests.write_all(&FIRST)?;
        Ok(manifests)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Adds the user's other files.
    pub(super) fn add_later_files(&self) -> anyhow::Result<()> {
        self.write_all(&LATER)
    }

    /// Adds the pool that one of them asks for.
    pub(super) fn add_production_pool(&self) -> anyhow::Result<()> {
        self.write("lab/production-pool.yaml", PRODUCTION_POOL)
    }

    fn write_all(&self, files: &[UserFile]) -> anyhow::Result<()> {
        files.iter().try_for_each(|(path, text)| self.write(path, text))
    }

    /// Writes a file, whole or not at all.
    pub(super) fn write(&self, path: &str, text: &str) -> anyhow::Result<()> {
        let path = self.directory.join(path);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let new = self.directory.with_extension("new");
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &path));
        written.with_context(|| format!("cannot write {}", path.display()))
    }
}

fn nodes() -> String {
    let mut text = "# What a cluster knows about its nodes.\n".to_owned();
    for node in NODES {
        let address = address_of(node).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {node}}}\nstatus:\n  \
             addresses: [{{type: InternalIP, address: {address}}}]\n  conditions: [{{type: Ready, status: \"True\"}}]\n"
        );
    }
    text
}

fn endpoints() -> String {
    let mut text = "# What a cluster knows about its pods: one per Service and node.\n".to_owned();
    for backend in BACKENDS {
        let _ = write!(
            text,
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {name}-1\n  \
             namespace: {namespace}\n  labels: {{kubernetes.io/service-name: {name}}}\naddressType: IPv4\nendpoints:\n",
            name = backend.name,
            namespace = backend.namespace
        );
        for (index, node) in NODES.iter().enumerate() {
            let _ = writeln!(
                text,
                "- {{addresses: [{}], nodeName: {node}, conditions: {{ready: true, serving: true}}}}",
                backend.pod_address(index)
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ferrolb_rules::service::key_of;

    use super::*;
    use crate::source::{Loaded, Loader};

    fn everything() -> Loaded {
        let directory = tempfile::tempdir().unwrap();
        let manifests = Manifests::create_in(directory.path().to_owned()).unwrap();
        manifests.add_later_files().unwrap();
        manifests.add_production_pool().unwrap();
        Loader::new(directory.path().to_owned(), "metallb-system".to_owned(), None).load()
    }

    /// Both lists are written by hand; the Services that they are about are the user's.
    #[test]
    fn every_loadbalancer_of_the_users_files_has_pods_behind_all_its_ports() {
        let ports_of = |ports: &[(u16, u16)]| ports.iter().map(|(port, _)| i32::from(*port)).collect::<Vec<_>>();
        let ours: BTreeMap<String, Vec<i32>> = BACKENDS
            .iter()
            .map(|backend| (format!("{}/{}", backend.namespace, backend.name), ports_of(backend.ports)))
            .collect();
        let loaded = everything();
        let theirs = loaded.objects.services.iter().map(|service| {
            let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
            (key_of(service).to_string(), ports.map(|port| port.port).collect::<Vec<_>>())
        });
        assert_eq!(theirs.collect::<BTreeMap<_, _>>(), ours);
    }

    #[test]
    fn what_the_lab_writes_reads_without_a_finding() {
        let loaded = everything();
        assert_eq!((loaded.objects.nodes.len(), loaded.objects.endpoint_slices.len()), (3, 3));
        assert_eq!((loaded.objects.pools.len(), loaded.objects.l2_advertisements.len()), (2, 2));
        let ours: Vec<_> = loaded
            .findings
            .iter()
            .filter(|finding| finding.location.as_ref().is_some_and(|place| place.file.contains("lab/")))
            .collect();
        assert!(ours.is_empty(), "{ours:?}");
    }
}
