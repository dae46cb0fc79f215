package chart_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestEveryHelmLintsAndRendersEverySetOfValues(t *testing.T) {
	for name, values := range every(t) {
		var first string
		for _, helmName := range slices.Sorted(maps.Keys(helms(t))) {
			program := helms(t)[helmName]
			if out, complaint, err := helm(t, program, append([]string{"lint", "--strict", "--kube-version=" + newest, chart}, values...)...); err != nil {
				t.Errorf("%s lint, %s: %v: %s%s", helmName, name, err, out, complaint)
			}
			once, complaint, err := helm(t, program, template(newest, values...)...)
			if err != nil {
				t.Errorf("%s template, %s: %v: %s", helmName, name, err, complaint)
			}
			again, _, _ := helm(t, program, template(newest, values...)...)
			if len(once) < 1000 || once != again {
				t.Errorf("%s, %s: %d bytes, then %d others", helmName, name, len(once), len(again))
			}
			// Versions of Helm differ by blank lines and by the order of kinds.
			var parts []string
			for _, one := range objects(t, once) {
				text, err := json.Marshal(one)
				if err != nil {
					t.Fatal(err)
				}
				parts = append(parts, string(text))
			}
			slices.Sort(parts)
			all := strings.Join(parts, "\n")
			if first != "" && first != all {
				t.Errorf("%s: the two versions of Helm render something different", name)
			}
			first = all
		}
	}
}

// T19: nothing is added by default, least of all a privileged workload.
func TestALayer2UserGetsTwentyFiveObjects(t *testing.T) {
	for name, values := range every(t) {
		if name != "defaults" && name != "the first user's" && !strings.HasPrefix(name, "metallb-") {
			continue
		}
		count := 0
		for _, one := range objects(t, render(t, values...)) {
			if !strings.HasPrefix(one.title(), "ValidatingAdmissionPolicy") {
				count++
			}
		}
		if count > 25 {
			t.Errorf("%s: %d objects", name, count)
		}
	}
}

func TestTheAdmissionPolicyIsLeftOutWhereKubernetesHasNone(t *testing.T) {
	for kubernetes, wanted := range map[string]int{"1.29.9": 25, "1.30.0": 27, "1.32.3+k3s1": 27} {
		out, complaint, err := helm(t, helms(t)["HELM3"], template(kubernetes)...)
		if err != nil {
			t.Fatal(complaint)
		}
		if count := len(objects(t, out)); count != wanted {
			t.Errorf("%s: %d objects, not %d", kubernetes, count, wanted)
		}
	}
}

// Who installs the definitions first, by a release or an Application of their own, needs nothing of the rest.
func TestTheDefinitionsAreAChartOfTheirOwn(t *testing.T) {
	for name, program := range helms(t) {
		out, complaint, err := helm(t, program, "template", "metallb-crds", chart+"/charts/crds", "--namespace=elsewhere", "--set=namespace=metallb-system", "--kube-version="+oldest)
		if err != nil {
			t.Fatalf("%s: %v: %s", name, err, complaint)
		}
		all := objects(t, out)
		converts := at(find(t, all, "CustomResourceDefinition/bgppeers.metallb.io"), "spec", "conversion", "webhook", "clientConfig", "service", "namespace")
		if len(all) != 9 || converts != "metallb-system" {
			t.Errorf("%s: %d definitions, converted in %v", name, len(all), converts)
		}
	}
	rest := objects(t, render(t, "--set=crds.enabled=false"))
	for _, one := range rest {
		if one["kind"] == "CustomResourceDefinition" {
			t.Errorf("%s is in both", one.title())
		}
	}
}

