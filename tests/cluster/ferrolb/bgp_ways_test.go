package ferrolb_test

import (
	"strings"
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

// leftOut is the label of nodes that load balancers leave out.
const leftOut = "node.kubernetes.io/exclude-from-external-load-balancers"

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
