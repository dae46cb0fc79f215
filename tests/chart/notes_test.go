package chart_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// notes are what an installation says.
func notes(t testing.TB, program string, values ...string) string {
	t.Helper()
	args := append([]string{"install", "metallb", chart, "--namespace=metallb-system", "--dry-run=client"}, values...)
	out, complaint, err := helm(t, program, args...)
	_, said, ok := strings.Cut(out, "NOTES:\n")
	if err != nil || !ok {
		t.Fatalf("%v: %s%s", err, out, complaint)
	}
	return said
}

// T18: a value that is misspelt renders, and is named.
func TestValuesThatDoNothingAreNamedWithTheNearestRightOne(t *testing.T) {
	for value, wanted := range map[string]string{
		"ignore-exclude-lb=true":                           "ignore-exclude-lb: not a value of this chart. Did you mean speaker.ignoreExcludeLB?",
		"speaker.ignoreExcludelb=true":                     "speaker.ignoreExcludelb: not a value of this chart. Did you mean speaker.ignoreExcludeLB?",
		"speakr.logLevel=debug":                            "speakr: not a value of this chart. Did you mean speaker?",
		"controller.tolerationz=x":                         "controller.tolerationz: not a value of this chart. Did you mean controller.tolerations?",
		"speaker.memberlist.enabeld=true":                  "speaker.memberlist.enabeld: not a value of this chart. Did you mean speaker.memberlist.enabled?",
		"loadbalancer_class=x":                             "loadbalancer_class: not a value of this chart. Did you mean loadBalancerClass?",
		"fullNameOverride=x":                               "fullNameOverride: not a value of this chart. Did you mean fullnameOverride?",
		"banana=1":                                         "banana: not a value of this chart. Remove it.",
		"speaker.hostNetwork=true":                         "speaker.hostNetwork: not a value of this chart or of MetalLB's. The speakers always use the node's network. Remove it.",
		"podSecurityPolicy.enabled=false":                  "podSecurityPolicy: not a value of this chart. Kubernetes has had no PodSecurityPolicy since 1.25",
		"prometheus.rbacProxy.tag=v1":                      "prometheus.rbacProxy: the metrics endpoint checks for itself",
		"prometheus.speakerMetricsTLSSecret=x":             "prometheus.speakerMetricsTLSSecret: not a value of this chart. Did you mean tls.speakerMetricsTLSSecret?",
		"speaker.frr.enabled=true":                         "speaker.frr.enabled: no FRR and no frr-k8s is installed or needed",
		"frrk8s.enabled=true":                              "frrk8s.enabled: no FRR",
		"frrk8s.external=true":                             "frrk8s.external: no FRR",
		"banana=":                                          "banana: not a value of this chart. Remove it.",
		"speaker.tolerationz=":                             "speaker.tolerationz: not a value of this chart. Did you mean speaker.tolerations?",
		"speaker.wanConfig=true":                           "speaker.wanConfig: chooses timers of MetalLB's memberlist",
		"speaker.bgpDebounceTimeout=10":                    "speaker.bgpDebounceTimeout: delayed reloads of FRR",
		"speaker.image.tag=v0.14.8":                        "speaker.image.tag: v0.14.8 looks like a version of MetalLB",
		"controller.readinessProbe.port=1":                 "controller.readinessProbe.port: both probes use controller.livenessProbe.port (17472)",
		"speaker.image.repository=quay.io/metallb/speaker": "speaker.image: quay.io/metallb/speaker is MetalLB's own program",
	} {
		deployment := find(t, objects(t, render(t, "--set="+value)), "Deployment/metallb-controller")
		said, _ := at(deployment, "metadata", "annotations", "ferrolb.io/values-without-effect").(string)
		if !strings.HasPrefix(said, wanted) || strings.Contains(said, "\n") {
			t.Errorf("%s: %q", value, said)
		}
	}
}

// Helm 4 shows notes without a cluster. Helm 3 needs one: the cluster tests look at what it shows.
func TestTheNotesShowThem(t *testing.T) {
	program := helms(t)["HELM4"]
	said := notes(t, program, "--values="+valuesOf(t, usersApplication))
	for _, wanted := range []string{"podSecurityPolicy: ", "speaker.hostNetwork: ", "metallb-system pod-security.kubernetes.io/enforce=privileged"} {
		if !strings.Contains(said, wanted) {
			t.Errorf("no %q in:\n%s", wanted, said)
		}
	}
	if strings.Contains(said, "FRR") {
		t.Errorf("FRR is off in these values, but it says:\n%s", said)
	}
	if said := notes(t, program); strings.Contains(said, "do nothing") {
		t.Errorf("the defaults do nothing?\n%s", said)
	}
}

