package ferrolb_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

// What people add later, beside the user's two files and in the same cluster.

// wanting is a LoadBalancer Service that wants something: the insides of its metadata, and of its spec.
func (s *system) wanting(t testing.TB, in, name, metadata, spec string) {
	t.Helper()
	s.Apply(t, fmt.Sprintf("{apiVersion: v1, kind: Service, metadata: {namespace: %s, name: %s, %s}, spec: {type: LoadBalancer, ports: [{port: 80}], %s}}", in, name, metadata, spec))
}

// sharedOut tries all of serviceAllocation (spec §3.3): whose a pool is, and which of several comes first.
func (s *system) sharedOut(t *testing.T) {
	ours := func(name, addresses, allocation string) string {
		return fmt.Sprintf("{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: %s, namespace: metallb-system}, spec: {addresses: [%s], serviceAllocation: %s}}\n---\n", name, addresses, allocation)
	}
	for _, name := range []string{"tenant", "plain"} {
		s.Kubectl(t, "create", "namespace", name)
	}
	s.Apply(t, ours("second", "192.168.1.230-192.168.1.231", `{priority: 20, namespaces: [tenant]}`)+
		ours("first", "192.168.1.232/32", `{priority: 10, namespaces: [tenant]}`)+
		ours("red", "192.168.1.234/32", `{namespaceSelectors: [{matchLabels: {team: red}}]}`)+
		ours("gold", "192.168.1.235/32", `{serviceSelectors: [{matchLabels: {tier: gold}}]}`))
	// The smaller number goes first, and the next one serves whom it has no address for.
	s.wanting(t, "tenant", "one", "", "")
	s.awaitAddress(t, "tenant", "one", "192.168.1.232")
	s.wanting(t, "tenant", "two", "", "")
	s.awaitAddress(t, "tenant", "two", "192.168.1.230")
	s.wanting(t, "default", "golden", "labels: {tier: gold}", "")
	s.awaitAddress(t, "default", "golden", "192.168.1.235")
	// Who is not meant does not get in by asking, and gets in as soon as a label says that it is meant.
	s.wanting(t, "plain", "stranger", "annotations: {metallb.io/address-pool: red}", "")
	cluster.Eventually(t, 20*time.Second, "the pool is not for everybody, which is said", func() bool {
		status, _, message := condition(s.object(t, "svc", "-n", "plain", "stranger"), "metallb.io/Allocated")
		return status == "False" && strings.Contains(message, "LB1005")
	})
	s.awaitText(t, []string{"AllocationFailed", "pool red not compatible for ip assignment"}, "describe", "svc", "-n", "plain", "stranger")
	s.Kubectl(t, "label", "namespace", "plain", "team=red")
	s.awaitAddress(t, "plain", "stranger", "192.168.1.234")
	// Where nobody is meant the pool for all serves.
	s.wanting(t, "plain", "anybody", "", "")
	cluster.Eventually(t, 20*time.Second, "the pool for all serves", func() bool {
		annotations, _ := at(s.object(t, "svc", "-n", "plain", "anybody"), "metadata", "annotations").(map[string]any)
		return annotations["metallb.io/ip-allocated-from-pool"] == "default-pool"
	})
	s.Kubectl(t, "delete", "namespace", "tenant", "plain", "--wait=false")
	s.Kubectl(t, "delete", "service", "golden")
	s.Kubectl(t, "delete", "ipaddresspool", "-n", namespace, "first", "second", "red", "gold")
}

// bothFamilies asks the LAN for both addresses of one Service.
func (s *system) bothFamilies(t *testing.T) {
	const v4, v6 = "192.168.1.240", "fd00:1::240"
	s.Apply(t, poolManifest("both", `192.168.1.240/32, "fd00:1::240/128"`)+advertisementManifest("both", "both"))
	s.wanting(t, "default", "both", "annotations: {metallb.io/address-pool: both}", "ipFamilyPolicy: RequireDualStack")
	s.endpoints(t, "default", "both")
	cluster.Eventually(t, 20*time.Second, "it has an address of each family", func() bool {
		found := s.addresses(t, "default", "both")
		return len(found) == 2 && slices.Contains(found, v4) && slices.Contains(found, v6)
	})
	owner4, owner6 := s.awaitOwner(t, v4), ""
	cluster.Eventually(t, 20*time.Second, "one node answers for "+v6, func() bool {
		answers := s.Laptop().NDP(t, v6)
		if len(answers) == 1 {
			owner6 = answers[0].Machine
		}
		return len(answers) == 1
	})
	// One object for each node that answers for any of its addresses, and none for any other.
	wanted := []string{owner4, owner6}
	slices.Sort(wanted)
	wanted = slices.Compact(wanted)
	var said []string
	same := func() bool {
		said = nil
		list, _ := at(s.object(t, "servicel2statuses", "-n", namespace), "items").([]any)
		for _, one := range list {
			if at(one, "status", "serviceName") == "both" {
				node, _ := at(one, "status", "node").(string)
				said = append(said, node)
			}
		}
		slices.Sort(said)
		return slices.Equal(said, wanted)
	}
	for end := time.Now().Add(20 * time.Second); !same(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%v answer, and the status objects name %v", wanted, said)
		}
	}
	s.Kubectl(t, "delete", "service", "both")
	s.Kubectl(t, "delete", "ipaddresspool,l2advertisement", "-n", namespace, "both")
	cluster.Eventually(t, 20*time.Second, "nobody answers any more", func() bool {
		return len(s.Laptop().ARP(t, v4))+len(s.Laptop().NDP(t, v6)) == 0
	})
}

// editedStatus writes into a Service's status by hand (decision 80).
func (s *system) editedStatus(t *testing.T) {
	s.service(t, "edited", "")
	s.awaitText(t, []string{"metallb.io/Allocated"}, "get", "svc", "edited", "-o", "jsonpath={.status.conditions}")
	write := func(addresses string) {
		s.Kubectl(t, "patch", "service", "edited", "--subresource=status", "--type=merge", "-p", `{"status":{"loadBalancer":{"ingress":[`+addresses+`]}}}`)
	}
	const adopted = "192.168.1.219"
	write(`{"ip":"` + adopted + `"}`)
	s.awaitText(t, []string{"IPAllocated", `Assigned IP ["` + adopted + `"]: somebody wrote it into the status`}, "describe", "svc", "edited")
	s.awaitOwner(t, adopted)
	asked := s.Laptop().AskARP(t, adopted, 20*time.Millisecond)
	// In no pool, somebody else's, and none at all: it keeps what it has, and who wrote is told.
	for _, one := range []struct{ address, code string }{{"10.9.8.7", "LB1014"}, {"192.168.1.201", "LB1014"}} {
		write(`{"ip":"` + one.address + `"}`)
		s.awaitText(t, []string{fmt.Sprintf("somebody wrote [%q] into its status, and it keeps [%q]", one.address, adopted), one.code}, "describe", "svc", "edited")
		s.awaitAddress(t, "default", "edited", adopted)
	}
	write("")
	s.awaitAddress(t, "default", "edited", adopted)
	if found := s.addresses(t, "traefik-system", "traefik"); len(found) != 1 || found[0] != "192.168.1.201" {
		t.Errorf("whose address was written has %v", found)
	}
	seen := asked()
	t.Logf("%s was asked for %d times, and silent for %d ms at most", adopted, seen.Asked, seen.Silence.Milliseconds())
	if seen.Silence > 2*time.Second {
		t.Errorf("nobody answered for %v", seen.Silence)
	}
	s.Kubectl(t, "delete", "service", "edited")
}
