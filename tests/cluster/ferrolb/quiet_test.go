package ferrolb_test

import (
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

func TestNobodyAsksTheAPIServerForAnythingWhileNothingChanges(t *testing.T) {
	s := start(t, 2)
	s.ApplyFile(t, gitops+"manifests/metallb-config")
	for _, name := range []string{"one", "two", "three"} {
		s.service(t, name, "")
	}
	for _, address := range []string{"192.168.1.200", "192.168.1.201", "192.168.1.202"} {
		s.awaitOwner(t, address)
	}
	// What was begun is finished: status, events.
	time.Sleep(5 * time.Second)
	mark := s.Mark(t)
	time.Sleep(30 * time.Second)
	requests := s.RequestsSince(t, mark)
	if ours := requests.By(speakerAccount).Where(notWatch); len(ours) != 0 {
		t.Errorf("the speakers ask:\n%s", ours)
	}
	lease := func(r cluster.Request) bool { return r.Resource != "leases" && notWatch(r) }
	if ours := requests.By(controllerAccount).Where(lease); len(ours) != 0 {
		t.Errorf("the controller asks:\n%s", ours)
	}
	if leases := requests.By(controllerAccount).Where(func(r cluster.Request) bool { return r.Resource == "leases" }); len(leases) > 30 {
		t.Errorf("%d requests for the lease in 30 s:\n%s", len(leases), leases)
	}
}

// A watch is begun anew every few minutes, by the API server's own wish.
func notWatch(r cluster.Request) bool { return r.Verb != "watch" }

func TestNothingWeDoIsForbidden(t *testing.T) {
	s := start(t, 1)
	s.ApplyFile(t, gitops+"manifests/metallb-config")
	s.service(t, "web", "")
	s.awaitOwner(t, "192.168.1.200")
	time.Sleep(2 * time.Second)
	refused := s.RequestsSince(t, 0).Where(func(r cluster.Request) bool { return r.Code == 403 })
	for _, account := range []string{controllerAccount, speakerAccount} {
		if ours := refused.By(account); len(ours) != 0 {
			t.Errorf("%s is refused:\n%s", account, ours)
		}
	}
}