func TestAcceptedValuesAreNotNamed(t *testing.T) {
	for _, values := range [][]string{nil, {"--values=testdata/everything.yaml"}, {"--values=testdata/pod-monitor.yaml"}, {"--set=global.x=1"}, {"--set=frr-k8s.prometheus.metricsPort=1"}, {"--set=frrk8s.namespace=x"}, {"--set=speaker.frr.metricsPort=1"}, {"--set=controller.command=/controller"}} {
		deployment := find(t, objects(t, render(t, values...)), "Deployment/metallb-controller")
		if said := at(deployment, "metadata", "annotations"); said != nil {
			t.Errorf("%v: %v", values, said)
		}
	}
}

func TestAWrongTypeIsNamed(t *testing.T) {
	for value, wanted := range map[string][]string{
		"speaker.frr=yes":                              {"speaker/frr", "speaker.frr"},
		"speaker.ignoreExcludeLB=maybe":                {"ignoreExcludeLB"},
		"controller.tolerations.a=1":                   {"controller", "tolerations"},
		"speaker.logLevel=loud":                        {"logLevel"},
		"prometheus.metricsPort=https":                 {"metricsPort"},
		"crds.validationFailurePolicy=Never":           {"validationFailurePolicy"},
		"prometheus.prometheusRule.extraAlerts=string": {"extraAlerts"},
		"prometheus.metricsPort=70000":                 {"metricsPort"},
		"controller.livenessProbe.port=http":           {"livenessProbe"},
		"speaker.memberlist.mlBindPort=0":              {"mlBindPort"},
		"speaker.tolerations[0]=edge":                  {"tolerations"},
		"speaker.nodeSelector.a.b=c":                   {"nodeSelector"},
		"controller.podAnnotations.a[0]=c":             {"podAnnotations"},
		"controller.labels.a.b=c":                      {"labels"},
		"controller.image.pullPolicy=Sometimes":        {"pullPolicy"},
		"prometheus.prometheusRule.addressPoolUsage.thresholds[0].labels.severity=x":  {"thresholds"},
		"prometheus.prometheusRule.addressPoolUsage.thresholds[0].percent=full":       {"thresholds"},
		"prometheus.prometheusRule.staleConfig.labels.a.b=c":                          {"labels"},
		"prometheus.serviceMonitor.speaker.tlsConfig=yes,prometheus.rbacPrometheus=x": {"tlsConfig", "rbacPrometheus"},
	} {
		complaint := refused(t, "--set="+value)
		found := false
		for _, name := range wanted {
			found = found || strings.Contains(complaint, name)
		}
		if !found {
			t.Errorf("%s: %s", value, complaint)
		}
	}
}

func TestContradictionsAreRefusedWithWhatToDo(t *testing.T) {
	for values, wanted := range map[string]string{
		"configInline.peers=x": "Write IPAddressPool and L2Advertisement objects instead",
		"prometheus.podMonitor.enabled=true,prometheus.serviceMonitor.enabled=true": "set one of them to false",
		"prometheus.podMonitor.enabled=true":                                        "prometheus.serviceAccount is empty: name the scraper's service account",
		"prometheus.podMonitor.enabled=true,prometheus.serviceAccount=x":            "prometheus.namespace is empty: name the scraper's namespace",
		"speaker.memberlist.enabled=false,speaker.nodeSelector.a=b":                 "remove one of the two",
	} {
		if complaint := refused(t, "--set="+values); !strings.Contains(complaint, wanted) || !strings.Contains(complaint, "LB3003") {
			t.Errorf("%s: %s", values, complaint)
		}
	}
}

func TestMetalLBsOwnCommandsMeanOurs(t *testing.T) {
	all := objects(t, render(t, "--set=controller.command=/controller,speaker.command=/wrapper"))
	controller, speaker := container(t, all, "Deployment/metallb-controller"), container(t, all, "DaemonSet/metallb-speaker")
	if at(controller, "command") != nil || words(at(controller, "args"))[0] != "controller" {
		t.Errorf("%v %v", at(controller, "command"), at(controller, "args"))
	}
	if got := words(at(speaker, "command")); len(got) != 1 || got[0] != "/wrapper" || !strings.HasPrefix(words(at(speaker, "args"))[0], "--") {
		t.Errorf("%v %v", got, at(speaker, "args"))
	}
}

