//go:build load

package ferrolb_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	cluster "ferrolb.io/tests/cluster"
)

// These are measurements (docs/benchmarks.md), not tests of every run: scripts/soak/load runs them. What they assert is what must hold on any machine.

const writers = 32

// many is how many Services wait for a cold controller: 10,000, or FERROLB_LOAD_SERVICES for a quick look.
func many(t *testing.T) int {
	t.Helper()
	text := os.Getenv("FERROLB_LOAD_SERVICES")
	if text == "" {
		return 10_000
	}
	number, err := strconv.Atoi(text)
	if err != nil || number <= 0 {
		t.Fatalf("FERROLB_LOAD_SERVICES=%s is not a number of Services", text)
	}
	return number
}

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

// spread is the 50th, 95th and 99th of a hundred, and the longest.
func spread(took []time.Duration) string {
	slices.Sort(took)
	at := func(percent int) time.Duration { return took[(len(took)-1)*percent/100].Round(100 * time.Microsecond) }
	return fmt.Sprintf("p50 %v, p95 %v, p99 %v, longest %v", at(50), at(95), at(99), at(100))
}

// processorTime is what a process has used of the processors since it began. Unlike time on the clock it does not depend on who else is at work.
func processorTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	// After the name, which is in brackets, the 12th and 13th number are ticks of 10 ms.
	fields := strings.Fields(string(content[strings.LastIndexByte(string(content), ')')+2:]))
	var ticks int
	for _, field := range fields[11:13] {
		number, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += number
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// work is what a stretch of the test costs, by who does it.
type work struct{ server, etcd, test, controller time.Duration }

func (s *system) workSoFar(t *testing.T) work {
	t.Helper()
	so := work{server: processorTime(t, s.APIServer.PID()), etcd: processorTime(t, s.Etcd.PID()), test: processorTime(t, os.Getpid())}
	if s.controller != nil {
		so.controller = processorTime(t, s.controller.PID())
	}
	return so
}

func (w work) since(before work) string {
	return fmt.Sprintf("API server %.1f s, etcd %.1f s, the test itself %.1f s, controller %.1f s",
		(w.server - before.server).Seconds(), (w.etcd - before.etcd).Seconds(), (w.test - before.test).Seconds(), (w.controller - before.controller).Seconds())
}

func loadAverage(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(content))[:3], " ")
}

func addressPatch(pool string, number int) []byte {
	return fmt.Appendf(nil, `{"metadata":{"annotations":{"metallb.io/ip-allocated-from-pool":%q}},"status":{"loadBalancer":{"ingress":[{"ip":"10.11.%d.%d"}]}}}`, pool, number/250, number%250)
}

func (s *system) patchStatus(ctx context.Context, name string, patch []byte) error {
	_, err := s.Client.CoreV1().Services("default").Patch(ctx, name, "application/merge-patch+json", patch, metav1.PatchOptions{}, "status")
	return err
}

