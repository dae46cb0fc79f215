//! Tests of a repository: what is read in it, what is passed over, and where findings point.

use super::*;

fn written(files: &[(&str, &str)]) -> Vec<Written> {
    let one = |(name, text): &(&str, &str)| Written {
        name: (*name).to_owned(),
        bytes: text.as_bytes().to_vec(),
        named: false,
    };
    files.iter().map(one).collect()
}

/// `file:line:column code`, in order.
fn found(files: &[(&str, &str)]) -> Vec<String> {
    let review = review(&written(files), None);
    let place = |finding: &Finding| finding.location.as_ref().map(ToString::to_string).unwrap_or_default();
    review.findings.iter().map(|finding| format!("{} {}", place(finding), finding.code)).collect()
}

const POOL: &str = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata:\n  name: p\n  namespace: metallb-system\n\
                    spec:\n  addresses:\n  - 192.168.1.200-192.168.1.220\n";
const L2: &str =
    "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata:\n  name: a\n  namespace: metallb-system\n";
const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  annotations:\n    app: web\n\
                       spec:\n  type: LoadBalancer\n  ports:\n  - port: 80\n";

#[test]
fn a_sound_repository_has_nothing_to_say() {
    let chart = "name: web\nversion: 1.0.0\n";
    let template =
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: {{ .Values.name }}\n{{- if .Values.x }}\n{{- end }}\n";
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {anything: here}\n";
    let secret =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: 'ENC[AES256_GCM,data:x]'}\nsops: {version: 3}\n";
    let files = [
        ("pool.yaml", POOL),
        ("l2.yaml", L2),
        ("svc.yaml", SERVICE),
        ("Chart.yaml", chart),
        ("templates/svc.yaml", template),
        ("deployment.yaml", deployment),
        ("secret.yaml", secret),
        ("package.json", "{\"name\": \"x\", \"version\": \"1\"}"),
        ("list.yaml", "- a\n- b\n"),
        ("custom.yaml", "value: !Ref [broken\n"),
    ];
    assert_eq!(found(&files), Vec::<String>::new());
}

#[test]
fn a_broken_document_hides_nothing_of_the_others() {
    let typo = SERVICE.replace("app: web", "metallb.io/loadbalancerips: 192.168.1.201");
    let wrong = POOL.replace("192.168.1.200-192.168.1.220", "192.168.1.300/24");
    let broken = "apiVersion: v1\nkind: Service\nmetadata: {name: a\nspec: [\n";
    // The places are those in the file, before and after what is broken.
    let all = format!("{wrong}---\n{broken}---\n{typo}---\nb: [\n");
    let other = typo.replace("name: web", "name: other");
    let others = [("all.yaml", all.as_str()), ("b.yaml", other.as_str())];
    assert_eq!(
        found(&others),
        [
            "all.yaml:8:5 LB4002",
            "all.yaml:13:5 LB0004",
            "all.yaml:20:5 LB2001",
            "all.yaml:26:4 LB0004",
            "b.yaml:6:5 LB2001"
        ]
    );
    let review = review(&written(&others), None);
    assert_eq!((review.objects.pools.len(), review.objects.services.len()), (1, 2));
    assert_eq!(review.unread().len(), 2, "nobody takes these files for what they would have been");
}

#[test]
fn findings_point_at_the_field() {
    let wrong = POOL.replace("192.168.1.200-192.168.1.220", "192.168.1.0/24\n  - 192.168.1.300/24");
    assert_eq!(found(&[("pool.yaml", &wrong)]), ["pool.yaml:9:5 LB4002"]);
    let typo = SERVICE.replace("app: web", "metallb.io/loadbalancerips: 192.168.1.201");
    assert_eq!(found(&[("a/svc.yaml", &typo)]), ["a/svc.yaml:6:5 LB2001"]);
    let two = format!("{POOL}---\n{L2}spec:\n  ipAddressPools: [p, q]\n");
    assert_eq!(found(&[("all.yaml", &two)]), ["all.yaml:16:3 LB4101"]);
    let unknown = POOL.replace("addresses:", "addreses: []\n  addresses:");
    assert_eq!(found(&[("pool.yaml", &unknown)]), ["pool.yaml:7:3 LB0009"]);
}

