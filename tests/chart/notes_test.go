package chart_test

import (
	"encoding/json"
	"os"
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
		"speaker.frr.enabled=true":                         "speaker.frr.enabled: no FRR and no frr-k8s is installed or needed",
		"frrk8s.enabled=true":                              "frrk8s.enabled: no FRR",
		"frrk8s.external=true":                             "frrk8s.external: no FRR",
		"banana=":                                          "banana: not a value of this chart. Remove it; `helm show values` lists the values that exist. (LB3001)",
		"speaker.tolerationz=":                             "speaker.tolerationz: not a value of this chart. Did you mean speaker.tolerations?",
		"speaker.wanConfig=true":                           "speaker.wanConfig: chooses timers of MetalLB's memberlist",
		"speaker.bgpDebounceTimeout=10":                    "speaker.bgpDebounceTimeout: delayed reloads of FRR",
		"speaker.image.tag=v0.14.8":                        "speaker.image.tag: v0.14.8 looks like a version of MetalLB",
		"controller.readinessProbe.port=1":                 "controller.readinessProbe.port: both probes use controller.livenessProbe.port (17472)",
		"speaker.image.repository=quay.io/metallb/speaker": "speaker.image.repository: quay.io/metallb/speaker is MetalLB's image, which this chart cannot run; FerroLB's is used, ghcr.io/ferrolb/ferrolb:v0.1.0. Remove speaker.image. (LB3002)",
		"speaker.image.repository=harbor.local/quay.io/metallb/speaker":                    "speaker.image.repository: harbor.local/quay.io/metallb/speaker is MetalLB's image",
		"speaker.image.repository=docker.io/rancher/mirrored-metallb-speaker:v0.14.8":      "speaker.image.repository: docker.io/rancher/mirrored-metallb-speaker:v0.14.8 is MetalLB's image",
		"controller.image.repository=bitnami/metallb-controller,controller.image.tag=v1.0": "controller.image.repository: bitnami/metallb-controller is MetalLB's image",
		"speaker.securityContext.runAsUser=1000":                                           "speaker.securityContext.runAsUser: with runAsUser 1000 the capability NET_RAW does nothing, and the speaker cannot announce. Remove",
		"speaker.securityContext.runAsNonRoot=true":                                        "speaker.securityContext.runAsNonRoot: with runAsNonRoot true the capability NET_RAW does nothing",
	} {
		deployment := find(t, objects(t, render(t, "--set="+value)), "Deployment/metallb-controller")
		said, _ := at(deployment, "metadata", "annotations", "ferrolb.io/values-without-effect").(string)
		if !strings.HasPrefix(said, wanted) || strings.Contains(said, "\n") {
			t.Errorf("%s: %q", value, said)
		}
	}
}

// `ferrolb lint` answers the same names with the same words: crates/ferrolb-rules/src/values/tests.rs reads the same list.
func TestAWrongNameIsAnsweredAsLintAnswersIt(t *testing.T) {
	text, err := os.ReadFile("testdata/hints/hints.txt")
	if err != nil {
		t.Fatal(err)
	}
	var set []string
	wanted := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		name, hint, _ := strings.Cut(line, " = ")
		set = append(set, "--set="+name+"=x")
		name = strings.ReplaceAll(name, `\.`, ".")
		wanted[name] = name + ": not a value of this chart. " + strings.ToUpper(hint[:1]) + hint[1:] + ". (LB3001)"
	}
	deployment := find(t, objects(t, render(t, set...)), "Deployment/metallb-controller")
	said, _ := at(deployment, "metadata", "annotations", "ferrolb.io/values-without-effect").(string)
	for _, line := range strings.Split(said, "\n") {
		name, _, _ := strings.Cut(line, ": ")
		if wanted[name] != line {
			t.Errorf("%q instead of %q", line, wanted[name])
		}
		delete(wanted, name)
	}
	if len(wanted) > 0 {
		t.Errorf("nothing is said of %v", wanted)
	}
}

// Whose image it is decides what runs: a registry says nothing.
func TestImagesOfMetalLBAreReplacedAndOthersAreNot(t *testing.T) {
	for repository, wanted := range map[string]string{
		"harbor.local/quay.io/metallb/speaker":               "ghcr.io/ferrolb/ferrolb:v0.1.0",
		"docker.io/rancher/mirrored-metallb-speaker:v0.14.8": "ghcr.io/ferrolb/ferrolb:v0.1.0",
		"harbor.local/metallb/ferrolb":                       "harbor.local/metallb/ferrolb:v0.1.0",
		"metallb.example.org/speaker":                        "metallb.example.org/speaker:v0.1.0",
		"registry.example.org:5000/lb":                       "registry.example.org:5000/lb:v0.1.0",
	} {
		all := objects(t, render(t, "--set=speaker.image.repository="+repository))
		if got := at(container(t, all, "DaemonSet/metallb-speaker"), "image"); got != wanted {
			t.Errorf("%s: %v", repository, got)
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
		"prometheus.podMonitor.enabled=true,prometheus.serviceMonitor.enabled=true":      "set one of them to false",
		"prometheus.podMonitor.enabled=true":                                             "prometheus.serviceAccount is empty: name the scraper's service account",
		"prometheus.podMonitor.enabled=true,prometheus.serviceAccount=x":                 "prometheus.namespace is empty: name the scraper's namespace",
		"speaker.memberlist.enabled=false,speaker.nodeSelector.a=b":                      "remove one of the two",
		"speaker.image.repository=":                                                      "speaker.image.repository is empty",
		"controller.resources.limits.memory=128 MB":                                      `controller.resources.limits.memory is "128 MB", which is no quantity`,
		"speaker.resources.requests.cpu=-1":                                              `speaker.resources.requests.cpu is "-1"`,
		"controller.strategy.type=Recreate,controller.strategy.rollingUpdate.maxSurge=1": "controller.strategy has rollingUpdate, which the type Recreate does not allow",
		"speaker.updateStrategy.type=Recreate":                                           `speaker.updateStrategy.type is "Recreate"; it may be RollingUpdate or OnDelete`,
		"prometheus.metricsPort=7946":                                                    "prometheus.metricsPort and speaker.memberlist.mlBindPort are both 7946",
		"controller.enabled=false,prometheus.metricsPort=17472":                          "prometheus.metricsPort and speaker.livenessProbe.port are both 17472",
		"controller.webPage.enabled=true,controller.webPage.port=17472":                  "controller.livenessProbe.port and controller.webPage.port are both 17472",
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
		{"controller.resources={\"limits\":{\"memory\":134217728,\"cpu\":1.5,\"a/b\":\"2Ei\"}}", "Deployment/metallb-controller", `{"a/b":"2Ei","cpu":1.5,"memory":134217728}`, append(pod, "containers", 0, "resources", "limits")},
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
