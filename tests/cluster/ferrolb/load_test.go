//go:build load

package ferrolb_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	cluster "ferrolb.io/tests/cluster"
)

// These are measurements (docs/benchmarks.md), not tests of every run: scripts/soak/load runs them. What they assert is what must hold on any machine.

const (
	many    = 10_000
	writers = 32
)

const largePool = `
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: large, namespace: metallb-system}
spec: {addresses: [10.10.0.0/16]}
`

// each does something for every number below count, from many goroutines.
func each(t *testing.T, count int, do func(ctx context.Context, number int) error) time.Duration {
	t.Helper()
	begin := time.Now()
	var next atomic.Int64
	var group sync.WaitGroup
	var failed atomic.Value
	for range writers {
		group.Add(1)
		go func() {
			defer group.Done()
			for number := int(next.Add(1) - 1); number < count; number = int(next.Add(1) - 1) {
				if err := do(t.Context(), number); err != nil {
					failed.Store(err)
					return
				}
			}
		}()
	}
	group.Wait()
	if err := failed.Load(); err != nil {
		t.Fatal(err)
	}
	return time.Since(begin)
}

func (s *system) create(ctx context.Context, name, class string) error {
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}}, AllocateLoadBalancerNodePorts: new(bool)},
	}
	if class != "" {
		service.Spec.LoadBalancerClass = &class
	}
	_, err := s.Client.CoreV1().Services("default").Create(ctx, service, metav1.CreateOptions{})
	return err
}

func residentMB(t *testing.T, p *cluster.Process) float64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(status), "\n") {
		var kilobytes float64
		if _, err := fmt.Sscanf(line, "VmRSS: %f kB", &kilobytes); err == nil {
			return kilobytes / 1024
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

func TestTenThousandServicesWaitForAColdController(t *testing.T) {
	s := prepare(t, cluster.StartAPI(t, cluster.Options{Nodes: 1}))
	s.Apply(t, largePool)
	s.Apply(t, advertisement)
	// The measure: the same number of bare status writes, to Services that nobody else cares for.
	each(t, many, func(ctx context.Context, number int) error {
		return s.create(ctx, fmt.Sprint("bare-", number), "example.com/nobody")
	})
	bare := each(t, many, func(ctx context.Context, number int) error {
		patch := fmt.Sprintf(`{"metadata":{"annotations":{"metallb.io/ip-allocated-from-pool":"large"}},"status":{"loadBalancer":{"ingress":[{"ip":"10.11.%d.%d"}]}}}`, number/250, number%250)
		_, err := s.Client.CoreV1().Services("default").Patch(ctx, fmt.Sprint("bare-", number), "application/merge-patch+json", []byte(patch), metav1.PatchOptions{}, "status")
		return err
	})
	each(t, many, func(ctx context.Context, number int) error {
		return s.Client.CoreV1().Services("default").Delete(ctx, fmt.Sprint("bare-", number), deleteOptions)
	})
	each(t, many, func(ctx context.Context, number int) error { return s.create(ctx, fmt.Sprint("s-", number), "") })
	mark := s.Mark(t)
	begin := time.Now()
	s.startController(t)
	cluster.Eventually(t, 10*time.Minute, "all have an address", func() bool {
		time.Sleep(200 * time.Millisecond)
		return strings.Count(s.controller.Log(), "") > 0 && s.withoutAddress(t) == 0
	})
	took := time.Since(begin)
	t.Logf("%d bare status writes: %.1f s; cold controller until the last address: %.1f s (%.2f times)", many, bare.Seconds(), took.Seconds(), took.Seconds()/bare.Seconds())
	time.Sleep(10 * time.Second)
	requests := s.RequestsSince(t, mark).By(controllerAccount)
	t.Logf("what the controller asked for:\n%s", requests)
	t.Logf("controller at %d Services: %.1f MB", many, residentMB(t, s.controller))
	addresses := map[string]string{}
	for _, service := range s.list(t) {
		if !strings.HasPrefix(service.Name, "s-") {
			continue
		}
		address := service.Status.LoadBalancer.Ingress[0].IP
		if other, taken := addresses[address]; taken {
			t.Fatalf("%s and %s both have %s", service.Name, other, address)
		}
		addresses[address] = service.Name
	}
	if len(addresses) != many {
		t.Errorf("%d addresses for %d Services", len(addresses), many)
	}
	s.startSpeaker(t, "node-a")
	time.Sleep(15 * time.Second)
	t.Logf("speaker at %d Services: %.1f MB", many, residentMB(t, s.speakers["node-a"]))
}

func (s *system) withoutAddress(t *testing.T) int {
	t.Helper()
	count := 0
	for _, service := range s.list(t) {
		if len(service.Status.LoadBalancer.Ingress) == 0 {
			count++
		}
	}
	return count
}

func TestServicesCreatedWhileItRuns(t *testing.T) {
	s := start(t, 1)
	s.Apply(t, largePool)
	s.Apply(t, advertisement)
	time.Sleep(3 * time.Second)
	t.Logf("without Services: controller %.1f MB, speaker %.1f MB", residentMB(t, s.controller), residentMB(t, s.speakers["node-a"]))
	watch, err := s.Client.CoreV1().Services("default").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const count, rate = 1000, 50
	created, addressed := map[string]time.Time{}, map[string]time.Time{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range watch.ResultChan() {
			service, ok := event.Object.(*corev1.Service)
			if !ok || !strings.HasPrefix(service.Name, "s-") {
				continue
			}
			now := time.Now()
			if _, known := created[service.Name]; !known {
				created[service.Name] = now
			}
			if _, known := addressed[service.Name]; !known && len(service.Status.LoadBalancer.Ingress) > 0 {
				addressed[service.Name] = now
			}
			if len(addressed) == count {
				return
			}
		}
	}()
	tick := time.NewTicker(time.Second / rate)
	for number := range count {
		<-tick.C
		if err := s.create(t.Context(), fmt.Sprint("s-", number), ""); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-done:
	case <-time.After(60 * time.Second):
		t.Fatal("not all have an address")
	}
	var took []time.Duration
	for name, at := range addressed {
		took = append(took, at.Sub(created[name]))
	}
	slices.Sort(took)
	t.Logf("%d Services at %d/s, from created to addressed: p50 %v, p99 %v, most %v", count, rate, took[count/2], took[count*99/100], took[count-1])
	time.Sleep(5 * time.Second)
	t.Logf("%d Services: controller %.1f MB, speaker %.1f MB", count, residentMB(t, s.controller), residentMB(t, s.speakers["node-a"]))
}
