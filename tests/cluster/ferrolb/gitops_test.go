package ferrolb_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

// helm is where scripts/cluster found or built Helm.
func helm(t testing.TB, name string) string {
	t.Helper()
	path := os.Getenv(name)
	if path == "" {
		t.Fatalf("%s does not say where Helm is: run scripts/cluster test", name)
	}
	return path
}

// As on Talos: pods that need privileges run only in namespaces that are labelled for it.
const podSecurity = `apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: PodSecurity
  configuration:
    apiVersion: pod-security.admission.config.k8s.io/v1
    kind: PodSecurityConfiguration
    defaults: {enforce: baseline, audit: restricted, warn: restricted}
`

func startBaseline(t testing.TB, nodes int) *system {
	t.Helper()
	admission := filepath.Join(t.TempDir(), "admission.yaml")
	if err := os.WriteFile(admission, []byte(podSecurity), 0o600); err != nil {
		t.Fatal(err)
	}
	c := cluster.StartNodes(t, cluster.Options{Nodes: nodes, APIServerFlags: []string{"--admission-control-config-file=" + admission}})
	s := &system{Cluster: c, secrets: t.TempDir(), speakers: map[string]*cluster.Process{}}
	// As the user's node is.
	s.Kubectl(t, "label", "nodes", "--all", "node-role.kubernetes.io/control-plane=")
	if err := c.LoadFerroLB(t.Context(), staticBinary(t), root+"deploy/metallb.yaml"); err != nil {
		t.Fatal(err)
	}
	return s
}

