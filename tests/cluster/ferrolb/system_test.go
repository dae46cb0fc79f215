// Package ferrolb_test tries FerroLB in a real Kubernetes, as the people who install it and those who attack it would.
package ferrolb_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

const (
	namespace         = "metallb-system"
	controllerAccount = namespace + "/metallb-controller"
	speakerAccount    = namespace + "/metallb-speaker"
	root              = "../../../"
)

// binary is the program to try: FERROLB_BIN, else what the release build of this repository left.
func binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("FERROLB_BIN")
	if path == "" {
		path = root + "target/release/ferrolb"
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(absolute); err != nil {
		t.Fatalf("there is no FerroLB to try: %v; run cargo build --release -p ferrolb, or name another by FERROLB_BIN", err)
	}
	return absolute
}

// system is FerroLB in a cluster at the API level: its objects as we ship them, its programs as processes with the rights of its service accounts.
type system struct {
	*cluster.Cluster
	binary     string
	secrets    string
	controller *cluster.Process
	speakers   map[string]*cluster.Process
	// token is who may read metrics, where controller and speakers serve them (see serveMetrics).
	token string
	// server is the way of our programs to the API server; the straight one if nil.
	server *cluster.FaultyServer
}

func newSystem(t testing.TB, c *cluster.Cluster) *system {
	t.Helper()
	s := &system{Cluster: c, binary: binary(t), secrets: t.TempDir(), speakers: map[string]*cluster.Process{}}
	s.count(t)
	return s
}

// prepare applies what we ship, and starts nothing.
func prepare(t testing.TB, c *cluster.Cluster) *system {
	t.Helper()
	s := newSystem(t, c)
	c.ApplyFile(t, root+"deploy/crds.yaml", root+"deploy/metallb.yaml")
	s.noPods(t)
	return s
}

// noPods keeps the workloads and takes their pods away: at the API level nobody runs pods, and what would be in them is started by the test.
func (s *system) noPods(t testing.TB) {
	t.Helper()
	s.Kubectl(t, "scale", "-n", namespace, "deployment/metallb-controller", "--replicas=0")
	s.Kubectl(t, "patch", "-n", namespace, "daemonset/metallb-speaker", "-p", `{"spec":{"template":{"spec":{"nodeSelector":{"nowhere":"yes"}}}}}`)
}

// start brings up a cluster with FerroLB in it.
func start(t testing.TB, nodes int) *system {
	t.Helper()
	s := prepare(t, cluster.StartAPI(t, cluster.Options{Nodes: nodes}))
	s.run(t)
	return s
}

// run starts the controller and every node's speaker.
func (s *system) run(t testing.TB) {
	t.Helper()
	s.startController(t)
	for _, node := range s.Nodes() {
		s.startSpeaker(t, node.Name)
	}
}

// startController starts the controller in the control plane's network.
func (s *system) startController(t testing.TB, more ...string) {
	t.Helper()
	s.controller = s.controllerOn(t, s.ControlPlane(), more...)
}

func (s *system) controllerOn(t testing.TB, machine *cluster.Machine, more ...string) *cluster.Process {
	t.Helper()
	args := append([]string{"controller", "--namespace=" + namespace, "--ml-secret-name=metallb-memberlist", "--deployment=metallb-controller", "--webhook-mode=disabled", "--port=0"}, more...)
	return machine.Run(t, cluster.Program{ServiceAccount: controllerAccount, Server: s.server, Path: s.binary, Args: args})
}

// startSpeaker starts a node's speaker. The membership secret is where a pod would have it mounted: there once the controller has made it.
func (s *system) startSpeaker(t testing.TB, node string, more ...string) {
	t.Helper()
	key := filepath.Join(s.secrets, "secretkey")
	cluster.Eventually(t, 30*time.Second, "the controller makes the membership secret", func() bool {
		secret, err := s.Client.CoreV1().Secrets(namespace).Get(t.Context(), "metallb-memberlist", getOptions)
		if err != nil {
			return false
		}
		return os.WriteFile(key, secret.Data["secretkey"], 0o600) == nil
	})
	s.speakers[node] = s.speaker(t, node, more...)
}

