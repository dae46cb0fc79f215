package ferrolb_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

// staticBinary is what goes into the image: FERROLB_STATIC_BIN, else what the release build for musl left.
func staticBinary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("FERROLB_STATIC_BIN")
	if path == "" {
		path = root + "target/x86_64-unknown-linux-musl/release/ferrolb"
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(absolute); err != nil {
		t.Fatalf("there is no static FerroLB: %v; run cargo build --release --target x86_64-unknown-linux-musl -p ferrolb, or name another by FERROLB_STATIC_BIN", err)
	}
	return absolute
}

const backend = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: page}
spec:
  replicas: 3
  selector: {matchLabels: {app: page}}
  template:
    metadata: {labels: {app: page}}
    spec:
      containers:
      - name: page
        image: ` + cluster.WebImage + `
        imagePullPolicy: Never
        readinessProbe: {httpGet: {port: 8080, path: /}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: page}
spec:
  type: LoadBalancer
  selector: {app: page}
  ports: [{name: page, port: 80, targetPort: 8080}, {name: echo, protocol: UDP, port: 7, targetPort: 8080}]
`

// One cluster of real nodes for all of it: our pods, our image, kube-proxy's own rules, a laptop outside.
func TestOnRealNodes(t *testing.T) {
	c := cluster.StartNodes(t, cluster.Options{Nodes: 3})
	s := newSystem(t, c)
	s.Apply(t, backend)
	s.Kubectl(t, "rollout", "status", "deployment/page", "--timeout=90s")
	if err := c.LoadFerroLB(t.Context(), staticBinary(t), root+"deploy/metallb.yaml"); err != nil {
		t.Fatal(err)
	}
	t.Run("from applying the manifests to the first answer", func(t *testing.T) { firstAnswer(t, s) })
	t.Run("the page comes through the address, kube-proxy and a pod", func(t *testing.T) { page(t, s) })
	t.Run("the user's own commands answer", func(t *testing.T) { usersCommands(t, s) })
	t.Run("good and bad objects are told apart", func(t *testing.T) { admission(t, s) })
	t.Run("a spoilt webhook certificate is made anew", func(t *testing.T) { spoilt(t, s) })
	t.Run("both versions of a peer are served and explained", func(t *testing.T) { versions(t, s) })
	t.Run("a rollout of the speakers moves nothing and resets no connection", func(t *testing.T) { rollout(t, s) })
	t.Run("planned moves lose no packet", func(t *testing.T) { plannedMoves(t, s) })
}

func firstAnswer(t *testing.T, s *system) {
	began := time.Now()
	s.ApplyFile(t, root+"deploy/crds.yaml", root+"deploy/metallb.yaml", root+"deploy/admission-policy.yaml")
	for !s.tryApply(t, pool+"---"+advertisement+"spec: {ipAddressPools: [default-pool]}\n") {
		time.Sleep(50 * time.Millisecond)
	}
	for len(s.Laptop().ARPWithin(t, "192.168.1.200", 50*time.Millisecond)) == 0 {
		if time.Since(began) > 90*time.Second {
			t.Fatalf("nobody answers:\n%s\n%s", s.Kubectl(t, "get", "pods", "-A", "-o", "wide"), s.Kubectl(t, "get", "events", "-n", namespace))
		}
	}
	t.Logf("%.1f s from applying the manifests to the first answer", time.Since(began).Seconds())
	s.Kubectl(t, "wait", "--for=condition=Available", "deployment/metallb-controller", "-n", namespace, "--timeout=60s")
	s.Kubectl(t, "rollout", "status", "daemonset/metallb-speaker", "-n", namespace, "--timeout=60s")
	s.awaitOwner(t, "192.168.1.200")
}

func page(t *testing.T, s *system) {
	body, err := s.Laptop().Get(t.Context(), "http://192.168.1.200/")
	if err != nil || body == "" {
		t.Errorf("%q, %v", body, err)
	}
}

// admission applies every file of testdata as its first lines say.
func admission(t *testing.T, s *system) {
	files, err := filepath.Glob("../testdata/*.yaml")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files of cases: %v", len(files), err)
	}
	s.awaitWebhook(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) { s.admit(t, file) })
	}
}

func (s *system) admit(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for _, line := range strings.Split(string(text), "\n") {
		if key, value, ok := strings.Cut(strings.TrimPrefix(line, "# "), ": "); ok && strings.HasPrefix(line, "# ") {
			said[key] = strings.TrimSpace(value)
		}
	}
	absolute, _ := filepath.Abs(file)
	kubectl := func(args ...string) (string, error) {
		// Warnings come on standard error.
		line := s.Assets["kubectl"] + " --kubeconfig=" + s.Kubeconfig() + " " + strings.Join(args, " ") + " 2>&1"
		return s.Laptop().Output(context.Background(), "sh", "-c", line)
	}
	if first := said["after"]; first != "" {
		// The webhook knows of it by watching, as anybody does.
		if out, err := kubectl("create", "-f", filepath.Join(filepath.Dir(absolute), first)); err != nil {
			t.Fatal(out, err)
		}
		defer func() {
			_, _ = kubectl("delete", "--ignore-not-found", "--wait", "-f", filepath.Join(filepath.Dir(absolute), first))
		}()
		time.Sleep(time.Second)
	}
	out, err := kubectl("create", "-f", absolute)
	// Some of it may be there although the rest was refused.
	defer func() { _, _ = kubectl("delete", "--ignore-not-found", "--wait", "-f", absolute) }()
	if err != nil {
		out += err.Error()
	}
	created := said["expect"] == "created"
	if created != (err == nil) || !created && !strings.Contains(out, said["expect"]) {
		t.Errorf("expected %q: %s", said["expect"], out)
	}
	switch warning := said["warning"]; {
	case warning == "none" && strings.Contains(out, "Warning:"):
		t.Errorf("a warning out of nothing: %s", out)
	case warning != "" && warning != "none" && !strings.Contains(out, warning):
		t.Errorf("no warning %q: %s", warning, out)
	}
}

// awaitWebhook waits until the API server gets an answer from our webhook, and its certificate is trusted.
func (s *system) awaitWebhook(t testing.TB) {
	t.Helper()
	cluster.Eventually(t, 60*time.Second, "the webhook is asked", func() bool {
		configuration := s.object(t, "validatingwebhookconfiguration", "metallb-webhook-configuration")
		bundle, _ := at(configuration, "webhooks", 0, "clientConfig", "caBundle").(string)
		return bundle != "" && !s.tryApply(t, strings.Replace(pool, "namespace: metallb-system", "namespace: default", 1))
	})
}

// spoilt writes nonsense where the certificate and its authority are.
func spoilt(t *testing.T, s *system) {
	const nonsense = "bm9uc2Vuc2U="
	s.Kubectl(t, "patch", "secret", "-n", namespace, "metallb-webhook-cert", "--type=merge", "-p", `{"data": {"tls.crt": "`+nonsense+`", "ca.crt": "`+nonsense+`"}}`)
	cluster.Eventually(t, 30*time.Second, "it is whole again", func() bool {
		data := at(s.object(t, "secret", "-n", namespace, "metallb-webhook-cert"), "data")
		return at(data, "tls.crt") != nonsense && at(data, "ca.crt") != nonsense
	})
	s.awaitWebhook(t)
}

func versions(t *testing.T, s *system) {
	s.Apply(t, `
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: router, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.168.1.1, holdTime: 90s, vrf: red}
`)
	old := s.object(t, "bgppeers.v1beta1.metallb.io", "-n", namespace, "router")
	if at(old, "spec", "peerAddress") != "192.168.1.1" || at(old, "spec", "vrf") != nil {
		t.Errorf("as v1beta1: %v", old["spec"])
	}
	if out := s.Kubectl(t, "explain", "bgppeer.spec.holdTime"); !strings.Contains(out, "DESCRIPTION") || strings.Contains(out, "<empty>") {
		t.Errorf("kubectl explain says\n%s", out)
	}
	if out := s.Kubectl(t, "get", "bgppeers", "-n", namespace); !strings.Contains(out, "ADDRESS") || !strings.Contains(out, "64513") {
		t.Errorf("the columns of peers:\n%s", out)
	}
	s.Kubectl(t, "delete", "bgppeer", "-n", namespace, "router")
}

const pageAddress = "192.168.1.200"

// rollout replaces every speaker, as a change of a flag does.
func rollout(t *testing.T, s *system) {
	const flags = `[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--drain-on=cordon"},
		{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--answer-ping"}]`
	seen := s.steadily(t, pageAddress, steadyConnections, func() {
		s.Kubectl(t, "patch", "daemonset/metallb-speaker", "-n", namespace, "--type=json", "-p", flags)
		s.Kubectl(t, "rollout", "status", "daemonset/metallb-speaker", "-n", namespace, "--timeout=120s")
		time.Sleep(2 * time.Second)
	})
	seen.unmoved(t, "rollout of the speakers")
	out, err := s.Laptop().Output(t.Context(), "ping", "-n", "-c", "3", "-i", "0.3", "-W", "1", pageAddress)
	t.Logf("ping:\n%s", out)
	if err != nil || !strings.Contains(out, "3 packets transmitted, 3 received") || strings.Contains(out, "DUP!") {
		t.Errorf("the node that announces does not answer each ping once: %v", err)
	}
}

// plannedMoves takes the address away from its node in two ways: the node is cordoned, which is what drains it here, and then the advertisement leaves the
// next one out.
func plannedMoves(t *testing.T, s *system) {
	first := s.awaitOwner(t, pageAddress)
	seen := s.steadily(t, pageAddress, steadyConnections, func() {
		s.Kubectl(t, "cordon", first)
		s.awaitOwnerBut(t, pageAddress, first)
	})
	seen.handed(t, "the owner is cordoned")
	second := s.awaitOwner(t, pageAddress)
	s.Kubectl(t, "uncordon", first)
	seen = s.steadily(t, pageAddress, steadyConnections, func() {
		s.Kubectl(t, "patch", "l2advertisement/default-advertisement", "-n", namespace, "--type=merge", "-p",
			`{"spec": {"nodeSelectors": [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["`+second+`"]}]}]}}`)
		s.awaitOwnerBut(t, pageAddress, second)
	})
	seen.handed(t, "the owner is no longer selected")
}

// awaitOwnerBut waits until a node answers for an address, and this one does not any more.
func (s *system) awaitOwnerBut(t testing.TB, address, node string) {
	t.Helper()
	cluster.Eventually(t, 20*time.Second, address+" is no longer on "+node, func() bool {
		answers := s.Laptop().ARP(t, address)
		return len(answers) == 1 && answers[0].Machine != node
	})
}