// host runs a program of this host, outside of the cluster.
func host(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=user", "GIT_AUTHOR_EMAIL=user@example.org", "GIT_COMMITTER_NAME=user", "GIT_COMMITTER_EMAIL=user@example.org")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// repositories are the user's git repository, as a file URL, and the chart's, served on the control plane's loopback.
func repositories(t testing.TB, s *system) (git, charts string) {
	t.Helper()
	platform := t.TempDir()
	if err := os.CopyFS(platform, os.DirFS(gitops)); err != nil {
		t.Fatal(err)
	}
	host(t, platform, "git", "init", "--quiet", "--initial-branch=main")
	host(t, platform, "git", "add", ".")
	host(t, platform, "git", "commit", "--quiet", "--message=as the user has it")
	folder := t.TempDir()
	program := helm(t, "HELM3")
	host(t, "", program, "package", root+"charts/metallb", "--destination", folder)
	charts = s.ControlPlane().Serve(t, folder)
	host(t, "", program, "repo", "index", folder, "--url", charts)
	return "file://" + platform, charts
}

// application is one of the user's, whose repository is where this test has it.
func application(t testing.TB, name, repository string) string {
	t.Helper()
	text, err := os.ReadFile(gitops + "apps/workloads/" + name + "/app.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, line := range strings.Split(string(text), "\n") {
		if before, _, ok := strings.Cut(line, "repoURL: "); ok {
			line = before + "repoURL: " + repository
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// awaitSynced waits until an Application is Synced and Healthy, and returns it.
func (s *system) awaitSynced(t testing.TB, name string, limit time.Duration) map[string]any {
	t.Helper()
	var last map[string]any
	for end := time.Now().Add(limit); ; time.Sleep(200 * time.Millisecond) {
		last = s.object(t, "-n", "argocd", "application", name)
		if at(last, "status", "sync", "status") == "Synced" && at(last, "status", "health", "status") == "Healthy" {
			return last
		}
		if time.Now().After(end) {
			t.Fatalf("%s is not Synced and Healthy after %v: %v %v\n%s\n%s\n%s", name, limit, at(last, "status", "sync", "status"), at(last, "status", "health"),
				s.Kubectl(t, "get", "-n", "argocd", "application", name, "-o", `jsonpath={range .status.resources[*]}{.kind}/{.name} {.status} {.health.status}{"\n"}{end}{.status.operationState.message}`),
				s.Kubectl(t, "get", "pods", "-A", "-o", "wide"), s.Kubectl(t, "get", "events", "-n", namespace))
		}
	}
}

// retries are how often Argo CD had to try again since it had written so much of its log, and what it said of the tries that failed.
func retries(argo *cluster.ArgoCD, since int, application string) (count int, said []string) {
	for _, line := range strings.Split(argo.Controller.Log()[since:], "\n") {
		var entry struct{ Application, Msg string }
		if json.Unmarshal([]byte(line), &entry) != nil || entry.Application != application {
			continue
		}
		if strings.Contains(entry.Msg, "Skipping retrying in-progress operation") {
			count++
		}
		if strings.Contains(entry.Msg, "status: 'SyncFailed'") && !slices.Contains(said, entry.Msg) {
			said = append(said, entry.Msg)
		}
	}
	return count, said
}

// The first user's two Applications, in every order, in a cluster as strict as the first user's.
func TestArgoCDSyncsTheUsersTwoApplications(t *testing.T) {
	s := startBaseline(t, 3)
	git, charts := repositories(t, s)
	argo := s.StartArgoCD(t, root+"deploy/argocd/argocd-cm.yaml", helm(t, "HELM3"))
	s.Apply(t, staticIPBackend)
	metallb, config := application(t, "metallb", charts), application(t, "metallb-config", git)
	t.Run("both at once", func(t *testing.T) {
		s.sync(t, argo, func() { s.Apply(t, metallb+"\n---\n"+config) })
		s.answers(t)
		s.staysSynced(t)
		s.overlapIsSeen(t, strings.TrimPrefix(git, "file://"))
		s.removeApplications(t)
	})
	t.Run("the configuration once the chart is synced", func(t *testing.T) {
		since := len(argo.Controller.Log())
		s.sync(t, argo, func() {
			s.Apply(t, metallb)
			cluster.Eventually(t, 60*time.Second, "the chart is synced", func() bool {
				return at(s.object(t, "-n", "argocd", "application", "metallb"), "status", "operationState", "phase") == "Succeeded"
			})
			s.Apply(t, config)
		})
		if count, said := retries(argo, since, "metallb-config"); count > 0 || said != nil {
			t.Errorf("not at the first try: %q", said)
		}
		s.answers(t)
		s.removeApplications(t)
	})
	t.Run("the configuration before the chart", func(t *testing.T) {
		s.sync(t, argo, func() {
			s.Apply(t, config)
			time.Sleep(3 * time.Second)
			s.Apply(t, metallb)
		})
		s.answers(t)
	})
}

// sync waits for both Applications. Argo CD has to try again where the kinds of the objects come later than these, with the chart; that a webhook does
// not answer must never be a reason, and the chart itself is synced at the first try.
func (s *system) sync(t *testing.T, argo *cluster.ArgoCD, apply func()) {
	began, since := time.Now(), len(argo.Controller.Log())
	apply()
	for _, name := range []string{"metallb", "metallb-config"} {
		s.awaitSynced(t, name, 180*time.Second)
		count, said := retries(argo, since, name)
		t.Logf("%s: Synced and Healthy after %.1f s; tried again: %t %q", name, time.Since(began).Seconds(), count > 0, said)
		if name == "metallb" && (count > 0 || said != nil) {
			t.Error("the chart was not synced at the first try")
		}
		for _, one := range said {
			if !strings.Contains(one, "metallb.io/v1beta1: the server could not find the requested resource") {
				t.Errorf("%s: %s", name, one)
			}
		}
	}
	if strings.Contains(argo.Controller.Log()[since:], "failed calling webhook") {
		t.Error("a webhook was in the way")
	}
}

// staticIPBackend is a pod for the user's Service static-ip, whose port is the pod's.
const staticIPBackend = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: static-ip}
spec:
  replicas: 2
  selector: {matchLabels: {app: static-ip}}
  template:
    metadata: {labels: {app: static-ip}}
    spec:
      securityContext: {sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: "0"}]}
      containers:
      - {name: page, image: "` + cluster.WebImage + `", imagePullPolicy: Never, args: [":80"]}
`

// answers asks for the user's Service from outside.
func (s *system) answers(t *testing.T) {
	s.ApplyFile(t, gitops+"services/static-ip.yaml")
	began := time.Now()
	s.awaitOwner(t, "192.168.1.205")
	cluster.Eventually(t, 30*time.Second, "192.168.1.205 answers", func() bool {
		body, err := s.Laptop().Get(t.Context(), "http://192.168.1.205/")
		return err == nil && strings.Contains(body, "static-ip-")
	})
	t.Logf("192.168.1.205 answers %.1f s after the Service was applied", time.Since(began).Seconds())
}

// staysSynced lets Argo CD compare ten times: nothing drifts, and nothing is synced again.
func (s *system) staysSynced(t *testing.T) {
	names := []string{"metallb", "metallb-config"}
	state := func(name string) map[string]any { return s.object(t, "-n", "argocd", "application", name) }
	for _, name := range names {
		cluster.Eventually(t, 30*time.Second, name+" has settled", func() bool { return at(state(name), "operation") == nil })
	}
	operations := map[string]any{}
	for round := range 10 {
		before := map[string]any{}
		for _, name := range names {
			before[name] = at(state(name), "status", "reconciledAt")
		}
		// A second is as fine as the clock in the status is.
		time.Sleep(time.Second)
		s.Kubectl(t, append(append([]string{"annotate", "-n", "argocd", "--overwrite", "application"}, names...), "argocd.argoproj.io/refresh=normal")...)
		for _, name := range names {
			var now map[string]any
			cluster.Eventually(t, 20*time.Second, name+" is compared again", func() bool {
				now = state(name)
				return at(now, "status", "reconciledAt") != before[name]
			})
			began := at(now, "status", "operationState", "startedAt")
			if round == 0 {
				operations[name] = began
			}
			if at(now, "status", "sync", "status") != "Synced" || at(now, "status", "health", "status") != "Healthy" || began != operations[name] {
				t.Fatalf("%s drifted: %v %v, synced at %v and at %v", name, at(now, "status", "sync", "status"), at(now, "status", "health"), operations[name], began)
			}
		}
	}
}

// twoWaves are a pool that nobody announces, and two seconds later or more who does.
const twoWaves = `
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: waves, namespace: metallb-system, annotations: {argocd.argoproj.io/sync-wave: "1"}}
spec: {addresses: [192.0.2.8/30]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: waves, namespace: metallb-system, annotations: {argocd.argoproj.io/sync-wave: "2"}}
spec: {ipAddressPools: [waves]}
`

// overlapIsSeen pushes the user's overlapping pools, which nobody announces: they are synced, in whatever order, and say so themselves. To Argo CD they are
// healthy, because it goes on to nothing else while a pool is not: then it pushes an advertisement of one in a later wave.
func (s *system) overlapIsSeen(t *testing.T, repository string) {
	const file = "manifests/metallb-config/multiple-pools.yaml"
	push := func(message string, args ...string) {
		host(t, repository, args...)
		host(t, repository, "git", "commit", "--quiet", "--message="+message)
		s.Kubectl(t, "annotate", "-n", "argocd", "--overwrite", "application", "metallb-config", "argocd.argoproj.io/refresh=normal")
	}
	await := func(pushed string) {
		t.Helper()
		commit := strings.TrimSpace(host(t, repository, "git", "rev-parse", "HEAD"))
		cluster.Eventually(t, 60*time.Second, pushed+": metallb-config is Synced and Healthy", func() bool {
			one := s.object(t, "-n", "argocd", "application", "metallb-config")
			return at(one, "status", "sync", "revision") == commit && at(one, "status", "sync", "status") == "Synced" &&
				at(one, "status", "health", "status") == "Healthy" && at(one, "status", "operationState", "phase") == "Succeeded"
		})
	}
	host(t, repository, "cp", "manifests/multiple-pools.yaml", file)
	push("more pools", "git", "add", file)
	await("more pools")
	_, _, message := condition(s.object(t, "ipaddresspool", "-n", namespace, "production-pool"), "Conflict")
	if !strings.Contains(message, "default-pool") {
		t.Errorf("the pool does not say what it overlaps with: %q", message)
	}
	const waves = "manifests/metallb-config/waves.yaml"
	if err := os.WriteFile(filepath.Join(repository, waves), []byte(twoWaves), 0o600); err != nil {
		t.Fatal(err)
	}
	push("two waves", "git", "add", waves)
	await("two waves")
	push("no more pools", "git", "rm", "--quiet", file, waves)
	await("no more pools")
}

// removeApplications deletes both Applications with all that they brought, and looks whether anything is left.
func (s *system) removeApplications(t *testing.T) {
	names := []string{"metallb", "metallb-config"}
	for _, name := range names {
		s.Kubectl(t, "patch", "-n", "argocd", "application", name, "--type=merge", "-p", `{"metadata":{"finalizers":["resources-finalizer.argocd.argoproj.io"]}}`)
	}
	s.Kubectl(t, append([]string{"delete", "-n", "argocd", "application", "--timeout=90s"}, names...)...)
	s.nothingLeft(t)
	// Argo CD never deletes a definition, because every object of its kind would go with it.
	for _, one := range strings.Fields(s.Kubectl(t, "get", "customresourcedefinitions", "-o", "name")) {
		if strings.HasSuffix(one, ".metallb.io") {
			s.Kubectl(t, "delete", one)
		}
	}
	s.Kubectl(t, "delete", "service", "static-ip")
	s.Kubectl(t, "delete", "namespace", namespace, "--ignore-not-found", "--timeout=60s")
}

// nothingLeft looks for objects of ours that outlive what brought them.
func (s *system) nothingLeft(t *testing.T, more ...string) {
	kinds := append([]string{
		"validatingwebhookconfigurations", "validatingadmissionpolicies", "validatingadmissionpolicybindings", "clusterroles", "clusterrolebindings",
	}, more...)
	left := ""
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(300 * time.Millisecond) {
		left = s.Kubectl(t, "get", strings.Join(kinds, ","), "-o", "name")
		lines := slices.DeleteFunc(strings.Fields(left), func(line string) bool { return !strings.Contains(line, "metallb") })
		if left = strings.Join(lines, " "); left == "" {
			return
		}
		if time.Now().After(end) {
			t.Errorf("left behind: %s", left)
			return
		}
	}
}

// What people do by hand, with both versions of Helm.
func TestHelmInstallsUpgradesRollsBackAndUninstalls(t *testing.T) {
	s := startBaseline(t, 1)
	s.Apply(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: metallb-system, labels: {pod-security.kubernetes.io/enforce: privileged}}\n")
	for _, name := range []string{"HELM3", "HELM4"} {
		t.Run(name, func(t *testing.T) { s.helmRound(t, helm(t, name)) })
	}
	t.Run("kubectl apply -k", func(t *testing.T) { s.kustomizeRound(t) })
}

// kustomizeRound is the variant of the examples that needs no Helm.
func (s *system) kustomizeRound(t *testing.T) {
	folder, err := filepath.Abs(gitops + "../variants/kustomize")
	if err != nil {
		t.Fatal(err)
	}
	s.Kubectl(t, "apply", "-k", folder+"/metallb")
	s.Kubectl(t, "apply", "-k", folder+"/config")
	s.service(t, "web", "")
	s.awaitOwner(t, "192.168.1.200")
	s.Kubectl(t, "delete", "-k", folder+"/metallb", "--timeout=60s")
	s.nothingLeft(t, "customresourcedefinitions")
}

func (s *system) helmRound(t *testing.T, program string) {
	run := func(args ...string) string {
		t.Helper()
		args = append(args, "--namespace="+namespace, "--kubeconfig="+s.Kubeconfig())
		out, err := s.Laptop().Output(t.Context(), append([]string{"env", "HOME=" + s.secrets, program}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	chart, err := filepath.Abs(root + "charts/metallb")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	said := run("install", "metallb", chart, "--set=speaker.hostNetwork=true", "--wait", "--timeout=60s")
	for _, wanted := range []string{"is installed in metallb-system", "speaker.hostNetwork: not a value of this chart"} {
		if !strings.Contains(said, wanted) {
			t.Errorf("install does not say %q:\n%s", wanted, said)
		}
	}
	t.Logf("installed, all ready, after %.1f s", time.Since(began).Seconds())
	if out, err := s.Laptop().Output(t.Context(), "env", "HOME="+s.secrets, program, "install", "second", chart, "--namespace=default", "--kubeconfig="+s.Kubeconfig()); err == nil ||
		!strings.Contains(err.Error(), "metallb-webhook-configuration") && !strings.Contains(err.Error(), "metallb.io") {
		t.Errorf("a second release in the cluster: %v %s", err, out)
	}
	s.ApplyFile(t, gitops+"manifests/metallb-config/ip-pool.yaml")
	s.service(t, "web", "")
	s.awaitOwner(t, "192.168.1.200")
	run("upgrade", "metallb", chart, "--set=speaker.logLevel=debug", "--wait", "--timeout=60s")
	run("rollback", "metallb", "1", "--wait", "--timeout=60s")
	// What the controller wrote into Helm's objects is still there, and so is the address.
	hook := s.object(t, "validatingwebhookconfiguration", "metallb-webhook-configuration")
	if at(hook, "webhooks", 0, "clientConfig", "caBundle") == nil {
		t.Error("an upgrade took the certificate authority away from the webhooks")
	}
	s.awaitAddress(t, "default", "web", "192.168.1.200")
	s.awaitOwner(t, "192.168.1.200")
	run("uninstall", "metallb", "--wait", "--timeout=60s")
	s.nothingLeft(t, "customresourcedefinitions")
	s.Kubectl(t, "delete", "service", "web")
	s.Kubectl(t, "delete", "secret", "-n", namespace, "--all")
	// Helm waits for its own objects; their pods take their grace period to end.
	cluster.Eventually(t, 30*time.Second, "nothing is left in the namespace", func() bool {
		return !strings.Contains(s.Kubectl(t, "get", "all,configmaps,roles,rolebindings", "-n", namespace, "-o", "name"), "metallb")
	})
}