func TestTenThousandServicesWaitForAColdController(t *testing.T) {
	many := many(t)
	s := prepare(t, cluster.StartAPI(t, cluster.Options{Nodes: 1}))
	s.Apply(t, largePool)
	s.Apply(t, advertisement)
	// The measure: the same number of bare status writes, to Services that nobody else cares for.
	each(t, many, func(ctx context.Context, number int) error {
		return s.create(ctx, fmt.Sprint("bare-", number), "example.com/nobody")
	})
	before := s.workSoFar(t)
	bare := each(t, many, func(ctx context.Context, number int) error {
		return s.patchStatus(ctx, fmt.Sprint("bare-", number), addressPatch("large", number))
	})
	bareWork := s.workSoFar(t).since(before)
	each(t, many, func(ctx context.Context, number int) error {
		return s.Client.CoreV1().Services("default").Delete(ctx, fmt.Sprint("bare-", number), deleteOptions)
	})
	each(t, many, func(ctx context.Context, number int) error { return s.create(ctx, fmt.Sprint("s-", number), "") })
	mark := s.Mark(t)
	before = s.workSoFar(t)
	begin := time.Now()
	s.startController(t)
	// The log of requests tells when all are written. Asking the API server would be in the way of what is measured.
	written, seen, first, last := 0, mark, begin, begin
	cluster.Eventually(t, 10*time.Minute, "all have an address", func() bool {
		time.Sleep(250 * time.Millisecond)
		var new cluster.Requests
		new, seen = s.RequestsSoFar(t, seen)
		for _, write := range new.By(controllerAccount).Of("update", "services/status").Where(succeeded) {
			written++
			switch written {
			case 1:
				first = write.At
			case many:
				last = write.At
			}
		}
		return written >= many
	})
	took, coldWork := last.Sub(begin), s.workSoFar(t).since(before)
	t.Logf("load average %s", loadAverage(t))
	t.Logf("%d bare status writes: %.2f s; cold controller until the last address: %.2f s (%.2f times)", many, bare.Seconds(), took.Seconds(), took.Seconds()/bare.Seconds())
	t.Logf("of that, until the first address: %.2f s", first.Sub(begin).Seconds())
	t.Logf("processor time of bare writes: %s", bareWork)
	t.Logf("processor time of a cold start: %s", coldWork)
	s.assertAddressesCameFirst(t, mark, many)
	time.Sleep(15 * time.Second)
	t.Logf("what the controller asked for:\n%s", s.RequestsSince(t, mark).By(controllerAccount))
	t.Logf("controller at %d Services: %v", many, memoryOf(t, s.controller))
	s.assertOneAddressEach(t, many)
	s.startSpeaker(t, "node-a")
	time.Sleep(15 * time.Second)
	t.Logf("speaker at %d Services without endpoints: %v", many, memoryOf(t, s.speakers["node-a"]))
	s.announceAll(t, many)
	t.Logf("speaker that announces %d Services: %v", many, memoryOf(t, s.speakers["node-a"]))
	t.Logf("controller meanwhile: %v", memoryOf(t, s.controller))
}

// announceAll gives every Service an endpoint, and waits until the speaker says that it announces them all.
func (s *system) announceAll(t *testing.T, many int) {
	t.Helper()
	ready := true
	each(t, many, func(ctx context.Context, number int) error {
		name := fmt.Sprint("s-", number)
		_, err := s.Client.DiscoveryV1().EndpointSlices("default").Create(ctx, &discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
			AddressType: discoveryv1.AddressTypeIPv4,
			Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.244.0.10"}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}, NodeName: new("node-a")}},
		}, metav1.CreateOptions{})
		return err
	})
	mark := time.Now()
	cluster.Eventually(t, 10*time.Minute, "every Service is announced", func() bool {
		time.Sleep(time.Second)
		return strings.Count(s.Kubectl(t, "get", "servicel2statuses", "-n", namespace, "-o", "name"), "servicel2status") >= many
	})
	t.Logf("the status objects of all were there %.1f s after the last endpoint", time.Since(mark).Seconds())
	time.Sleep(15 * time.Second)
}

