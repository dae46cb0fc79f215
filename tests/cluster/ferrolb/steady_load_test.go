//go:build load

package ferrolb_test

import (
	"os"
	"strings"
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

// TestRolloutsAndPlannedMovesForLong is the long form of what every run tries on real nodes (scripts/soak/failover cluster): a thousand connections, and five
// minutes of rollouts and planned moves.
func TestRolloutsAndPlannedMovesForLong(t *testing.T) {
	const connections = 1000
	c := cluster.StartNodes(t, cluster.Options{Nodes: 3})
	s := newSystem(t, c)
	s.Apply(t, backend)
	s.Kubectl(t, "rollout", "status", "deployment/page", "--timeout=90s")
	if err := c.LoadFerroLB(t.Context(), staticBinary(t), root+"deploy/metallb.yaml"); err != nil {
		t.Fatal(err)
	}
	firstAnswer(t, s)
	rollout(t, s)
	load, _ := os.ReadFile("/proc/loadavg")
	t.Logf("load %s", strings.TrimSpace(string(load)))
	seen := s.steadily(t, pageAddress, connections, func() {
		for range 6 {
			s.Kubectl(t, "rollout", "restart", "daemonset/metallb-speaker", "-n", namespace)
			s.Kubectl(t, "rollout", "status", "daemonset/metallb-speaker", "-n", namespace, "--timeout=120s")
			time.Sleep(2 * time.Second)
		}
	})
	seen.unmoved(t, "six rollouts of the speakers")
	for range 10 {
		owner := s.awaitOwner(t, pageAddress)
		seen := s.steadily(t, pageAddress, connections, func() {
			s.Kubectl(t, "cordon", owner)
			s.awaitOwnerBut(t, pageAddress, owner)
			time.Sleep(4 * time.Second)
		})
		seen.handed(t, "the owner is cordoned")
		s.Kubectl(t, "uncordon", owner)
		time.Sleep(3 * time.Second)
	}
	load, _ = os.ReadFile("/proc/loadavg")
	t.Logf("load %s", strings.TrimSpace(string(load)))
}
