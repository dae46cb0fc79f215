package cluster_test

import (
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	cluster "ferrolb.io/tests/cluster"
)

var shared = cluster.Shared{Options: cluster.Options{Nodes: 3}}

func TestMain(m *testing.M) {
	if os.Getenv(holdVariable) != "" {
		os.Exit(hold())
	}
	os.Exit(shared.Run(m))
}

// reader may read Services everywhere, and nothing else.
const reader = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [services], verbs: [get, list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: default}]
`

func TestTheAPIServerIsTheRealOneAndKnowsThreeReadyNodes(t *testing.T) {
	c := shared.Get(t)
	version, err := c.Client.ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("KUBEBUILDER_ASSETS") == "" && version.GitVersion != cluster.Kubernetes {
		t.Errorf("the server says it is %s", version.GitVersion)
	}
	ready := c.Kubectl(t, "get", "nodes", "--no-headers")
	if strings.Count(ready, " Ready ") != 3 {
		t.Errorf("kubectl get nodes:\n%s", ready)
	}
	wide := c.Kubectl(t, "get", "node", "node-b", "-o", "wide")
	if !strings.Contains(wide, "192.168.1.12") {
		t.Errorf("node-b is elsewhere:\n%s", wide)
	}
}

func TestAServiceAccountMayDoWhatItsRoleSaysAndNothingElse(t *testing.T) {
	c := shared.Get(t)
	c.Apply(t, reader)
	config := "--kubeconfig=" + c.ServiceAccountKubeconfig(t, "default/reader")
	if out := c.Kubectl(t, config, "get", "services", "-A"); !strings.Contains(out, "kubernetes") {
		t.Errorf("the allowed request says:\n%s", out)
	}
	if why := c.KubectlFails(t, config, "get", "secrets", "-A"); !strings.Contains(why, "Forbidden") || !strings.Contains(why, "default:reader") {
		t.Errorf("the forbidden request failed for another reason: %s", why)
	}
}

func TestRequestsAreCountedByWhoAskedForWhat(t *testing.T) {
	c := shared.Get(t)
	c.Apply(t, reader)
	config := "--kubeconfig=" + c.ServiceAccountKubeconfig(t, "default/reader")
	mark := c.Mark(t)
	for range 3 {
		c.Kubectl(t, config, "get", "services", "-n", "default")
	}
	_ = c.KubectlFails(t, config, "get", "secrets", "-n", "default")
	watch := c.Laptop().Run(t, cluster.Program{ServiceAccount: "default/reader", Path: c.Assets["kubectl"],
		Args: []string{"get", "services", "-n", "default", "--watch-only", "-o", "name"}})
	var requests cluster.Requests
	cluster.Eventually(t, 10*time.Second, "the watch is in the log while it goes on", func() bool {
		requests = c.RequestsSince(t, mark).By("default/reader")
		return len(requests.Of("watch", "services")) == 1
	})
	if !watch.Running() {
		t.Errorf("the watch ended: %s", watch.Log())
	}
	if got := len(requests.Of("list", "services")); got != 3+1 { // kubectl lists before it watches
		t.Errorf("%d lists of services:\n%s", got, requests)
	}
	if secrets := requests.Of("list", "secrets"); len(secrets) != 1 || secrets[0].Code != 403 {
		t.Errorf("one refused list of secrets is expected:\n%s", requests)
	}
	if others := c.RequestsSince(t, mark).Where(func(r cluster.Request) bool { return strings.HasPrefix(r.Agent, "test-flush") }); len(others) != 0 {
		t.Errorf("the harness counts itself:\n%s", others)
	}
}

func TestTheAPIServerCanBeAwayForAWhileAndKeepsWhatItKnew(t *testing.T) {
	c := shared.Get(t)
	name := "outage-" + strings.ToLower(metav1.Now().Format("150405"))
	c.Kubectl(t, "create", "namespace", name)
	c.StopAPIServer(t)
	if why := c.KubectlFails(t, "get", "namespaces", "--request-timeout=2s"); !strings.Contains(why, "refused") {
		t.Errorf("kubectl failed for another reason: %s", why)
	}
	c.Etcd.Kill(t)
	c.Etcd.Start(t)
	c.StartAPIServer(t)
	if out := c.Kubectl(t, "get", "namespace", name); !strings.Contains(out, "Active") {
		t.Errorf("after the outage:\n%s", out)
	}
	// The namespace controller found its way back as well.
	c.Kubectl(t, "delete", "namespace", name, "--timeout=60s")
}

func TestTheLaptopHearsWhoAnswersForAnAddressOverBothFamilies(t *testing.T) {
	c := shared.Get(t)
	b := c.Node("node-b")
	if answers := c.Laptop().ARP(t, "192.168.1.12"); len(answers) != 1 || answers[0].Machine != "node-b" {
		t.Errorf("ARP for node-b: %v", answers)
	}
	if answers := c.Laptop().NDP(t, "fd00:1::12"); len(answers) != 1 || answers[0].Machine != "node-b" {
		t.Errorf("NDP for node-b: %v", answers)
	}
	if answers := c.Laptop().ARP(t, "192.168.1.201"); len(answers) != 0 {
		t.Errorf("nobody has 192.168.1.201, but %v", answers)
	}
	b.Exec(t, "ip", "addr", "add", "192.168.1.201/32", "dev", "eth0")
	c.Node("node-c").Exec(t, "ip", "addr", "add", "192.168.1.201/32", "dev", "eth0")
	if answers := c.Laptop().ARP(t, "192.168.1.201"); len(answers) != 2 {
		t.Errorf("two nodes have 192.168.1.201, but %v", answers)
	}
	b.Exec(t, "ip", "addr", "del", "192.168.1.201/32", "dev", "eth0")
	c.Node("node-c").Exec(t, "ip", "addr", "del", "192.168.1.201/32", "dev", "eth0")
}

func TestACableCanBePulledAndASwitchCanGoDeaf(t *testing.T) {
	c := shared.Get(t)
	node := c.Node("node-a")
	carrier := func() bool { return strings.Contains(node.Exec(t, "ip", "link", "show", "eth0"), "LOWER_UP") }
	answers := func() int { return len(c.Laptop().ARP(t, "192.168.1.11")) }

	node.Unplug(t)
	if answers() != 0 || carrier() {
		t.Error("node-a is on the LAN without a cable")
	}
	node.Plug(t)
	cluster.Eventually(t, 5*time.Second, "node-a is back on the LAN", func() bool { return answers() == 1 })

	node.Mute(t)
	if answers() != 0 || !carrier() {
		t.Error("a muted port passes frames, or the node lost its carrier")
	}
	node.Unmute(t)
	cluster.Eventually(t, 5*time.Second, "node-a is heard again", func() bool { return answers() == 1 })
}