func TestNamesAndLabelsAreThoseOfMetalLBsChart(t *testing.T) {
	all := objects(t, render(t))
	for _, title := range []string{
		"Deployment/metallb-controller", "DaemonSet/metallb-speaker", "Secret/metallb-webhook-cert", "Service/metallb-webhook-service",
		"ValidatingWebhookConfiguration/metallb-webhook-configuration", "ConfigMap/metallb-excludel2", "ServiceAccount/metallb-controller",
		"ServiceAccount/metallb-speaker", "ClusterRole/metallb:controller", "ClusterRole/metallb:speaker", "ClusterRoleBinding/metallb:controller",
		"ClusterRoleBinding/metallb:speaker", "Role/metallb-pod-lister", "Role/metallb-controller", "RoleBinding/metallb-pod-lister",
		"RoleBinding/metallb-controller", "CustomResourceDefinition/ipaddresspools.metallb.io",
	} {
		one := find(t, all, title)
		if strings.HasPrefix(title, "CustomResource") {
			continue
		}
		labels := at(one, "metadata", "labels")
		for key, wanted := range map[string]string{
			"helm.sh/chart": "metallb-0.1.0", "app.kubernetes.io/name": "metallb", "app.kubernetes.io/instance": "metallb",
			"app.kubernetes.io/version": "v0.1.0", "app.kubernetes.io/managed-by": "Helm",
		} {
			if at(labels, key) != wanted {
				t.Errorf("%s: label %s is %v", title, key, at(labels, key))
			}
		}
		cluster := strings.HasPrefix(title, "Cluster") || strings.HasPrefix(title, "Validating")
		if namespace := at(one, "metadata", "namespace"); (namespace == nil) != cluster || !cluster && namespace != "metallb-system" {
			t.Errorf("%s is in %v", title, namespace)
		}
	}
	// A selector cannot be changed: with another one, an upgrade from MetalLB's chart is refused.
	for component, title := range map[string]string{"controller": "Deployment/metallb-controller", "speaker": "DaemonSet/metallb-speaker"} {
		want := map[string]any{"app.kubernetes.io/name": "metallb", "app.kubernetes.io/instance": "metallb", "app.kubernetes.io/component": component}
		workload := find(t, all, title)
		if got := at(workload, "spec", "selector", "matchLabels"); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s selects %v", title, got)
		}
		if got := at(workload, "spec", "template", "metadata", "labels"); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s labels its pods %v", title, got)
		}
	}
}

func TestAnotherReleaseNameGivesMetalLBsNames(t *testing.T) {
	for _, one := range []struct{ release, value, wanted string }{
		{"lb", "nameOverride=", "lb-metallb-controller"},
		{"my-metallb", "nameOverride=", "my-metallb-controller"},
		{"lb", "nameOverride=other", "lb-other-controller"},
		{"lb", "fullnameOverride=all", "all-controller"},
	} {
		out, complaint, err := helm(t, helms(t)["HELM3"], "template", one.release, chart, "--kube-version="+newest, "--set", one.value)
		if err != nil {
			t.Fatal(complaint)
		}
		find(t, objects(t, out), "Deployment/"+one.wanted)
	}
}

// `helm upgrade --reuse-values` replaces the chart's default values by those of the chart that was there before.
func TestMetalLBsDefaultsInPlaceOfOursGiveTheSame(t *testing.T) {
	for _, version := range []string{"0.14.8", "0.16.1"} {
		file := "testdata/metallb-" + version + "-defaults.yaml"
		values, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		copied := t.TempDir() + "/metallb"
		if err := os.CopyFS(copied, os.DirFS(chart)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied+"/values.yaml", values, 0o600); err != nil {
			t.Fatal(err)
		}
		args := template(newest)
		args[2] = copied
		out, complaint, err := helm(t, helms(t)["HELM3"], args...)
		if wanted := render(t, "--values="+file); err != nil || out != wanted {
			t.Errorf("%s: %v %s: %d bytes, not %d", version, err, complaint, len(out), len(wanted))
		}
	}
}

func TestAPartOfASecurityContextCanBeTakenOut(t *testing.T) {
	all := objects(t, render(t, "--set=controller.securityContext.runAsUser=null,controller.securityContext.fsGroup=null"))
	context := at(find(t, all, "Deployment/metallb-controller"), "spec", "template", "spec", "securityContext")
	if at(context, "runAsUser") != nil || at(context, "fsGroup") != nil || at(context, "runAsNonRoot") != true {
		t.Errorf("%v", context)
	}
}

// What a pod may do on its node: read and write frames, and nothing else.
func TestPodsHaveNoMorePrivilegeThanTheirWorkNeeds(t *testing.T) {
	for name, values := range every(t) {
		all := objects(t, render(t, values...))
		for title, capabilities := range map[string][]string{"Deployment/metallb-controller": nil, "DaemonSet/metallb-speaker": {"NET_RAW"}} {
			security := at(container(t, all, title), "securityContext")
			if got := words(at(security, "capabilities", "add")); !slices.Equal(got, capabilities) {
				t.Errorf("%s: %s adds %v", name, title, got)
			}
			if got := words(at(security, "capabilities", "drop")); !slices.Equal(got, []string{"ALL"}) {
				t.Errorf("%s: %s drops %v", name, title, got)
			}
			if at(security, "allowPrivilegeEscalation") != false || at(security, "readOnlyRootFilesystem") != true || at(security, "privileged") != nil {
				t.Errorf("%s: %s: %v", name, title, security)
			}
			pod := at(find(t, all, title), "spec", "template", "spec")
			profile := at(pod, "securityContext", "seccompProfile", "type")
			if wanted := "RuntimeDefault"; profile != wanted && !(name == "everything" && profile == "Unconfined") {
				t.Errorf("%s: %s: seccomp profile %v", name, title, profile)
			}
			volumes, _ := at(pod, "volumes").([]any)
			for _, volume := range volumes {
				if at(volume, "hostPath") != nil {
					t.Errorf("%s: %s mounts a path of the host", name, title)
				}
			}
			if seconds, _ := at(pod, "terminationGracePeriodSeconds").(int); seconds < 5 {
				t.Errorf("%s: %s has %d s to hand over", name, title, seconds)
			}
			if title == "Deployment/metallb-controller" && (at(pod, "hostNetwork") != nil || at(pod, "securityContext", "runAsNonRoot") != true) {
				t.Errorf("%s: the controller runs as %v", name, at(pod, "securityContext"))
			}
		}
	}
}

