//! Who else takes Services of type LoadBalancer here: k3s' servicelb, kube-vip, MetalLB, FerroLB once more; and what
//! MetalLB's mode frr-k8s leaves behind.
//!
//! MetalLB is known by its image: its labels and names are those that ours have too, and people rename what they install.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Check, Mark, Surroundings, fine, found};
use crate::reason::Code;

/// A DaemonSet or a Deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// `daemonset` or `deployment`, as `kubectl` has it.
    pub kind: &'static str,
    /// Where it is.
    pub namespace: String,
    /// What it is called.
    pub name: String,
    /// What its containers run.
    pub images: Vec<String>,
}

impl Workload {
    fn of(kind: &'static str, metadata: &ObjectMeta, pod: Option<&PodSpec>) -> Self {
        let images = pod.into_iter().flat_map(|pod| &pod.containers).filter_map(|container| container.image.clone());
        Self {
            kind,
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            images: images.collect(),
        }
    }

    fn image(&self, is: fn(&str) -> bool) -> Option<&str> {
        self.images.iter().map(String::as_str).find(|image| is(image))
    }
}

impl From<&DaemonSet> for Workload {
    fn from(set: &DaemonSet) -> Self {
        Self::of("daemonset", &set.metadata, set.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()))
    }
}

impl From<&Deployment> for Workload {
    fn from(set: &Deployment) -> Self {
        Self::of("deployment", &set.metadata, set.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()))
    }
}

/// An image without registry, tag and digest, in parts: `metallb`, `speaker`.
fn parts(image: &str) -> Vec<&str> {
    let name = image.split('@').next().unwrap_or_default();
    let mut parts: Vec<&str> = name.split('/').collect();
    // A registry has a dot or a port, and is not all there is.
    if parts.len() > 1 && parts.first().is_some_and(|first| first.contains(['.', ':']) || *first == "localhost") {
        parts.remove(0);
    }
    if let Some(last) = parts.last_mut() {
        *last = last.split(':').next().unwrap_or_default();
    }
    parts
}

/// Whether an image is FerroLB's, wherever it was copied to.
pub(super) fn is_ours(image: &str) -> bool {
    parts(image).last().is_some_and(|last| last.contains("ferrolb"))
}

/// The image of MetalLB that a pod runs, if it runs one.
pub fn metallb_image(pod: &Pod) -> Option<&str> {
    let images = pod.spec.iter().flat_map(|spec| &spec.containers).filter_map(|container| container.image.as_deref());
    images.into_iter().find(|image| is_metallb(image))
}

/// Whether an image is MetalLB's controller or speaker, its own (`quay.io/metallb/speaker`), a copy of it, or another build
/// (`bitnami/metallb-speaker`).
pub(crate) fn is_metallb(image: &str) -> bool {
    let parts = parts(image);
    let program = parts.last().is_some_and(|last| last.ends_with("controller") || last.ends_with("speaker"));
    program && parts.iter().any(|part| part.contains("metallb")) && !is_ours(image)
}

pub(super) fn rivals(seen: &Surroundings) -> Vec<Check> {
    let k3s = seen.workloads.iter().find(|one| one.name.starts_with("svclb-"));
    let vip = seen.workloads.iter().find(|one| {
        one.kind == "daemonset"
            && (one.name.starts_with("kube-vip")
                || one.image(|image| parts(image).last() == Some(&"kube-vip")).is_some())
    });
    let mut checks = Vec::new();
    checks.push(match k3s {
        Some(Workload { namespace, name, .. }) => {
            let text = format!("k3s servicelb is on ({namespace}/{name}) and takes the same Services");
            found("rivals", Mark::Wrong, Code::RivalLoadBalancer, text)
        }
        None => fine("rivals", "k3s servicelb is not present"),
    });
    if let Some(Workload { namespace, name, .. }) = vip {
        let text = format!("{namespace}/{name} may serve the same Services");
        checks.push(found("rivals", Mark::Note, Code::RivalLoadBalancer, text));
    }
    checks.extend(seen.workloads.iter().filter_map(|one| beside(seen, one)));
    checks.extend(frr_k8s(seen));
    checks
}

/// MetalLB, or FerroLB in another namespace: of either there can be one.
fn beside(seen: &Surroundings, one: &Workload) -> Option<Check> {
    let Workload { kind, namespace, name, .. } = one;
    let (mark, text, fix) = if let Some(image) = one.image(is_metallb) {
        let text = format!("{kind} {namespace}/{name} runs MetalLB ({image}), which takes the same Services");
        // Whoever changes the chart of the release that is there has it replaced.
        let mark = if seen.before && *namespace == seen.namespace { Mark::Note } else { Mark::Wrong };
        (mark, text, "an upgrade of the same release replaces it; otherwise remove it, its pools can stay")
    } else if one.image(is_ours).is_some() && *namespace != seen.namespace {
        let text = format!("FerroLB is installed in {namespace} too ({kind} {name}); a cluster can have it once");
        (Mark::Wrong, text, "uninstall one of the two, and set crds.enabled: false if the definitions are to stay")
    } else {
        return None;
    };
    let mut check = found("rivals", mark, Code::RivalLoadBalancer, text);
    if let Some(finding) = &mut check.finding {
        fix.clone_into(&mut finding.fix);
    }
    Some(check)
}

/// What MetalLB's mode frr-k8s leaves behind, or still has.
fn frr_k8s(seen: &Surroundings) -> Option<Check> {
    let program = seen.workloads.iter().find(|one| {
        one.kind == "daemonset"
            && (one.name.contains("frr-k8s") || one.image(|image| parts(image).last() == Some(&"frr-k8s")).is_some())
    });
    let program = program.map(|Workload { namespace, name, .. }| format!("frr-k8s runs ({namespace}/{name})"));
    let objects = (!seen.frr_configurations.is_empty()).then(|| {
        let (shown, rest) = seen.frr_configurations.split_at(seen.frr_configurations.len().min(3));
        let rest = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        format!("FRRConfiguration {}{rest}", shown.join(", "))
    });
    let text = [program, objects].into_iter().flatten().collect::<Vec<_>>().join(", ");
    (!text.is_empty()).then(|| found("frr-k8s", Mark::Note, Code::FrrK8sPresent, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metallb_is_known_by_its_image_wherever_it_was_copied_to() {
        for image in [
            "quay.io/metallb/speaker:v0.14.8",
            "quay.io/metallb/controller@sha256:0000",
            "registry.example.org:5000/quay.io/metallb/speaker",
            "bitnami/metallb-speaker:0.14",
            "docker.io/bitnami/metallb-controller:0.14",
        ] {
            assert!(is_metallb(image) && !is_ours(image), "{image}");
        }
        for image in [
            "ghcr.io/ferrolb/ferrolb:v0.1.0",
            "registry.example.org/metallb/ferrolb",
            "quay.io/frrouting/frr:10.5.3",
            "metallb.example.org/nginx-ingress-controller",
            "traefik",
        ] {
            assert!(!is_metallb(image), "{image}");
        }
        assert!(is_ours("registry.example.org:5000/copies/ferrolb") && !is_ours("traefik:v3"));
    }
}