#[test]
fn a_service_that_would_get_no_address_or_would_not_be_announced_is_an_error() {
    let outside = SERVICE.replace("  ports", "  loadBalancerIP: 10.9.9.9\n  ports");
    assert_eq!(found(&[("pool.yaml", POOL), ("l2.yaml", L2), ("svc.yaml", &outside)]), ["svc.yaml:9:3 LB1012"]);
    let pool = SERVICE.replace("app: web", "metallb.io/address-pool: other");
    assert_eq!(found(&[("pool.yaml", POOL), ("l2.yaml", L2), ("svc.yaml", &pool)]), ["svc.yaml:6:5 LB1004"]);
    // What was asked for by an annotation is pointed at there, under its new name or its old one.
    for (annotation, code) in
        [("metallb.io/loadBalancerIPs: 10.9.9.9", "LB1012"), ("metallb.io/loadBalancerIPs: nonsense", "LB1007")]
    {
        let asks = SERVICE.replace("app: web", annotation);
        assert_eq!(
            found(&[("pool.yaml", POOL), ("l2.yaml", L2), ("svc.yaml", &asks)]),
            [format!("svc.yaml:6:5 {code}")]
        );
    }
    let one = POOL.replace("192.168.1.200-192.168.1.220", "192.168.1.200/32");
    let asks = SERVICE.replace("app: web", "metallb.io/address-pool: p");
    let full = format!("{}---\n{asks}", asks.replace("name: web", "name: aaa"));
    assert_eq!(found(&[("pool.yaml", &one), ("l2.yaml", L2), ("svc.yaml", &full)]), ["svc.yaml:17:5 LB1002"]);
    let picky = format!("{L2}spec: {{serviceSelectors: [{{matchLabels: {{app: other}}}}]}}\n");
    assert_eq!(found(&[("pool.yaml", POOL), ("l2.yaml", &picky), ("svc.yaml", SERVICE)]), ["svc.yaml:1:1 LB1101"]);
    assert_eq!(
        found(&[("svc.yaml", &outside)]),
        Vec::<String>::new(),
        "one file alone does not tell which pools exist"
    );
}

#[test]
fn broken_yaml_is_an_error_where_it_is_meant_to_be_a_manifest() {
    let broken = POOL.replace("  addresses:", "  addresses: [");
    assert_eq!(found(&[("pool.yaml", &broken)]).len(), 1);
    let mut files = written(&[("anything.yaml", "a: [\n")]);
    assert_eq!(review(&files, None).findings, []);
    files[0].named = true;
    assert_eq!(review(&files, None).findings[0].code, Code::ManifestInvalid);
}

const APPLICATION: &str = "\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: metallb
  namespace: argocd
spec:
  destination: {namespace: lb}
  source:
    chart: metallb
    helm:
      values: |
        # a comment

        speaker:
          frr:
            enabled: true
          hostNetwork: true
        controler: {}
";

#[test]
fn values_inside_an_application_are_judged_at_their_own_lines() {
    assert_eq!(
        found(&[("app.yaml", APPLICATION)]),
        ["app.yaml:16:13 LB3002", "app.yaml:17:11 LB3001", "app.yaml:18:9 LB3001"]
    );
}

#[test]
fn broken_values_inside_an_application_are_an_error_at_their_own_line() {
    let found_in = |values: &str| {
        let (head, _) = APPLICATION.split_once("        # a comment").unwrap();
        found(&[("app.yaml", &format!("{head}{values}"))])
    };
    assert_eq!(found_in("        speaker: [\n").len(), 1);
    assert!(found_in("        speaker: [\n")[0].ends_with(" LB0004"));
    let indented = found_in("        speaker:\n          frr: {}\n         controller: {}\n");
    assert_eq!(indented.len(), 1, "{indented:?}");
    assert!(indented[0].starts_with("app.yaml:14:") && indented[0].ends_with(" LB0004"), "{indented:?}");
    let k3s = "apiVersion: helm.cattle.io/v1\nkind: HelmChart\nmetadata: {name: m}\nspec:\n  chart: metallb/metallb\n  valuesContent: |-\n    speaker: [\n";
    assert_eq!(found(&[("hc.yaml", k3s)]).len(), 1);
}

