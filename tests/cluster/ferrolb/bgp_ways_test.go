package ferrolb_test

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

// leftOut is the label of nodes that load balancers leave out.
const leftOut = "node.kubernetes.io/exclude-from-external-load-balancers"

var weighted = regexp.MustCompile(`via (\S+) dev \S+ weight (\d+)`)

// shares are the parts of the traffic to an address that each next hop gets from the kernel of FRR's machine.
func (f *frr) shares(t testing.TB, address string) map[string]float64 {
	t.Helper()
	shares, sum := map[string]float64{}, 0.0
	for _, match := range weighted.FindAllStringSubmatch(f.ControlPlane().Exec(t, "ip", "route", "show", address), -1) {
		weight, _ := strconv.ParseFloat(match[2], 64)
		shares[match[1]], sum = weight, sum+weight
	}
	for hop := range shares {
		shares[hop] /= sum
	}
	return shares
}

// spread gives a Service so many endpoints on each node, in order.
func (s *system) spread(t testing.TB, name string, counts ...int) {
	t.Helper()
	endpoints := []string{}
	for at, count := range counts {
		for range count {
			endpoints = append(endpoints, fmt.Sprintf("{addresses: [10.244.%d.%d], nodeName: %s, conditions: {ready: true}}", at, len(endpoints)+10, s.Nodes()[at].Name))
		}
	}
	s.Apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %[1]s, namespace: default, annotations: {ferrolb.io/bgp-communities: '64512:99'}}
spec: {type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[1]s, namespace: default, labels: {kubernetes.io/service-name: %[1]s}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [%[2]s]
`, name, strings.Join(endpoints, ", ")))
}

// awaitShares waits until FRR's kernel shares traffic out by these counts, within 5 %.
func (s *system) awaitShares(t testing.TB, f *frr, address string, counts ...int) {
	t.Helper()
	sum := 0
	for _, count := range counts {
		sum += count
	}
	var shares map[string]float64
	cluster.Eventually(t, 20*time.Second, fmt.Sprintf("the kernel shares out %s by %v", address, counts), func() bool {
		shares = f.shares(t, address)
		for at, count := range counts {
			wanted := float64(count) / float64(sum)
			if math.Abs(shares[ipv4(s.Nodes()[at])]-wanted) > wanted*0.05 {
				return false
			}
		}
		return len(shares) == len(counts)
	})
	t.Logf("%v endpoints: %v", counts, shares)
}

// ways are what an advertisement and a Service say of how good a way is.
func (s *system) ways(t *testing.T, b *bird, f *frr) {
	before := []float64{}
	for _, node := range s.Nodes() {
		before = append(before, f.sessions(t, node))
	}
	s.spread(t, "spread", 1, 2, 5)
	address := s.awaitAny(t, "spread")
	cluster.Eventually(t, 20*time.Second, "every node is a next hop", func() bool { return len(f.kernel(t, address)) == 3 })
	s.Kubectl(t, "patch", "bgpadvertisement", "-n", namespace, "all", "--type=merge", "--patch",
		`{"spec": {"weightByLocalEndpoints": true, "med": 77, "asPathPrepend": 2}}`)
	s.awaitShares(t, f, address, 1, 2, 5)
	s.spread(t, "spread", 5, 2, 1)
	s.awaitShares(t, f, address, 5, 2, 1)
	path := fmt.Sprint(at(f.show(t, "bgp ipv4 unicast "+address+"/32"), "paths", 0))
	for _, part := range []string{"64512 64512 64512", "64512:99", "metric:77"} {
		if !strings.Contains(path, part) {
			t.Errorf("FRR has no %s: %s", part, path)
		}
	}
	if route := b.show(t, "route for "+address+" all"); !strings.Contains(route, "(64512,99)") {
		t.Errorf("BIRD does not have the Service's community:\n%s", route)
	}
	for at, node := range s.Nodes() {
		if count := f.sessions(t, node); count != before[at] {
			t.Errorf("%v sessions with %s, before %v", count, node.Name, before[at])
		}
	}
}

// leaves takes a node out in the two ways that there are: by its label, and by stopping its speaker while it is cordoned.
func (s *system) leaves(t *testing.T, b *bird, f *frr, address string, node *cluster.Machine) {
	protocol := "from_" + strings.ReplaceAll(node.Name, "-", "_")
	before := f.sessions(t, node)
	s.Kubectl(t, "label", "node", node.Name, leftOut+"=")
	cluster.Eventually(t, 10*time.Second, "BIRD is asked for other ways", func() bool {
		route := b.show(t, "route for "+address+" all protocol "+protocol)
		return strings.Contains(route, "(65535,0)") && strings.Contains(route, "BGP.local_pref: 0")
	})
	// FRR heeds the community by itself, and goes over before anything is withdrawn.
	cluster.Eventually(t, 15*time.Second, "FRR goes over to the other nodes", func() bool { hops := f.kernel(t, address); return !hops[ipv4(node)] && len(hops) == len(s.Nodes())-1 })
	cluster.Eventually(t, 15*time.Second, "the route is withdrawn", func() bool { return !b.hops(t, address)[ipv4(node)] })
	if count := f.sessions(t, node); count != before {
		t.Errorf("%v sessions with %s, before %v", count, node.Name, before)
	}
	s.Kubectl(t, "label", "node", node.Name, leftOut+"-")
	s.awaitRoutes(t, b, f, address, s.Nodes()...)
	route := b.show(t, "route for "+address+" all protocol "+protocol)
	if strings.Contains(route, "(65535,0)") {
		t.Errorf("a node that is back still asks for other ways:\n%s", route)
	}

	s.Kubectl(t, "cordon", node.Name)
	time.Sleep(time.Second)
	s.speakers[node.Name].Terminate(t)
	if b.hops(t, address)[ipv4(node)] || f.kernel(t, address)[ipv4(node)] {
		t.Errorf("a cordoned node whose speaker was stopped still has routes")
	}
	if said := b.show(t, "protocols all "+protocol); !strings.Contains(said, "the node is cordoned") {
		t.Errorf("BIRD was not told why:\n%s", said)
	}
	s.Kubectl(t, "uncordon", node.Name)
	s.speakers[node.Name].Start(t)
	s.awaitRoutes(t, b, f, address, s.Nodes()...)
}