func (s *system) assertOneAddressEach(t *testing.T, many int) {
	t.Helper()
	addresses := map[string]string{}
	for _, service := range s.list(t) {
		if len(service.Status.LoadBalancer.Ingress) != 1 {
			t.Fatalf("%s has %d addresses", service.Name, len(service.Status.LoadBalancer.Ingress))
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
}

const (
	running = 1000
	// At most so many a second, and so many requests at once: a busy machine takes fewer.
	rate     = 50
	creators = 8
)

func TestServicesCreatedWhileItRuns(t *testing.T) {
	s := start(t, 1)
	s.Apply(t, largePool)
	s.Apply(t, advertisement)
	time.Sleep(10 * time.Second)
	t.Logf("without Services: controller %v", memoryOf(t, s.controller))
	t.Logf("without Services: speaker %v", memoryOf(t, s.speakers["node-a"]))
	// The measure: the test's own client does what the controller does, on what its own watch shows.
	bare := s.createAndAwait(t, "bare-", "example.com/nobody", func(name string) {
		if err := s.patchStatus(t.Context(), name, addressPatch("large", len(name))); err != nil {
			t.Error(err)
		}
	})
	mark := s.Mark(t)
	ours := s.createAndAwait(t, "s-", "", func(string) {})
	t.Logf("load average %s", loadAverage(t))
	t.Logf("%d Services, from created to addressed, by a bare client: %s", running, bare.figures)
	t.Logf("%d Services, from created to addressed, by the controller:  %s", running, ours.figures)
	t.Logf("the slowest by the controller:\n%s", ours.slowest(s.RequestsSince(t, mark)))
	time.Sleep(15 * time.Second)
	t.Logf("%d Services: controller %v", running, memoryOf(t, s.controller))
	t.Logf("%d Services: speaker %v", running, memoryOf(t, s.speakers["node-a"]))
}

// createAndAwait creates Services at a steady rate and says how long each took from the moment it was there, to the client that made it or to a watch,
// until the watch showed its address.
func (s *system) createAndAwait(t *testing.T, prefix, class string, shown func(name string)) outcome {
	t.Helper()
	watch, err := s.Client.CoreV1().Services("default").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	var mutex sync.Mutex
	there, addressed := map[string]time.Time{}, map[string]time.Time{}
	isThere := func(name string) (news bool) {
		mutex.Lock()
		defer mutex.Unlock()
		if _, known := there[name]; !known {
			there[name] = time.Now()
			return true
		}
		return false
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		seen := map[string]bool{}
		for event := range watch.ResultChan() {
			service, ok := event.Object.(*corev1.Service)
			if !ok || !strings.HasPrefix(service.Name, prefix) {
				continue
			}
			isThere(service.Name)
			if !seen[service.Name] {
				seen[service.Name] = true
				go shown(service.Name)
			}
			if _, known := addressed[service.Name]; !known && len(service.Status.LoadBalancer.Ingress) > 0 {
				addressed[service.Name] = time.Now()
			}
			if len(addressed) == running {
				return
			}
		}
	}()
	begin := time.Now()
	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	numbers := make(chan int)
	var group sync.WaitGroup
	for range creators {
		group.Go(func() {
			for number := range numbers {
				name := fmt.Sprint(prefix, number)
				if err := s.create(t.Context(), name, class); err != nil {
					t.Error(err)
				}
				isThere(name)
			}
		})
	}
	for number := range running {
		<-tick.C
		numbers <- number
	}
	close(numbers)
	group.Wait()
	creating := time.Since(begin)
	select {
	case <-done:
	case <-time.After(60 * time.Second):
		t.Fatal("not all have an address")
	}
	if len(addressed) != running {
		t.Fatalf("the watch ended after %d of %d addresses", len(addressed), running)
	}
	var took []time.Duration
	for name, at := range addressed {
		took = append(took, at.Sub(there[name]))
	}
	return outcome{begin, there, addressed, fmt.Sprintf("%s, at %.0f a second", spread(took), running/creating.Seconds())}
}

// outcome is when Services were there and when they had their address.
type outcome struct {
	begin            time.Time
	there, addressed map[string]time.Time
	figures          string
}

// slowest says of the twenty that took longest where the time went: until the controller's write was with the API server, until that was answered, and
// until the watch showed it.
func (o outcome) slowest(requests cluster.Requests) string {
	names := slices.SortedFunc(maps.Keys(o.addressed), func(a, b string) int {
		return cmp.Compare(o.addressed[b].Sub(o.there[b]), o.addressed[a].Sub(o.there[a]))
	})
	writes := map[string]cluster.Request{}
	for _, write := range requests.By(controllerAccount).Of("update", "services/status").Where(succeeded) {
		if _, known := writes[write.Name]; !known {
			writes[write.Name] = write
		}
	}
	var lines []string
	for _, name := range names[:min(20, len(names))] {
		there, write := o.there[name], writes[name]
		ms := func(from, to time.Time) string { return fmt.Sprintf("%.1f ms", to.Sub(from).Seconds()*1e3) }
		lines = append(lines, fmt.Sprintf("  %s at %.2f s: write with the API server after %s, answered after another %s, seen after another %s", name,
			there.Sub(o.begin).Seconds(), ms(there, write.Received), ms(write.Received, write.At), ms(write.At, o.addressed[name])))
	}
	return strings.Join(lines, "\n")
}