#[test]
fn the_values_themselves_are_told_wherever_they_stand() {
    let values = |name: &str, text: &str| review(&written(&[(name, text)]), None).values;
    assert_eq!(values("app.yaml", APPLICATION)[0]["speaker"]["hostNetwork"], true);
    assert_eq!(values("values.yaml", "speaker: {ignoreExcludeLB: true}\n")[0]["speaker"]["ignoreExcludeLB"], true);
}

#[test]
fn values_are_found_in_every_place_that_people_put_them() {
    let object = APPLICATION.replace("values: |", "valuesObject:");
    assert_eq!(found(&[("app.yaml", &object)]).len(), 3);
    let set = "spec:\n  source:\n    chart: metallb\n    helm:\n      parameters:\n      - {name: ignore-exclude-lb, value: \"true\"}\n";
    let set = format!("apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {{name: m}}\n{set}");
    assert_eq!(found(&[("app.yaml", &set)]), ["app.yaml:9:16 LB3001"]);
    let flux = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: m}\nspec:\n  chart: {spec: {chart: metallb}}\n  values:\n    speakr: {}\n";
    assert_eq!(found(&[("hr.yaml", flux)]), ["hr.yaml:7:5 LB3001"]);
    let k3s = "apiVersion: helm.cattle.io/v1\nkind: HelmChart\nmetadata: {name: m}\nspec:\n  chart: metallb/metallb\n  valuesContent: |-\n    speakr: {}\n";
    assert_eq!(found(&[("hc.yaml", k3s)]), ["hc.yaml:7:5 LB3001"]);
    let set = "apiVersion: helm.cattle.io/v1\nkind: HelmChart\nmetadata: {name: m}\nspec:\n  chart: metallb\n  set:\n    speaker.hostNetwork: \"true\"\n    speaker.logLevel: loud\n    controller.replicas: 2\n";
    assert_eq!(found(&[("hc.yaml", set)]), ["hc.yaml:7:5 LB3001", "hc.yaml:8:5 LB3003"]);
    let reference = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: m}\nspec:\n  chartRef: {kind: OCIRepository, name: metallb}\n  values:\n    speakr: {}\n";
    assert_eq!(found(&[("hr.yaml", reference)]), ["hr.yaml:7:5 LB3001"]);
    assert_eq!(found(&[("hr.yaml", &reference.replace("metallb", "other"))]), [""; 0]);
    let inline = "kind: Kustomization\napiVersion: kustomize.config.k8s.io/v1beta1\nhelmCharts:\n- name: metallb\n  valuesInline:\n    speakr: {}\n";
    assert_eq!(found(&[("kustomization.yaml", inline)]), ["kustomization.yaml:6:5 LB3001"]);
    assert_eq!(found(&[("values.yaml", "speaker:\n  hostNetwork: true\n")]), ["values.yaml:2:3 LB3001"]);
    // What the chart would refuse; and what it only looks as if it would.
    let refused = "controller:\n  tolerations:\n    key: a\nspeaker:\n  logLevel: loud\n  tolerations:\n    - edge\n";
    assert_eq!(
        found(&[("values.yaml", refused)]),
        ["values.yaml:2:3 LB3003", "values.yaml:5:3 LB3003", "values.yaml:7:7 LB3003"]
    );
    assert_eq!(
        found(&[("values.yaml", "speaker: {}\nconfigInline: {address-pools: []}\n")]),
        ["values.yaml:2:1 LB3003"]
    );
    let fine = "speaker:\n  livenessProbe: {port: '17472'}\n  nodeSelector: {ssd: yes}\n  labels:\n";
    assert_eq!(found(&[("values.yaml", fine)]), [""; 0]);
    assert_eq!(found(&[("values.yaml", "metallb:\n  speaker:\n    hostNetwork: true\n")]), ["values.yaml:3:5 LB3001"]);
    assert_eq!(found(&[("values.yaml", "replicas: 2\nimage: {tag: x}\n")]), Vec::<String>::new());
}