// What MetalLB's schema leaves open, or its templates take, is taken, with the effect that it has there.
func TestWhatMetalLBsChartTakesIsTaken(t *testing.T) {
	pod := []any{"spec", "template", "spec"}
	for _, one := range []struct {
		set, title, wanted string
		path               []any
	}{
		{"controller.livenessProbe.port=\"18000\"", "Deployment/metallb-controller", `18000`, append(pod, "containers", 0, "ports", 2, "containerPort")},
		{"speaker.livenessProbe.port=\"18000\"", "DaemonSet/metallb-speaker", `18000`, append(pod, "containers", 0, "livenessProbe", "httpGet", "port")},
		{"controller.nodeSelector={\"ssd\":true,\"zone\":1,\"none\":null}", "Deployment/metallb-controller", `{"kubernetes.io/os":"linux","ssd":"true","zone":"1"}`, append(pod, "nodeSelector")},
		{"speaker.podAnnotations={\"a\":1234567}", "DaemonSet/metallb-speaker", `{"a":"1234567"}`, []any{"spec", "template", "metadata", "annotations"}},
		{"speaker.labels={\"a\":null,\"b\":false}", "DaemonSet/metallb-speaker", `"false"`, []any{"metadata", "labels", "b"}},
		{"controller.labels=\"\"", "Deployment/metallb-controller", `null`, []any{"metadata", "labels", "a"}},
		{"controller.strategy=null", "Deployment/metallb-controller", `null`, []any{"spec", "strategy"}},
		{"controller.securityContext=null", "Deployment/metallb-controller", `{"seccompProfile":{"type":"RuntimeDefault"}}`, append(pod, "securityContext")},
		{"speaker.updateStrategy=null", "DaemonSet/metallb-speaker", `null`, []any{"spec", "updateStrategy"}},
		{"speaker.nodeSelector=null", "DaemonSet/metallb-speaker", `{"kubernetes.io/os":"linux"}`, append(pod, "nodeSelector")},
		{"networkpolicies={\"enabled\":\"true\",\"apiPort\":\"443\"}", "NetworkPolicy/controller", `443`, []any{"spec", "egress", 0, "ports", 0, "port"}},
		{"tls.curvePreferences=29", "Deployment/metallb-controller", `"--tls-curve-preferences=29"`, append(pod, "containers", 0, "args", 5)},
	} {
		all := objects(t, render(t, "--set-json="+one.set))
		if got, _ := json.Marshal(at(find(t, all, one.title), one.path...)); string(got) != one.wanted {
			t.Errorf("%s: %v is %s, not %s", one.set, one.path, got, one.wanted)
		}
	}
}

func TestANullTakesAwayWhatMonitorsAndAlertsHaveByDefault(t *testing.T) {
	out := render(t, "--values=testdata/everything.yaml", "--set-json=prometheus.serviceMonitor.speaker.tlsConfig=null", "--set-json=prometheus.serviceMonitor.interval=30",
		"--set-json=prometheus.prometheusRule.staleConfig.labels=null", "--set-json=prometheus.prometheusRule.addressPoolUsage.thresholds=null")
	all := objects(t, out)
	endpoint := at(find(t, all, "ServiceMonitor/metallb-speaker-monitor"), "spec", "endpoints", 0)
	if at(endpoint, "tlsConfig") != nil || at(endpoint, "interval") != 30 {
		t.Errorf("%v", endpoint)
	}
	if other := at(find(t, all, "ServiceMonitor/metallb-controller-monitor"), "spec", "endpoints", 0, "tlsConfig"); other == nil {
		t.Error("the controller's monitor lost its own")
	}
	rules := at(find(t, all, "PrometheusRule/metallb"), "spec", "groups", 0, "rules").([]any)
	if at(rules[0], "alert") != "MetalLBStaleConfig" || at(rules[0], "labels") != nil {
		t.Errorf("%v", rules[0])
	}
	if strings.Contains(out, "MetalLBAddressPoolUsage") {
		t.Error("thresholds that were taken away are there")
	}
	// As upstream, the Services have the annotations of their monitors.
	service := at(find(t, all, "Service/metallb-speaker-monitor-service"), "metadata", "annotations")
	if got, _ := json.Marshal(service); string(got) != `{"example.org/a":"b","prometheus.io/scheme":"https","prometheus.io/scrape":"true"}` {
		t.Errorf("%s", got)
	}
}
