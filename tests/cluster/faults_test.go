package cluster_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	cluster "ferrolb.io/tests/cluster"
)

func TestAFaultyServerIsSlowRefusesCutsAndExpiresAsItIsTold(t *testing.T) {
	c := shared.Get(t)
	c.Apply(t, reader)
	faulty := c.FaultyServer(t)
	get := func(more ...string) *cluster.Process {
		args := append([]string{"get", "services", "-n", "default", "-o", "name"}, more...)
		return c.Laptop().Run(t, cluster.Program{ServiceAccount: "default/reader", Server: faulty, Path: c.Assets["kubectl"], Args: args})
	}
	services := func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/services") }

	if p := get(); p.Wait(t, 20*time.Second) != 0 || !strings.Contains(p.Log(), "service/kubernetes") {
		t.Errorf("without a fault: %s", p.Log())
	}
	if faulty.Hits() != 0 {
		t.Errorf("%d faults before any was set", faulty.Hits())
	}

	faulty.Set(cluster.Faults{Delay: 2 * time.Second, Only: services})
	begin := time.Now()
	if p := get(); p.Wait(t, 20*time.Second) != 0 || time.Since(begin) < 2*time.Second {
		t.Errorf("a slow answer after %v: %s", time.Since(begin), p.Log())
	}

	faulty.Set(cluster.Faults{Status: http.StatusServiceUnavailable, Only: services})
	if p := get(); p.Wait(t, 20*time.Second) == 0 || !strings.Contains(p.Log(), "a fault of the test") {
		t.Errorf("refused, kubectl says: %s", p.Log())
	}

	faulty.Set(cluster.Faults{CutAfter: time.Second, Only: services})
	watch := get("--watch-only")
	watch.Wait(t, 20*time.Second) // it would watch for ever

	faulty.Set(cluster.Faults{Expire: true})
	if p := get("--watch-only"); p.Wait(t, 20*time.Second) == 0 || !strings.Contains(p.Log(), "too old resource version") {
		t.Errorf("an expired watch ends kubectl with: %s", p.Log())
	}
	if faulty.Hits() < 4 {
		t.Errorf("only %d requests met a fault", faulty.Hits())
	}
}

func TestADeclaredPodBecomesAnEndpointOfItsService(t *testing.T) {
	c := shared.Get(t)
	c.Kubectl(t, "create", "namespace", "declared")
	c.Apply(t, `{apiVersion: v1, kind: Service, metadata: {name: web, namespace: declared}, spec: {selector: {app: web}, ports: [{port: 80}]}}`)
	cluster.Eventually(t, 20*time.Second, "the namespace has its service account", func() bool {
		_, err := c.Client.CoreV1().ServiceAccounts("declared").Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil
	})
	c.DeclarePod(t, cluster.Pod{Namespace: "declared", Name: "web-1", Labels: map[string]string{"app": "web"}, Node: "node-b"})
	cluster.Eventually(t, 20*time.Second, "an EndpointSlice has the pod, ready, on node-b", func() bool {
		slices, err := c.Client.DiscoveryV1().EndpointSlices("declared").List(t.Context(), metav1.ListOptions{})
		if err != nil || len(slices.Items) != 1 || len(slices.Items[0].Endpoints) != 1 {
			return false
		}
		endpoint := slices.Items[0].Endpoints[0]
		return endpoint.Addresses[0] == "192.168.1.12" && *endpoint.NodeName == "node-b" && *endpoint.Conditions.Ready
	})
}
