package ferrolb_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

// Where controller and speakers serve metrics in the tests that read them.
const (
	controllerMetrics = 17475
	speakerMetrics    = 17476
)

// metricsReader is an account that may read metrics and nothing else.
const metricsReader = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: metallb-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: metrics-reader}
rules: [{nonResourceURLs: [/metrics], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: metrics-reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: metrics-reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: metallb-system}]
`

// runWithMetrics starts everything as run does, with metrics that scrape can read.
func (s *system) runWithMetrics(t testing.TB) {
	t.Helper()
	s.Apply(t, metricsReader)
	s.token = s.tokenOf(t, "reader")
	s.startController(t, fmt.Sprint("--port=", controllerMetrics))
	for _, node := range s.Nodes() {
		s.startSpeaker(t, node.Name, fmt.Sprint("--port=", speakerMetrics))
	}
}

// tokenOf is a token of an account of our namespace.
func (s *system) tokenOf(t testing.TB, account string) string {
	t.Helper()
	return strings.TrimSpace(s.Kubectl(t, "create", "token", "-n", namespace, account))
}

// metricsOf is the command that asks for metrics, with a token or without one.
func metricsOf(url, token string, more ...string) []string {
	line := append([]string{"curl", "-sSk", "--max-time", "5"}, more...)
	if token != "" {
		line = append(line, "-H", "Authorization: Bearer "+token)
	}
	return append(line, url)
}

// scrape reads the metrics that are served on a machine, as Prometheus does.
func (s *system) scrape(t testing.TB, machine *cluster.Machine, port int) string {
	t.Helper()
	out, err := machine.Output(t.Context(), metricsOf(fmt.Sprintf("https://127.0.0.1:%d/metrics", port), s.token)...)
	if err != nil {
		return fmt.Sprint(err)
	}
	return out
}

// awaitMetric waits until a line of a program's metrics begins and ends so.
func (s *system) awaitMetric(t testing.TB, machine *cluster.Machine, port int, start, end string) {
	t.Helper()
	out := ""
	has := func() bool {
		out = s.scrape(t, machine, port)
		for _, line := range strings.Split(out, "\n") {
			if strings.HasPrefix(line, start) && strings.HasSuffix(line, end) {
				return true
			}
		}
		return false
	}
	for deadline := time.Now().Add(20 * time.Second); !has(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("no metric %s…%s in\n%s", start, end, out)
			return
		}
	}
}

// awaitSaid waits until the Service's condition has the code, and the controller's metrics count it.
func (s *system) awaitSaid(t testing.TB, service, code string) {
	t.Helper()
	in, name := "default", strings.TrimPrefix(service, "svc/")
	if space, plain, has := strings.Cut(name, "/"); has {
		in, name = space, plain
	}
	kind := "metallb.io/Allocated"
	if code >= "LB11" {
		kind = "metallb.io/Announced"
	}
	status, message := "", ""
	says := func() bool {
		status, _, message = condition(s.object(t, "svc", "-n", in, name), kind)
		return status == "False" && strings.Contains(message, code)
	}
	for deadline := time.Now().Add(20 * time.Second); !says(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("%s of %s/%s is %s and does not name %s: %s", kind, in, name, status, code, message)
			return
		}
	}
	if s.token != "" && code >= "LB11" {
		s.awaitMetric(t, s.ControlPlane(), controllerMetrics, fmt.Sprintf("ferrolb_service_findings{code=%q} ", code), "")
	}
}

// awaitAnnouncer waits until a Service's condition names one node that announces it, and returns that.
func (s *system) awaitAnnouncer(t testing.TB, name string) string {
	t.Helper()
	node := ""
	cluster.Eventually(t, 20*time.Second, name+" is announced", func() bool {
		status, _, message := condition(s.object(t, "svc", name), "metallb.io/Announced")
		_, after, has := strings.Cut(message, "announced by ")
		node, _, _ = strings.Cut(after, ";")
		return status == "True" && has
	})
	return node
}
