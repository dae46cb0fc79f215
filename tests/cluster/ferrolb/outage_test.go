package ferrolb_test

import (
	"fmt"
	"math/rand"
	"sync/atomic"
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

// probes asks for an address again and again, and counts questions that nobody or more than one answered.
type probes struct {
	stop chan struct{}
	done chan struct{}

	asked           atomic.Int64
	silent, doubled int
}

func (s *system) probe(t testing.TB, address string) *probes {
	p := &probes{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		for {
			select {
			case <-p.stop:
				return
			default:
			}
			answers := s.Laptop().ARP(t, address)
			p.asked.Add(1)
			switch len(answers) {
			case 0:
				p.silent++
			case 1:
			default:
				p.doubled++
			}
		}
	}()
	return p
}

// more waits until so many more questions were asked, while whatever is tested lasts. A question takes up to a second; how many fit into a step
// of a test is the machine's affair.
func (p *probes) more(t testing.TB, questions int64) {
	t.Helper()
	until := p.asked.Load() + questions
	cluster.Eventually(t, time.Minute, "more questions are asked", func() bool { return p.asked.Load() >= until })
}

func (p *probes) end(t testing.TB, during string, least int64) {
	t.Helper()
	close(p.stop)
	<-p.done
	asked := p.asked.Load()
	t.Logf("%s: %d questions, %d without an answer, %d with two", during, asked, p.silent, p.doubled)
	if asked < least {
		t.Errorf("%s: only %d questions asked", during, asked)
	}
	if p.silent > 0 || p.doubled > 0 {
		t.Errorf("%s: %d of %d questions without an answer, %d with two", during, p.silent, asked, p.doubled)
	}
}

func TestAnAPIServerThatIsAwayForAMinuteMovesNothing(t *testing.T) {
	s := start(t, 3)
	s.ApplyFile(t, gitops+"manifests/metallb-config")
	s.service(t, "web", "")
	s.awaitOwner(t, "192.168.1.200")
	// The speakers have just met; what is measured is the outage, not the start.
	time.Sleep(5 * time.Second)
	owner := s.awaitOwner(t, "192.168.1.200")
	p := s.probe(t, "192.168.1.200")
	s.StopAPIServer(t)
	time.Sleep(60 * time.Second)
	s.StartAPIServer(t)
	time.Sleep(3 * time.Second)
	p.end(t, "the API server away for 60 s", 100)
	if now := s.awaitOwner(t, "192.168.1.200"); now != owner {
		t.Errorf("%s moved from %s to %s", "192.168.1.200", owner, now)
	}
	// And it goes on where it left off.
	s.service(t, "later", "")
	s.awaitAddress(t, "default", "later", "192.168.1.201")
	s.awaitOwner(t, "192.168.1.201")
}

func TestASpeakerThatRestartsWithoutAnAPIServerAnnouncesWhatItAnnounced(t *testing.T) {
	s := start(t, 1)
	s.ApplyFile(t, gitops+"manifests/metallb-config")
	s.service(t, "web", "")
	s.awaitOwner(t, "192.168.1.200")
	s.StopAPIServer(t)
	s.speakers["node-a"].Kill(t)
	if answers := s.Laptop().ARP(t, "192.168.1.200"); len(answers) != 0 {
		t.Fatalf("a dead speaker answers: %v", answers)
	}
	s.speakers["node-a"].Start(t)
	s.awaitOwner(t, "192.168.1.200")
	s.StartAPIServer(t)
	time.Sleep(2 * time.Second)
	s.awaitOwner(t, "192.168.1.200")
}

func TestTwentyRestartsOfTheControllerUnderChurnChangeNoAddress(t *testing.T) {
	s := start(t, 1)
	s.ApplyFile(t, gitops+"manifests/metallb-config")
	s.Apply(t, `
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: large, namespace: metallb-system}
spec: {addresses: [10.10.0.0/16]}
`)
	s.Kubectl(t, "delete", "ipaddresspool", "-n", namespace, "default-pool")
	seen := map[string]string{}
	users := map[string]string{}
	created := 0
	for round := range 20 {
		for range 20 {
			s.createBare(t, fmt.Sprintf("s-%d", created))
			created++
		}
		if round%3 == 1 {
			gone := fmt.Sprintf("s-%d", rand.Intn(created))
			if err := s.Client.CoreV1().Services("default").Delete(t.Context(), gone, deleteOptions); err == nil {
				delete(users, seen[gone])
				delete(seen, gone)
			}
		}
		time.Sleep(time.Duration(rand.Intn(150)) * time.Millisecond)
		s.controller.Kill(t)
		s.controller.Start(t)
		s.compare(t, seen, users)
	}
	cluster.Eventually(t, 60*time.Second, "every Service has an address", func() bool {
		s.compare(t, seen, users)
		services := s.list(t)
		for _, service := range services {
			if len(service.Status.LoadBalancer.Ingress) != 1 {
				return false
			}
		}
		return len(services) > 300
	})
}

// compare checks that no address changed since it was seen, and that no two Services have the same.
func (s *system) compare(t testing.TB, seen, users map[string]string) {
	t.Helper()
	for _, service := range s.list(t) {
		for _, ingress := range service.Status.LoadBalancer.Ingress {
			if before, known := seen[service.Name]; known && before != ingress.IP {
				t.Fatalf("%s had %s and has %s", service.Name, before, ingress.IP)
			}
			if other, taken := users[ingress.IP]; taken && other != service.Name {
				t.Fatalf("%s and %s both have %s", other, service.Name, ingress.IP)
			}
			seen[service.Name], users[ingress.IP] = ingress.IP, service.Name
		}
	}
}