// T4: what is rendered twice is the same, and the API server has nothing to add that a comparison would find.
func TestNothingIsGeneratedLookedUpOrHooked(t *testing.T) {
	generated := regexp.MustCompile(`\b(lookup|genCA|genSelfSignedCert|genSignedCert|genPrivateKey|rand[A-Z]\w*|uuidv4|now|derivePassword|htpasswd)\b`)
	for _, directory := range []string{chart + "/templates", chart + "/charts/crds/templates"} {
		entries, err := os.ReadDir(directory)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			text, err := os.ReadFile(directory + "/" + entry.Name())
			if err != nil {
				t.Fatal(err)
			}
			for _, action := range regexp.MustCompile(`(?s)\{\{.*?\}\}`).FindAllString(string(text), -1) {
				if !strings.HasPrefix(action, "{{/*") && !strings.HasPrefix(action, "{{- /*") && generated.MatchString(action) {
					t.Errorf("%s: %s", entry.Name(), action)
				}
			}
			if strings.Contains(string(text), "helm.sh/hook") {
				t.Errorf("%s has a hook", entry.Name())
			}
		}
	}
	for name, values := range every(t) {
		if out := render(t, values...); strings.Contains(out, "caBundle:") {
			t.Errorf("%s: a caBundle is rendered", name)
		}
	}
}

// What the program is told is what the values say, each by the flag or the variable that MetalLB's chart has for it.
func TestValuesReachTheProgramsAsInMetalLBsChart(t *testing.T) {
	all := objects(t, render(t, "--values=testdata/everything.yaml"))
	shared := []string{
		"--port=9120", "--lb-class=example.org/metallb", "--metrics-cert-dir=/etc/metrics", "--tls-min-version=VersionTLS12",
		"--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "--tls-curve-preferences=29,23",
	}
	for title, wanted := range map[string][]string{
		"Deployment/metallb-controller": append([]string{"controller", "--log-level=debug", "--webhook-mode=enabled", "--health-probe-port=18000", "--web-page=[::]:8080"}, shared...),
		"DaemonSet/metallb-speaker": append([]string{
			"speaker", "--log-level=warn", "--health-probe-port=17472", "--state-dir=/var/lib/ferrolb", "--ignore-exclude-lb", "--announce-if-all-excluded=false", "--promiscuous=always",
			"--drain-on=cordon,taint:example.org/reboot", "--answer-ping",
		}, shared...),
	} {
		args := words(at(container(t, all, title), "args"))
		slices.Sort(args)
		slices.Sort(wanted)
		if !slices.Equal(args, wanted) {
			t.Errorf("%s is told %q, not %q", title, args, wanted)
		}
	}
	variables := func(title string) map[string]any {
		found := map[string]any{}
		for _, variable := range at(container(t, all, title), "env").([]any) {
			from, _ := at(variable, "valueFrom", "fieldRef", "fieldPath").(string)
			found[at(variable, "name").(string)] = from
			if from == "" {
				found[at(variable, "name").(string)] = at(variable, "value")
			}
		}
		return found
	}
	for title, wanted := range map[string]map[string]any{
		"Deployment/metallb-controller": {
			"METALLB_NAMESPACE": "metadata.namespace", "METALLB_POD_NAME": "metadata.name", "METALLB_ML_SECRET_NAME": "mine",
			"METALLB_DEPLOYMENT": "metallb-controller",
		},
		"DaemonSet/metallb-speaker": {
			"METALLB_NAMESPACE": "metadata.namespace", "METALLB_POD_NAME": "metadata.name", "METALLB_NODE_NAME": "spec.nodeName",
			"METALLB_HOST": "status.hostIP", "METALLB_ML_BIND_ADDR": "192.0.2.1", "METALLB_ML_BIND_PORT": "7947",
			"METALLB_ML_LABELS":          "app.kubernetes.io/name=metallb,app.kubernetes.io/component=speaker",
			"METALLB_ML_SECRET_KEY_PATH": "/etc/key", "METALLB_ML_SECRET_NAME": "mine",
		},
	} {
		if got := variables(title); fmt.Sprint(got) != fmt.Sprint(wanted) {
			t.Errorf("%s: %v, not %v", title, got, wanted)
		}
	}
}

