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
	s := prepare(t, cluster.StartAPI(t, cluster.Options{Nodes: 1}))
	s.startController(t, "--port=9120")
	s.startSpeaker(t, "node-a", "--port=9120")
	s.ApplyFile(t, gitops+"manifests/metallb-config")
	s.service(t, "web", "")
	s.awaitOwner(t, "192.168.1.200")
	t.Run("metrics are for those who may read them, under upstream's names", func(t *testing.T) { scraped(t, s) })
	t.Run("only Services of a class, where one is named", func(t *testing.T) { classes(t, s) })
	time.Sleep(2 * time.Second)
	refused := s.RequestsSince(t, 0).Where(func(r cluster.Request) bool { return r.Code == 403 })
	for _, account := range []string{controllerAccount, speakerAccount} {
		if ours := refused.By(account); len(ours) != 0 {
			t.Errorf("%s is refused:\n%s", account, ours)
		}
	}
}

// classes starts both programs for one loadBalancerClass only: what has another one, or none, is somebody else's.
func classes(t *testing.T, s *system) {
	s.Kubectl(t, "delete", "service", "web")
	s.controller.Terminate(t)
	s.speakers["node-a"].Terminate(t)
	s.startController(t, "--lb-class=example.com/ours")
	s.startSpeaker(t, "node-a", "--lb-class=example.com/ours")
	s.Apply(t, `{apiVersion: v1, kind: Service, metadata: {name: plain}, spec: {type: LoadBalancer, ports: [{port: 80}]}}`)
	for name, class := range map[string]string{"ours": "example.com/ours", "theirs": "example.com/theirs"} {
		s.Apply(t, `{apiVersion: v1, kind: Service, metadata: {name: `+name+`}, spec: {type: LoadBalancer, loadBalancerClass: `+class+`, ports: [{port: 80}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: `+name+`, labels: {kubernetes.io/service-name: `+name+`}}
addressType: IPv4
endpoints: [{addresses: [10.244.0.9], nodeName: node-a, conditions: {ready: true}}]
ports: [{port: 80}]`)
	}
	s.awaitAddress(t, "default", "ours", "192.168.1.200")
	s.awaitOwner(t, "192.168.1.200")
	for _, name := range []string{"plain", "theirs"} {
		if found := s.addresses(t, "default", name); len(found) != 0 {
			t.Errorf("%s is not ours, and has %v", name, found)
		}
	}
}
