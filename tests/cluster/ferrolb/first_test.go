package ferrolb_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	cluster "ferrolb.io/tests/cluster"
)

var getOptions = metav1.GetOptions{}

const gitops = root + "examples/gitops/"

func TestTheUsersTwoFilesServeTheirTraefik(t *testing.T) {
	s := start(t, 3)
	s.ApplyFile(t, gitops+"manifests/metallb-config")
	s.Kubectl(t, "create", "namespace", "traefik-system")
	s.endpoints(t, "traefik-system", "traefik")
	s.ApplyFile(t, gitops+"services/traefik.yaml")
	s.awaitAddress(t, "traefik-system", "traefik", "192.168.1.201")
	owner := s.awaitOwner(t, "192.168.1.201")

	t.Run("kubectl describe svc says what happened and that it is announced", func(t *testing.T) {
		s.awaitText(t, []string{
			"IPAllocated", `Assigned IP ["192.168.1.201"]`, "nodeAssigned", fmt.Sprintf("announcing from node %q with protocol \"layer2\"", owner),
			"LB2001", "metallb.io/ip-allocated-from-pool: default-pool",
		}, "describe", "svc", "-n", "traefik-system", "traefik")
		cluster.Eventually(t, 20*time.Second, "the conditions say so", func() bool {
			service := s.object(t, "svc", "-n", "traefik-system", "traefik")
			allocated, _, _ := condition(service, "metallb.io/Allocated")
			announced, _, message := condition(service, "metallb.io/Announced")
			return allocated == "True" && announced == "True" && strings.Contains(message, owner)
		})
	})
	t.Run("the status object names the node that really answers", func(t *testing.T) {
		s.awaitText(t, []string{owner, "traefik", "traefik-system"}, "get", "servicel2statuses", "-n", namespace)
	})
	t.Run("the pool counts and its columns show it", func(t *testing.T) {
		cluster.Eventually(t, 20*time.Second, "one used, twenty free", func() bool {
			pool := s.object(t, "ipaddresspool", "-n", namespace, "default-pool")
			return at(pool, "status", "assignedIPv4") == 1.0 && at(pool, "status", "availableIPv4") == 20.0
		})
		out := s.Kubectl(t, "get", "ipaddresspool", "-n", namespace)
		squeezed := strings.Join(strings.Fields(out), " ")
		for _, text := range []string{"AUTO ASSIGN AVOID BUGGY IPS ADDRESSES USED FREE ANNOUNCED AGE", "192.168.1.200-192.168.1.220", " 1 20 L2 "} {
			if !strings.Contains(squeezed, text) {
				t.Errorf("no %q in\n%s", text, out)
			}
		}
	})
	t.Run("the pool's own events say who has an address", func(t *testing.T) {
		s.awaitText(t, []string{"AddressAssigned", "192.168.1.201 -> traefik-system/traefik (1 of 21 IPv4 used)"}, "describe", "ipaddresspool", "-n", namespace, "default-pool")
	})
	t.Run("the configuration states are valid", func(t *testing.T) {
		s.awaitText(t, []string{"controller", "speaker-node-a", "speaker-node-b", "speaker-node-c"}, "get", "configurationstates", "-n", namespace)
		for _, name := range []string{"controller", "speaker-node-a"} {
			if state := s.object(t, "configurationstate", "-n", namespace, name); at(state, "status", "result") != "Valid" {
				t.Errorf("%s: %v", name, state["status"])
			}
		}
	})
	t.Run("pools for some Services, namespaces and labels, and in order of priority", s.sharedOut)
	t.Run("a Service of both families is answered for in both", s.bothFamilies)
	t.Run("a status that somebody edits", s.editedStatus)
	t.Run("an unplugged owner is replaced", func(t *testing.T) {
		s.Node(owner).Unplug(t)
		next := s.awaitOwner(t, "192.168.1.201")
		if next == owner {
			t.Errorf("%s answers without a cable", owner)
		}
		s.Node(owner).Plug(t)
	})
}

func TestWhatIsNotServedSaysWhyWithACode(t *testing.T) {
	s := start(t, 1)
	s.ApplyFile(t, gitops+"manifests/metallb-config")
	s.service(t, "pooled", "")
	s.awaitOwner(t, "192.168.1.200")
	s.ApplyFile(t, gitops+"services/pool-by-annotation.yaml")
	s.awaitText(t, []string{"AllocationFailed", `unknown pool "production-pool"`}, "describe", "svc", "by-pool")
	cluster.Eventually(t, 20*time.Second, "the condition has the code", func() bool {
		status, _, message := condition(s.object(t, "svc", "by-pool"), "metallb.io/Allocated")
		return status == "False" && strings.Contains(message, "LB1004")
	})
	// Nobody may announce: the address stays, and after ten seconds an event says why.
	s.Kubectl(t, "delete", "l2advertisement", "-n", namespace, "default-advertisement")
	cluster.Eventually(t, 20*time.Second, "nobody answers any more", func() bool { return len(s.Laptop().ARP(t, "192.168.1.200")) == 0 })
	s.awaitText(t, []string{"NotAnnounced", "LB1101"}, "describe", "svc", "pooled")
	s.controller.WaitForLog(t, "LB1101", 5*time.Second)
	if found := s.addresses(t, "default", "pooled"); len(found) != 1 || found[0] != "192.168.1.200" {
		t.Errorf("the address went with the advertisement: %v", found)
	}
	s.ApplyFile(t, gitops+"manifests/metallb-config")
	s.awaitOwner(t, "192.168.1.200")
}

func TestANamespaceThatRefusesSpeakersIsNamedWithTheLabelThatItNeeds(t *testing.T) {
	s := prepare(t, cluster.StartAPI(t, cluster.Options{Nodes: 1}))
	s.Kubectl(t, "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=baseline", "--overwrite")
	s.startController(t)
	s.Apply(t, poolManifest("one", "192.168.1.200/32")+advertisement)
	s.service(t, "web", "")
	s.awaitAddress(t, "default", "web", firstAddress)
	s.createBare(t, "waits")
	s.awaitText(t, []string{"PoolExhausted", "all 1 IPv4 addresses are in use; default/waits waits", "LB1002"}, "describe", "ipaddresspool", "-n", namespace, "one")
	s.awaitText(t, []string{"NotAnnounced", "LB1130", "baseline", "kubectl label namespace metallb-system pod-security.kubernetes.io/enforce=privileged"}, "describe", "svc", "web")
	if status, reason, message := condition(s.object(t, "svc", "web"), "metallb.io/Announced"); status != "False" || reason != "NoSpeaker" || !strings.Contains(message, "LB1130") {
		t.Errorf("%s %s %s", status, reason, message)
	}
}