// The web page is off unless asked for; then it is reached by kubectl port-forward alone, and the controller may read the Events that its timeline is made of.
func TestTheWebPageIsOffUnlessAskedForAndThenNotOpen(t *testing.T) {
	if out := render(t); strings.Contains(out, "web-page") {
		t.Errorf("the web page is on by default:\n%s", out)
	}
	all := objects(t, render(t, "--set=controller.webPage.enabled=true"))
	args := words(at(container(t, all, "Deployment/metallb-controller"), "args"))
	if !slices.Contains(args, "--web-page=127.0.0.1:7473") {
		t.Errorf("the controller is told %q", args)
	}
	rules, _ := json.Marshal(at(find(t, all, "ClusterRole/metallb:controller"), "rules"))
	if !strings.Contains(string(rules), `{"apiGroups":[""],"resources":["events"],"verbs":["list"]}`) {
		t.Errorf("the controller may do %s", rules)
	}
}

// Each value that decides about a pod or an object arrives where MetalLB's chart puts it.
func TestValuesReachTheObjectsAsInMetalLBsChart(t *testing.T) {
	all := objects(t, render(t, "--values=testdata/everything.yaml"))
	pod := []any{"spec", "template", "spec"}
	for _, one := range []struct {
		title, wanted string
		path          []any
	}{
		{"Deployment/metallb-controller", `2`, []any{"spec", "replicas"}},
		{"Deployment/metallb-controller", `"Recreate"`, []any{"spec", "strategy", "type"}},
		{"Deployment/metallb-controller", `"mine"`, append(pod, "serviceAccountName")},
		{"Deployment/metallb-controller", `"registry.example.org:5000/ferrolb:v9"`, append(pod, "containers", 0, "image")},
		{"Deployment/metallb-controller", `"Always"`, append(pod, "containers", 0, "imagePullPolicy")},
		{"Deployment/metallb-controller", `{"limits":{"memory":"256Mi"},"requests":{"cpu":"10m","memory":"32Mi"}}`, append(pod, "containers", 0, "resources")},
		{"Deployment/metallb-controller", `"side"`, append(pod, "containers", 1, "name")},
		{"Deployment/metallb-controller", `{"disk":"ssd","kubernetes.io/os":"linux"}`, append(pod, "nodeSelector")},
		{"Deployment/metallb-controller", `[{"key":"infra","operator":"Exists"}]`, append(pod, "tolerations")},
		{"Deployment/metallb-controller", `"system-cluster-critical"`, append(pod, "priorityClassName")},
		{"Deployment/metallb-controller", `"kata"`, append(pod, "runtimeClassName")},
		{"Deployment/metallb-controller", `[{"name":"registry"}]`, append(pod, "imagePullSecrets")},
		{"Deployment/metallb-controller", `"controller-metrics"`, append(pod, "volumes", 0, "secret", "secretName")},
		{"Deployment/metallb-controller", `"network"`, []any{"spec", "template", "metadata", "labels", "team"}},
		{"Deployment/metallb-controller", `{"example.org/a":"b","prometheus.io/port":"9120","prometheus.io/scheme":"https","prometheus.io/scrape":"true"}`,
			[]any{"spec", "template", "metadata", "annotations"}},
		{"ServiceAccount/mine", `{"example.org/a":"b"}`, []any{"metadata", "annotations"}},
		{"DaemonSet/metallb-speaker", `"OnDelete"`, []any{"spec", "updateStrategy", "type"}},
		{"DaemonSet/metallb-speaker", `[{"key":"edge","operator":"Exists"}]`, append(pod, "tolerations")},
		{"DaemonSet/metallb-speaker", `"mine"`, append(pod, "volumes", 0, "secret", "secretName")},
		{"DaemonSet/metallb-speaker", `"/etc/key"`, append(pod, "containers", 0, "volumeMounts", 0, "mountPath")},
		{"DaemonSet/metallb-speaker", `"system-node-critical"`, append(pod, "priorityClassName")},
		{"Role/metallb-controller", `["mine"]`, []any{"rules", 2, "resourceNames"}},
		{"NetworkPolicy/controller", `443`, []any{"spec", "egress", 0, "ports", 0, "port"}},
		{"NetworkPolicy/default-deny", `{}`, []any{"spec", "podSelector"}},
		{"ServiceMonitor/metallb-speaker-monitor", `"prometheus"`, []any{"metadata", "labels", "release"}},
		{"ServiceMonitor/metallb-controller-monitor", `"metallb-controller-monitor-service"`, []any{"spec", "selector", "matchLabels", "name"}},
		{"ServiceMonitor/metallb-speaker-monitor", `"30s"`, []any{"spec", "endpoints", 0, "interval"}},
		{"Service/metallb-speaker-monitor-service", `"None"`, []any{"spec", "clusterIP"}},
		{"Role/metallb-prometheus", `["pods","services","endpoints"]`, []any{"rules", 0, "resources"}},
		{"ConfigMap/metallb-dashboard", `"1"`, []any{"metadata", "labels", "grafana_dashboard"}},
	} {
		if got, _ := json.Marshal(at(find(t, all, one.title), one.path...)); string(got) != one.wanted {
			t.Errorf("%s: %v is %s, not %s", one.title, one.path, got, one.wanted)
		}
	}
	for mode, policy := range map[string]string{"Fail": "Fail", "Ignore": "Ignore"} {
		all := objects(t, render(t, "--set=crds.validationFailurePolicy="+mode))
		hooks := at(find(t, all, "ValidatingWebhookConfiguration/metallb-webhook-configuration"), "webhooks").([]any)
		for _, hook := range hooks {
			if at(hook, "failurePolicy") != policy {
				t.Errorf("%v: %v", at(hook, "name"), at(hook, "failurePolicy"))
			}
		}
	}
}

