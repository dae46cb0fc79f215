package ferrolb_test

import (
	"fmt"
	"math/rand"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

const firstAddress = "192.168.1.200"

// startFaulty brings up a cluster with FerroLB in it, whose programs see the API server through one that can be made to fail; one Service is announced.
func startFaulty(t testing.TB, nodes int, options cluster.Options, faults cluster.Faults) *system {
	t.Helper()
	options.Nodes = nodes
	s := prepare(t, cluster.StartAPI(t, options))
	s.server = s.FaultyServer(t)
	s.server.Set(faults)
	s.run(t)
	s.ApplyFile(t, gitops+"manifests/metallb-config")
	s.service(t, "web", "")
	s.awaitAddress(t, "default", "web", firstAddress)
	s.awaitOwner(t, firstAddress)
	// The speakers have just met; what is measured is the fault, not the start.
	time.Sleep(time.Second)
	s.awaitOwner(t, firstAddress)
	return s
}

// awaitServed waits until that many Services of the namespace default have an address.
func (s *system) awaitServed(t testing.TB, wanted int, limit time.Duration) {
	t.Helper()
	cluster.Eventually(t, limit, fmt.Sprintf("%d Services have an address", wanted), func() bool {
		served := 0
		for _, service := range s.list(t) {
			if len(service.Status.LoadBalancer.Ingress) == 1 {
				served++
			}
		}
		return served == wanted
	})
}

func TestAnAPIServerThatTakesFiveSecondsForEveryAnswerIsWaitedFor(t *testing.T) {
	s := startFaulty(t, 2, cluster.Options{}, cluster.Faults{})
	l, p := s.ledger(t), s.probe(t, firstAddress)
	s.server.Set(cluster.Faults{Delay: 5 * time.Second})
	// It has been slow for a while when the Service comes: the lead must have lasted.
	time.Sleep(12 * time.Second)
	s.service(t, "slow", "")
	cluster.Eventually(t, 25*time.Second, "a Service gets its address all the same", func() bool { return len(s.addresses(t, "default", "slow")) == 1 })
	p.more(t, 10)
	p.end(t, "answers after 5 s", 30)
	s.server.Set(cluster.Faults{})
	s.awaitOwner(t, "192.168.1.201")
	l.end(t, 2)
}

func TestStormsOfRefusalsAreSatOutAndNotFanned(t *testing.T) {
	// Cut watches must be asked for again: during the storms nobody can.
	calm := cluster.Faults{CutAfter: time.Second}
	s := startFaulty(t, 2, cluster.Options{}, calm)
	l, p := s.ledger(t), s.probe(t, firstAddress)
	created := 1
	for _, storm := range []cluster.Faults{{Status: http.StatusTooManyRequests, RetryAfter: "1"}, {Status: http.StatusServiceUnavailable}, {Status: http.StatusInternalServerError}} {
		hits := s.server.Hits()
		s.server.Set(storm)
		for range 4 {
			s.createBare(t, fmt.Sprintf("s-%d", created))
			created++
			time.Sleep(time.Second)
		}
		if asked := s.server.Hits() - hits; asked == 0 || asked > 400 {
			t.Errorf("three programs asked %d times in 4 s of %d", asked, storm.Status)
		}
		s.controller.WaitForLog(t, "LB0022", time.Second)
		s.server.Set(calm)
		s.awaitServed(t, created, 15*time.Second)
	}
	p.end(t, "storms of refusals", 20)
	l.end(t, created)
}

func TestWatchesThatEndEverySecondLoseNothing(t *testing.T) {
	for _, fault := range []struct {
		name   string
		faults cluster.Faults
	}{{"closed", cluster.Faults{CloseAfter: 1}}, {"broken", cluster.Faults{CutAfter: time.Second}}} {
		t.Run(fault.name, func(t *testing.T) {
			s := startFaulty(t, 2, cluster.Options{}, fault.faults)
			l, p := s.ledger(t), s.probe(t, firstAddress)
			begin := time.Now()
			for number := range 20 {
				s.createBare(t, fmt.Sprintf("s-%d", number))
				if number%5 == 4 {
					s.Kubectl(t, "delete", "service", fmt.Sprintf("s-%d", number))
				}
				time.Sleep(300 * time.Millisecond)
			}
			s.awaitServed(t, 17, 10*time.Second)
			s.service(t, "last", "")
			s.awaitServed(t, 18, 10*time.Second)
			last := s.addresses(t, "default", "last")
			s.awaitOwner(t, last[0])
			t.Logf("%d requests met the fault within %v", s.server.Hits(), time.Since(begin))
			p.more(t, 10)
			p.end(t, "watches that end", 15)
			l.end(t, 18)
		})
	}
}

func TestWatchesThatAreTooOldAreBegunAnewFromAList(t *testing.T) {
	s := startFaulty(t, 2, cluster.Options{}, cluster.Faults{CutAfter: time.Second})
	l, p := s.ledger(t), s.probe(t, firstAddress)
	s.createBare(t, "goes")
	s.awaitServed(t, 2, 10*time.Second)
	s.server.Set(cluster.Faults{Expire: true})
	time.Sleep(2 * time.Second)
	// What goes and comes while nothing can be watched is found in the lists.
	s.Kubectl(t, "delete", "service", "goes")
	s.createBare(t, "comes")
	s.awaitServed(t, 2, 15*time.Second)
	p.more(t, 10)
	s.server.Set(cluster.Faults{})
	s.createBare(t, "later")
	s.awaitServed(t, 3, 15*time.Second)
	p.end(t, "watches answered with 410", 15)
	l.end(t, 3)
}

func TestAStoreThatRestartsAndCompactsLosesNothing(t *testing.T) {
	s := startFaulty(t, 2, cluster.Options{APIServerFlags: []string{"--etcd-compaction-interval=2s"}}, cluster.Faults{})
	l, p := s.ledger(t), s.probe(t, firstAddress)
	for round := range 2 {
		s.createBare(t, fmt.Sprintf("before-%d", round))
		s.Etcd.Kill(t)
		time.Sleep(4 * time.Second)
		s.Etcd.Start(t)
		cluster.Eventually(t, 30*time.Second, "the API server stores again", func() bool {
			_, err := s.Laptop().Output(t.Context(), s.Assets["kubectl"], "--kubeconfig="+s.Kubeconfig(), "--request-timeout=2s", "create", "configmap", fmt.Sprintf("there-%d", round))
			return err == nil
		})
		s.createBare(t, fmt.Sprintf("after-%d", round))
		s.awaitServed(t, 3+2*round, 20*time.Second)
	}
	// Nobody can go on from where the watches were: history is compacted, and a new API server remembers none.
	s.StopAPIServer(t)
	s.StartAPIServer(t)
	s.createBare(t, "last")
	s.awaitServed(t, 6, 20*time.Second)
	p.more(t, 10)
	p.end(t, "etcd gone twice, compacted, the API server new", 30)
	l.end(t, 6)
}

// A killed container is started again in its pod, and so has the same identity; with another replica beside it the lead goes from hand to hand.
func TestControllersKilledAtRandomUnderAHundredCreatesASecondDoubleAndChangeNothing(t *testing.T) {
	s := prepare(t, cluster.StartAPI(t, cluster.Options{Nodes: 1}))
	s.Apply(t, `{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: large, namespace: metallb-system}, spec: {addresses: [10.10.0.0/16]}}`)
	var controllers []*cluster.Process
	for name, machine := range map[string]*cluster.Machine{"controller-a": s.ControlPlane(), "controller-b": s.Node("node-a")} {
		s.DeclarePod(t, cluster.Pod{Namespace: namespace, Name: name, Node: "node-a"})
		controllers = append(controllers, s.controllerOn(t, machine, "--pod-name="+name))
	}
	l := s.ledger(t)
	stop, done := make(chan struct{}), make(chan int)
	go func() { done <- s.churn(t, stop) }()
	kills := 0
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); kills++ {
		time.Sleep(time.Duration(100+rand.Intn(1200)) * time.Millisecond)
		victim := controllers[rand.Intn(2)]
		victim.Kill(t)
		if rand.Intn(3) == 0 {
			time.Sleep(time.Duration(rand.Intn(800)) * time.Millisecond)
		}
		victim.Start(t)
	}
	before := l.served()
	close(stop)
	created := <-done
	t.Logf("%d created, %d kills, %d served while it went on", created, kills, before)
	if created < 300 || kills < 8 || before < 100 {
		t.Errorf("that proves little")
	}
	wanted := len(s.list(t))
	s.awaitServed(t, wanted, 40*time.Second)
	time.Sleep(300 * time.Millisecond)
	l.end(t, wanted)
}

// churn creates a hundred Services a second, as far as the API server follows, and deletes some, until it is stopped. It returns how many were created.
func (s *system) churn(t testing.TB, stop chan struct{}) int {
	const creators = 8
	var created atomic.Int64
	var all sync.WaitGroup
	for creator := range creators {
		all.Go(func() {
			tick := time.NewTicker(creators * 10 * time.Millisecond)
			defer tick.Stop()
			for own := 0; ; own++ {
				select {
				case <-stop:
					return
				case <-t.Context().Done():
					return
				case <-tick.C:
				}
				if err := s.tryCreateBare(t.Context(), fmt.Sprintf("s-%d-%d", creator, own)); err != nil {
					t.Error(err)
					return
				}
				created.Add(1)
				if own%10 == 9 {
					_ = s.Client.CoreV1().Services("default").Delete(t.Context(), fmt.Sprintf("s-%d-%d", creator, rand.Intn(own)), deleteOptions)
				}
			}
		})
	}
	all.Wait()
	return int(created.Load())
}