#[test]
fn a_file_that_is_named_is_judged_as_values_or_said_to_be_nothing_that_is_read() {
    let said = |name: &str, text: &str| {
        let named = [Written { name: name.to_owned(), bytes: text.as_bytes().to_vec(), named: true }];
        let place = |finding: &Finding| finding.location.as_ref().map(ToString::to_string).unwrap_or_default();
        let findings = super::review(&named, None).findings;
        findings.iter().map(|finding| format!("{} {} {:?}", place(finding), finding.code, finding.severity)).collect()
    };
    let nothing: Vec<String> = Vec::new();
    for (text, wanted) in [
        ("controller: true\n", "lb.yaml:1:1 LB3003 Error"),
        ("configInline: {peers: []}\nx: 1\n", "lb.yaml:1:1 LB3003 Error"),
        ("speaker:\n  hostNetwork: true\n", "lb.yaml:2:3 LB3001 Warning"),
        ("prometheus: {metricsPort: x}\nrbac: {}\n", "lb.yaml:1:14 LB3003 Error"),
        ("replicas: 2\nimage: {tag: x}\n", "lb.yaml:1:1 LB0006 Warning"),
        ("releases:\n- name: metallb\n  values: [a.yaml]\n", "lb.yaml:1:1 LB0006 Warning"),
        ("- a\n- b\n", "lb.yaml:1:1 LB0006 Warning"),
        ("a: {{ .Values.a }}\n{{- end }}\n", "lb.yaml:1:1 LB0006 Warning"),
    ] {
        let mut found: Vec<String> = said("lb.yaml", text);
        found.truncate(1);
        assert_eq!(found, [wanted], "{text}");
    }
    assert_eq!(said("lb.yaml", ""), nothing);
    assert_eq!(said("pool.yaml", POOL), nothing);
    assert_eq!(said("web.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n"), nothing);
    assert_eq!(said("kustomization.yaml", "resources: [pool.yaml]\n"), nothing);
    assert_eq!(said("lb.yaml", "controller: {replicas: 2}\n"), nothing);
    assert_eq!(found(&[("lb.yaml", "controller: true\n")]), nothing, "nobody named it");
}

#[test]
fn annotations_that_a_chart_hands_on_are_judged_too() {
    let values = "service:\n  annotations:\n    metallb.universe.tf/loadBalancer-class: metallb\n    other.io/a: b\n";
    assert_eq!(found(&[("traefik.yaml", values)]), ["traefik.yaml:3:5 LB2001"]);
    let application = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: traefik}\nspec:\n  source:\n    chart: traefik\n    helm:\n      values: |\n        service:\n          annotations:\n            metallb.io/adress-pool: p\n";
    assert_eq!(found(&[("app.yaml", application)]), ["app.yaml:11:13 LB2001"]);
}

#[test]
fn a_pool_without_a_namespace_is_named_unless_argo_cd_or_kustomize_fills_it_in() {
    let pool = POOL.replace("  namespace: metallb-system\n", "");
    assert_eq!(found(&[("m/pool.yaml", &pool), ("l2.yaml", L2)]), ["m/pool.yaml:4:3 LB0008"]);
    let config = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: c}\nspec:\n  destination: {namespace: metallb-system}\n  source: {path: m}\n";
    assert_eq!(found(&[("m/pool.yaml", &pool), ("l2.yaml", L2), ("app.yaml", config)]), Vec::<String>::new());
    let kustomize = "namespace: metallb-system\nresources: [pool.yaml]\n";
    let files = [("m/pool.yaml", pool.as_str()), ("l2.yaml", L2), ("m/kustomization.yaml", kustomize)];
    assert_eq!(found(&files), Vec::<String>::new());
    let elsewhere = POOL.replace("namespace: metallb-system", "namespace: default");
    assert_eq!(found(&[("pool.yaml", &elsewhere)]), ["pool.yaml:5:14 LB0008"]);
}

#[test]
fn the_namespace_is_the_one_that_the_chart_is_installed_into() {
    let pool = POOL.replace("metallb-system", "lb");
    let review = review(&written(&[("app.yaml", APPLICATION), ("pool.yaml", &pool)]), None);
    assert_eq!((review.namespace.as_str(), review.objects.pools.len()), ("lb", 1));
}