// The verbs are those of deploy/, which is rendered from this chart, and every cluster test runs under them. Here is what they may never hold.
func TestRightsAreNoWiderThanTheWork(t *testing.T) {
	for _, one := range objects(t, render(t)) {
		kind := fmt.Sprint(one["kind"])
		if kind != "ClusterRole" && kind != "Role" {
			continue
		}
		for _, rule := range at(one, "rules").([]any) {
			resources, verbs := words(at(rule, "resources")), words(at(rule, "verbs"))
			if slices.Contains(resources, "*") || slices.Contains(verbs, "*") || slices.Contains(words(at(rule, "apiGroups")), "*") {
				t.Errorf("%s: %v", one.title(), rule)
			}
			reads := slices.Contains(verbs, "get") || slices.Contains(verbs, "list")
			// A speaker does not know beforehand which Secrets peers have their passwords from: it may list those of the namespace, and no more.
			passwords := one.title() == "Role/metallb-pod-lister" && slices.Equal(verbs, []string{"list", "watch"})
			if slices.Contains(resources, "secrets") && (kind == "ClusterRole" || reads && at(rule, "resourceNames") == nil && !passwords) {
				t.Errorf("%s reads secrets that are not its own: %v", one.title(), rule)
			}
			if kind == "ClusterRole" && slices.Contains(resources, "pods") {
				t.Errorf("%s sees the pods of others", one.title())
			}
		}
	}
}

// As upstream: a policy that lets nothing through would cut the controller off if the one that lets it through were missing.
func TestADefaultDenyComesWithThePoliciesThatAllow(t *testing.T) {
	alone := render(t, "--set=networkpolicies.defaultDeny=true")
	if strings.Contains(alone, "kind: NetworkPolicy") {
		t.Error("default-deny stands alone")
	}
	with := render(t, "--set=networkpolicies.defaultDeny=true,networkpolicies.enabled=true")
	if count := strings.Count(with, "kind: NetworkPolicy"); count < 2 {
		t.Errorf("%d policies", count)
	}
}

func TestLabelsOfAComponentAreOnItsWorkloadAndItsPodsAndAreText(t *testing.T) {
	all := objects(t, render(t, "--set=controller.labels.a=1,speaker.labels.b=true"))
	for title, label := range map[string][2]string{"Deployment/metallb-controller": {"a", "1"}, "DaemonSet/metallb-speaker": {"b", "true"}} {
		one := find(t, all, title)
		for _, path := range [][]any{{"metadata", "labels", label[0]}, {"spec", "template", "metadata", "labels", label[0]}} {
			if value := at(one, path...); value != label[1] {
				t.Errorf("%s: %v is %#v", title, path, value)
			}
		}
	}
}

func TestAnEmptyConfigInlineIsNone(t *testing.T) {
	for _, empty := range []string{"--set-json=configInline={}", "--set=configInline=", "--set=configInline=null"} {
		render(t, empty)
	}
}
