//go:build load

package ferrolb_test

import (
	"bufio"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	s.listen(t)
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

// ownership are the lines of a speaker's log that say who answers for what, and why.
var ownership = regexp.MustCompile(`"event":"(standing|detected|beaten|handedOver|paused|heldDead|stranger)"`)

// listen reads along what all speakers say, those too whose pods are gone by then. Where the test fails, it is printed in order.
func (s *system) listen(t *testing.T) {
	t.Helper()
	var mutex sync.Mutex
	var said []string
	known := map[string]bool{}
	read := func(pod corev1.Pod) {
		stream, err := s.Client.CoreV1().Pods(namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Follow: true, Timestamps: true}).Stream(t.Context())
		if err != nil {
			mutex.Lock()
			delete(known, pod.Name)
			mutex.Unlock()
			return
		}
		defer stream.Close()
		for lines := bufio.NewScanner(stream); lines.Scan(); {
			if at, line, _ := strings.Cut(lines.Text(), " "); ownership.MatchString(line) {
				mutex.Lock()
				said = append(said, at+" "+pod.Spec.NodeName+" "+pod.Name+" "+line)
				mutex.Unlock()
			}
		}
	}
	go func() {
		for ; t.Context().Err() == nil; time.Sleep(200 * time.Millisecond) {
			pods, err := s.Client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=speaker"})
			if err != nil {
				continue
			}
			mutex.Lock()
			for _, pod := range pods.Items {
				if pod.Status.Phase == corev1.PodRunning && !known[pod.Name] {
					known[pod.Name] = true
					go read(pod)
				}
			}
			mutex.Unlock()
		}
	}()
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		mutex.Lock()
		defer mutex.Unlock()
		slices.Sort(said)
		t.Logf("what the speakers said of ownership:\n%s", strings.Join(said, "\n"))
	})
}