#[test]
fn kustomize_patches_are_no_objects() {
    let patch = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p}\nspec: {autoAssign: false}\n";
    let kustomization = "resources: [pool.yaml, l2.yaml]\npatches:\n- path: patch.yaml\n";
    let files =
        [("b/pool.yaml", POOL), ("b/l2.yaml", L2), ("b/patch.yaml", patch), ("b/kustomization.yaml", kustomization)];
    assert_eq!(found(&files), Vec::<String>::new());
    // Whoever asks what the files come to hears that the change is not in the answer.
    let left_out = |files: &[(&str, &str)]| {
        let review = review(&written(files), None);
        review.unread().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let said = left_out(&files);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("b/kustomization.yaml:3:3: LB0010") && said[0].contains("kustomize build b |"));
    let inline = "resources: [pool.yaml, l2.yaml]\npatches:\n- target: {kind: Deployment}\n  patch: |\n    - op: add\n";
    assert_eq!(left_out(&[("b/pool.yaml", POOL), ("b/l2.yaml", L2), ("b/kustomization.yaml", inline)]), [""; 0]);
    let pools = inline.replace("Deployment", "IPAddressPool");
    assert_eq!(left_out(&[("b/pool.yaml", POOL), ("b/l2.yaml", L2), ("b/kustomization.yaml", &pools)]).len(), 1);
}

#[test]
fn a_file_that_was_named_and_has_no_object_is_told_to_whoever_asks_what_it_comes_to() {
    for text in ["# read me\n", "A project for everybody.\n", "a: 1\n", "{{ template }}: {\n"] {
        let mut files = written(&[("README.md", text)]);
        assert_eq!(review(&files, None).unread(), [], "{text}");
        files[0].named = true;
        let review = review(&files, None);
        let said = review.unread();
        assert!(review.is_empty() && said.len() == 1 && said[0].location.is_some(), "{text} {said:?}");
    }
}

#[test]
fn a_namespace_that_refuses_the_speaker_is_an_error() {
    let namespace =
        |labels: &str| format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: metallb-system\n{labels}");
    let strict = namespace("  labels: {pod-security.kubernetes.io/enforce: restricted}\n");
    let review = review(&written(&[("ns.yaml", &strict)]), None);
    assert_eq!((review.findings[0].code, review.findings[0].severity), (Code::PodSecurityForbids, Severity::Error));
    assert_eq!(found(&[("ns.yaml", &namespace(""))]), ["ns.yaml:3:1 LB0051"]);
    let good = namespace("  labels: {pod-security.kubernetes.io/enforce: privileged}\n");
    assert_eq!(found(&[("ns.yaml", &good)]), Vec::<String>::new());
}

#[test]
fn an_object_defined_twice_is_said_for_our_kinds() {
    assert_eq!(found(&[("a.yaml", POOL), ("b.yaml", POOL), ("l2.yaml", L2)]), ["b.yaml:1:1 LB0007"]);
    assert_eq!(found(&[("one/svc.yaml", SERVICE), ("two/svc.yaml", SERVICE)]), Vec::<String>::new());
}

#[test]
fn a_repository_that_announces_by_bgp_is_sound_and_what_is_not_done_yet_is_named_at_its_field() {
    let peer = "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {name: tor, namespace: metallb-system}\n\
                spec:\n  myASN: 64512\n  peerASN: 64513\n  peerAddress: 10.0.0.1\n  passwordSecret: {name: encrypted}\n";
    let advertisement = L2.replace("L2Advertisement", "BGPAdvertisement") + "spec: {communities: [of-another-file]}\n";
    let files = [("pool.yaml", POOL), ("peer.yaml", peer), ("bgp.yaml", advertisement.as_str()), ("svc.yaml", SERVICE)];
    assert_eq!(found(&files), Vec::<String>::new());
    let watched = format!("{peer}  bfdProfile: fast\n");
    assert_eq!(found(&[("peer.yaml", &watched)]), ["peer.yaml:9:3 LB4310"]);
    let profile =
        "apiVersion: metallb.io/v1beta1\nkind: BFDProfile\nmetadata: {name: fast, namespace: metallb-system}\n";
    assert_eq!(found(&[("peer.yaml", &watched), ("bfd.yaml", profile)]), Vec::<String>::new());
    let elsewhere = format!("{watched}  vrf: red\n");
    assert_eq!(found(&[("peer.yaml", &elsewhere), ("bfd.yaml", profile)]), ["peer.yaml:9:3 LB0010"]);
    let without = [("pool.yaml", POOL), ("bgp.yaml", advertisement.as_str()), ("svc.yaml", SERVICE)];
    assert_eq!(found(&without), Vec::<String>::new(), "where the peers are is not known");
}