// speaker starts a node's speaker, whether or not there is a membership secret.
func (s *system) speaker(t testing.TB, node string, more ...string) *cluster.Process {
	t.Helper()
	state := filepath.Join(s.secrets, "state-"+node)
	args := append([]string{
		"speaker", "--namespace=" + namespace, "--node-name=" + node, "--port=0", "--ml-secret-key-path=" + s.secrets,
		"--ml-labels=app.kubernetes.io/name=metallb,app.kubernetes.io/component=speaker", "--ml-bindport=7946", "--state-dir=" + state,
	}, more...)
	return s.Node(node).Run(t, cluster.Program{ServiceAccount: speakerAccount, Server: s.server, Path: s.binary, Args: args})
}

// service is a LoadBalancer Service with an endpoint on every node.
func (s *system) service(t testing.TB, name, more string) {
	t.Helper()
	s.Apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %[1]s, namespace: default}
spec: {type: LoadBalancer, ports: [{port: 80}]%[2]s}
`, name, more))
	s.endpoints(t, "default", name)
}

func (s *system) endpoints(t testing.TB, in, name string) {
	t.Helper()
	var endpoints []string
	for number, node := range s.Nodes() {
		endpoints = append(endpoints, fmt.Sprintf(`{addresses: [10.244.%d.10], nodeName: %s, conditions: {ready: true}}`, number, node.Name))
	}
	s.Apply(t, fmt.Sprintf(`
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[2]s, namespace: %[1]s, labels: {kubernetes.io/service-name: %[2]s}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [%[3]s]
`, in, name, strings.Join(endpoints, ", ")))
}

// addresses are the addresses in a Service's status.
func (s *system) addresses(t testing.TB, in, name string) []string {
	t.Helper()
	service, err := s.Client.CoreV1().Services(in).Get(t.Context(), name, getOptions)
	if err != nil {
		return nil
	}
	var found []string
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		found = append(found, ingress.IP)
	}
	return found
}

// awaitAddress waits until a Service has exactly this address.
func (s *system) awaitAddress(t testing.TB, in, name, address string) {
	t.Helper()
	cluster.Eventually(t, 20*time.Second, fmt.Sprintf("%s/%s gets %s", in, name, address), func() bool {
		found := s.addresses(t, in, name)
		return len(found) == 1 && found[0] == address
	})
}

// awaitOwner waits until exactly one node answers for an address, and returns it.
func (s *system) awaitOwner(t testing.TB, address string) string {
	t.Helper()
	owner := ""
	cluster.Eventually(t, 20*time.Second, "one node answers for "+address, func() bool {
		answers := s.Laptop().ARP(t, address)
		if len(answers) == 1 {
			owner = answers[0].Machine
		}
		return len(answers) == 1
	})
	return owner
}

// object is an object of any kind.
func (s *system) object(t testing.TB, args ...string) map[string]any {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(s.Kubectl(t, append(append([]string{"get"}, args...), "-o", "json")...)), &object); err != nil {
		t.Fatal(err)
	}
	return object
}

// at is what an object has at a path; nil where it has nothing there.
func at(object any, path ...any) any {
	for _, step := range path {
		switch key := step.(type) {
		case string:
			fields, _ := object.(map[string]any)
			object = fields[key]
		case int:
			list, _ := object.([]any)
			if key >= len(list) {
				return nil
			}
			object = list[key]
		}
	}
	return object
}

// condition is a condition's status, reason and message.
func condition(object map[string]any, kind string) (status, reason, message string) {
	conditions, _ := at(object, "status", "conditions").([]any)
	for _, one := range conditions {
		if at(one, "type") == kind {
			text := func(key string) string { value, _ := at(one, key).(string); return value }
			return text("status"), text("reason"), text("message")
		}
	}
	return "", "", ""
}

// awaitText waits until a kubectl command's answer contains all of these.
func (s *system) awaitText(t testing.TB, wanted []string, args ...string) string {
	t.Helper()
	out := ""
	has := func() bool {
		out = s.Kubectl(t, args...)
		for _, text := range wanted {
			if !strings.Contains(out, text) {
				return false
			}
		}
		return true
	}
	for end := time.Now().Add(20 * time.Second); !has(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("kubectl %s does not say all of %q:\n%s", strings.Join(args, " "), wanted, out)
		}
	}
	return out
}
