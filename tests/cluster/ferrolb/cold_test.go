package ferrolb_test

import (
	"fmt"
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

const largePool = `
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: large, namespace: metallb-system}
spec: {addresses: [10.10.0.0/16]}
`

func succeeded(r cluster.Request) bool { return r.Code == 200 || r.Code == 201 }

// assertAddressesCameFirst looks at what a controller that started cold has asked since a mark: one write for each of the waiting Services, and not a
// word about any of them, nor about pools, before the last address was out.
func (s *system) assertAddressesCameFirst(t testing.TB, mark cluster.Mark, services int) {
	t.Helper()
	asked := s.RequestsSince(t, mark).By(controllerAccount)
	written := map[string]bool{}
	for _, request := range asked {
		switch {
		case len(written) == services:
			return
		case request.Resource == "services/status" && succeeded(request):
			if name := request.Namespace + "/" + request.Name; written[name] {
				t.Fatalf("%s is written a second time after %d of %d have an address", name, len(written), services)
			} else {
				written[name] = true
			}
		case request.Resource == "services/status", request.Resource == "events", request.Resource == "ipaddresspools/status":
			t.Fatalf("%s %s %s (%d) after %d of %d have an address", request.Verb, request.Resource, request.Name, request.Code, len(written), services)
		}
	}
	if len(written) != services {
		t.Fatalf("%d of %d have an address; all that was asked:\n%s", len(written), services, asked)
	}
}

func TestAColdControllerWritesEveryAddressOnceAndBeforeAnythingElse(t *testing.T) {
	const services = 120
	s := prepare(t, cluster.StartAPI(t, cluster.Options{Nodes: 1}))
	s.Apply(t, largePool)
	s.Apply(t, advertisement)
	for number := range services {
		s.createBare(t, fmt.Sprint("s-", number))
	}
	mark := s.Mark(t)
	s.startController(t)
	cluster.Eventually(t, 60*time.Second, "all have an address", func() bool {
		requests, _ := s.RequestsSoFar(t, mark)
		return len(requests.By(controllerAccount).Of("update", "services/status").Where(succeeded)) >= services
	})
	s.assertAddressesCameFirst(t, mark, services)
	cluster.Eventually(t, 60*time.Second, "the words about all of them follow", func() bool {
		said := 0
		for _, service := range s.list(t) {
			for _, condition := range service.Status.Conditions {
				if condition.Type == "metallb.io/Allocated" && condition.Status == "True" {
					said++
				}
			}
		}
		return said == services
	})
}

func TestTheControllerReadsEveryKindOnce(t *testing.T) {
	s := prepare(t, cluster.StartAPI(t, cluster.Options{Nodes: 1}))
	s.Apply(t, pool)
	mark := s.Mark(t)
	s.startController(t, "--webhook-mode=enabled")
	s.controller.WaitForLog(t, "webhooks are served", 30*time.Second)
	s.service(t, "web", "")
	s.awaitAddress(t, "default", "web", "192.168.1.200")
	watches := map[string]int{}
	for _, request := range s.RequestsSince(t, mark).By(controllerAccount).Where(succeeded) {
		if request.Verb == "watch" {
			watches[request.Resource+" in "+request.Namespace]++
		}
	}
	// The API server itself may end a watch of a kind that has just been defined, so those are not counted.
	for _, kind := range []string{"services", "nodes", "namespaces"} {
		if count := watches[kind+" in "]; count != 1 {
			t.Errorf("%d watches of %s: %v", count, kind, watches)
		}
	}
}
