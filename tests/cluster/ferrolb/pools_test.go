package ferrolb_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	cluster "ferrolb.io/tests/cluster"
)

func poolManifest(name, addresses string) string {
	return fmt.Sprintf("{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: %s, namespace: metallb-system}, spec: {addresses: [%s]}}\n---\n", name, addresses)
}

func advertisementManifest(name, pools string) string {
	return fmt.Sprintf("{apiVersion: metallb.io/v1beta1, kind: L2Advertisement, metadata: {name: %s, namespace: metallb-system}, spec: {ipAddressPools: [%s]}}\n---\n", name, pools)
}

// Each step is one commit: what is new is applied, in whatever order its text has it, and only then what is gone is deleted.
func TestPoolsAreRenamedSplitMergedAndTheirAdvertisementsMovedWithoutAMomentsSilence(t *testing.T) {
	s := startFaulty(t, 2, cluster.Options{}, cluster.Faults{})
	for number := range 3 {
		s.service(t, fmt.Sprint("more-", number), "")
	}
	s.awaitServed(t, 4, 20*time.Second)
	// The LAN is asked for an address for half a second before it is announced.
	s.awaitOwner(t, "192.168.1.203")
	before := s.allAddresses(t)
	l, p, other := s.ledger(t), s.probe(t, firstAddress), s.probe(t, "192.168.1.203")
	for _, step := range []struct{ name, applied, deleted, pool string }{
		{"renamed", poolManifest("renamed", "192.168.1.200-192.168.1.220") + advertisementManifest("default-advertisement", "renamed"),
			"ipaddresspool/default-pool", "renamed"},
		{"renamed, the advertisement first", advertisementManifest("default-advertisement", "again") + poolManifest("again", "192.168.1.200-192.168.1.220"),
			"ipaddresspool/renamed", "again"},
		{"split", poolManifest("low", "192.168.1.200-192.168.1.201") + poolManifest("high", "192.168.1.202-192.168.1.220") + advertisementManifest("default-advertisement", "low, high"),
			"ipaddresspool/again", "low"},
		{"merged", poolManifest("whole", "192.168.1.192/26") + advertisementManifest("default-advertisement", "whole"),
			"ipaddresspool/low ipaddresspool/high", "whole"},
		{"advertised by another object", advertisementManifest("another", "whole"), "l2advertisement/default-advertisement", "whole"},
	} {
		s.Apply(t, step.applied)
		time.Sleep(1500 * time.Millisecond)
		s.Kubectl(t, append([]string{"delete", "-n", namespace}, strings.Fields(step.deleted)...)...)
		cluster.Eventually(t, 20*time.Second, step.name+": the books are with pool "+step.pool, func() bool {
			annotations, _ := at(s.object(t, "svc", "web"), "metadata", "annotations").(map[string]any)
			return annotations["metallb.io/ip-allocated-from-pool"] == step.pool
		})
		time.Sleep(500 * time.Millisecond)
	}
	// An advertisement that is replaced: deleted, and there again.
	s.Kubectl(t, "delete", "-n", namespace, "l2advertisement/another")
	s.Apply(t, advertisementManifest("another", "whole"))
	time.Sleep(3 * time.Second)
	p.more(t, 10)
	other.more(t, 10)
	p.end(t, "pools renamed, split, merged, advertisements moved", 30)
	other.end(t, "the same, for the last address", 30)
	l.end(t, 4)
	if after := s.allAddresses(t); after != before {
		t.Errorf("before: %s\nafter: %s", before, after)
	}
	conflict, _, _ := condition(s.object(t, "ipaddresspool", "-n", namespace, "whole"), "Conflict")
	if conflict != "False" {
		t.Errorf("alone, and in conflict: %s", conflict)
	}
}

func (s *system) allAddresses(t testing.TB) string {
	t.Helper()
	all := ""
	for _, service := range s.list(t) {
		all += fmt.Sprintf("%s %v; ", service.Name, service.Status.LoadBalancer.Ingress[0].IP)
	}
	return all
}

func TestOverlappingPoolsShareOutWhatTheyHaveAndSayWhoIsFirst(t *testing.T) {
	s := startFaulty(t, 1, cluster.Options{}, cluster.Faults{})
	l, p := s.ledger(t), s.probe(t, firstAddress)
	// Creation times have seconds.
	time.Sleep(1100 * time.Millisecond)
	s.Apply(t, poolManifest("younger", "192.168.1.216-192.168.1.223")+poolManifest("twin", "192.168.1.200-192.168.1.220"))
	for _, name := range []string{"younger", "twin"} {
		cluster.Eventually(t, 20*time.Second, name+" is in conflict", func() bool {
			status, reason, message := condition(s.object(t, "ipaddresspool", "-n", namespace, name), "Conflict")
			return status == "True" && reason == "PoolsOverlap" && strings.Contains(message, "LB4004") && strings.Contains(message, "default-pool")
		})
		s.awaitText(t, []string{"PoolsOverlap", "LB4004"}, "describe", "ipaddresspool", "-n", namespace, name)
	}
	// The younger one hands out only what is its own; the twin has nothing.
	s.Apply(t, `{apiVersion: v1, kind: Service, metadata: {name: own, annotations: {metallb.io/address-pool: younger}}, spec: {type: LoadBalancer, ports: [{port: 80}]}}`)
	s.Apply(t, `{apiVersion: v1, kind: Service, metadata: {name: none, annotations: {metallb.io/address-pool: twin}}, spec: {type: LoadBalancer, ports: [{port: 80}]}}`)
	s.awaitAddress(t, "default", "own", "192.168.1.221")
	cluster.Eventually(t, 20*time.Second, "the twin has nothing to hand out, and that is said", func() bool {
		status, _, message := condition(s.object(t, "svc", "none"), "metallb.io/Allocated")
		return status == "False" && strings.Contains(message, "LB10")
	})
	if found := s.addresses(t, "default", "none"); len(found) != 0 {
		t.Errorf("a second time handed out: %v", found)
	}
	p.more(t, 10)
	p.end(t, "pools overlap", 10)
	l.end(t, 2)
}

func TestAPoolDeletedInUseGivesItsAddressesUpAndSaysSo(t *testing.T) {
	s := startFaulty(t, 1, cluster.Options{}, cluster.Faults{})
	s.Apply(t, poolManifest("other", "192.168.1.240/28")+`{apiVersion: v1, kind: Service, metadata: {name: stays, annotations: {metallb.io/address-pool: other}}, spec: {type: LoadBalancer, ports: [{port: 80}]}}`)
	s.awaitAddress(t, "default", "stays", "192.168.1.240")
	s.Kubectl(t, "annotate", "service", "web", "metallb.io/address-pool=default-pool")
	s.Kubectl(t, "delete", "ipaddresspool", "-n", namespace, "default-pool")
	s.awaitText(t, []string{"ClearAssignment", "AllocationFailed", `unknown pool "default-pool"`}, "describe", "svc", "web")
	cluster.Eventually(t, 20*time.Second, "it has no address, and the condition has the code", func() bool {
		status, _, message := condition(s.object(t, "svc", "web"), "metallb.io/Allocated")
		return status == "False" && strings.Contains(message, "LB1004") && len(s.addresses(t, "default", "web")) == 0
	})
	cluster.Eventually(t, 20*time.Second, "nobody answers for what belongs to nobody", func() bool { return len(s.Laptop().ARP(t, firstAddress)) == 0 })
	if found := s.addresses(t, "default", "stays"); len(found) != 1 || found[0] != "192.168.1.240" {
		t.Errorf("another pool's address went too: %v", found)
	}
	// It comes back, and so does the Service.
	s.ApplyFile(t, gitops+"manifests/metallb-config")
	s.awaitAddress(t, "default", "web", firstAddress)
	s.awaitOwner(t, firstAddress)
}

func TestServicesWithNonsenseAreToldWhatIsWrongAndDisturbNobody(t *testing.T) {
	s := startFaulty(t, 1, cluster.Options{}, cluster.Faults{})
	s.Apply(t, poolManifest("other", "192.168.1.240/28"))
	l, p := s.ledger(t), s.probe(t, firstAddress)
	for _, nonsense := range []struct{ name, annotations, spec, code string }{
		{"outside", `metallb.io/loadBalancerIPs: 10.9.8.7`, ``, "LB1012"},
		{"by-spec", ``, `, loadBalancerIP: 10.9.8.7`, "LB1012"},
		{"no-address", `metallb.io/loadBalancerIPs: somewhere`, ``, "LB1007"},
		{"too-many", `metallb.io/loadBalancerIPs: "192.168.1.210,192.168.1.211"`, ``, "LB1007"},
		{"both-ways", `metallb.io/loadBalancerIPs: 192.168.1.210`, `, loadBalancerIP: 192.168.1.211`, "LB1007"},
		{"no-pool", `metallb.io/address-pool: imaginary`, ``, "LB1004"},
		{"pool-and-address", `metallb.io/address-pool: other, metallb.io/loadBalancerIPs: 192.168.1.210`, ``, "LB1013"},
		{"two-pools", `metallb.io/address-pool: "default-pool,other"`, ``, "LB1004"},
		{"taken", `metallb.io/loadBalancerIPs: 192.168.1.200`, ``, "LB1008"},
		{"family", `metallb.io/loadBalancerIPs: "fc00::1"`, ``, "LB1006"},
	} {
		s.Apply(t, fmt.Sprintf("{apiVersion: v1, kind: Service, metadata: {name: %s, annotations: {%s}}, spec: {type: LoadBalancer, ports: [{port: 80}]%s}}", nonsense.name, nonsense.annotations, nonsense.spec))
		message := ""
		for end := time.Now().Add(10 * time.Second); !strings.Contains(message, nonsense.code); time.Sleep(100 * time.Millisecond) {
			if _, _, message = condition(s.object(t, "svc", nonsense.name), "metallb.io/Allocated"); time.Now().After(end) {
				t.Errorf("%s: not %s but %q", nonsense.name, nonsense.code, message)
				break
			}
		}
		if out := s.Kubectl(t, "get", "events", "--field-selector=involvedObject.name="+nonsense.name); !strings.Contains(out, "Warning") {
			t.Errorf("%s: no event:\n%s", nonsense.name, out)
		}
		if found := s.addresses(t, "default", nonsense.name); len(found) != 0 {
			t.Errorf("%s: %v all the same", nonsense.name, found)
		}
	}
	// What cannot be understood, but hurts nobody, is served and named.
	s.Apply(t, `{apiVersion: v1, kind: Service, metadata: {name: odd, annotations: {metallb.io/loadbalancerips: x, metallb.universe.tf/loadBalancer-class: metallb}}, spec: {type: LoadBalancer, ports: [{port: 80}]}}`)
	s.awaitAddress(t, "default", "odd", "192.168.1.201")
	s.awaitText(t, []string{"LB2001"}, "describe", "svc", "odd")
	p.more(t, 10)
	p.end(t, "Services with nonsense", 10)
	l.end(t, 2)
}

// As k3s' own load balancer does: whatever stands in the status, it writes its own.
func TestARivalThatWritesTheSameStatusIsNamedAndNotFought(t *testing.T) {
	s := startFaulty(t, 1, cluster.Options{}, cluster.Faults{})
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		rival := s.Client.CoreV1().Services("default")
		for {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
			service, err := rival.Get(t.Context(), "web", getOptions)
			if err != nil || len(service.Status.LoadBalancer.Ingress) == 1 && service.Status.LoadBalancer.Ingress[0].IP == "172.16.0.1" {
				continue
			}
			service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "172.16.0.1"}}
			_, _ = rival.UpdateStatus(t.Context(), service, metav1.UpdateOptions{FieldManager: "svclb"})
		}
	}()
	s.awaitText(t, []string{"RivalWriter", "LB1017", "svclb"}, "describe", "svc", "web")
	mark := s.Mark(t)
	time.Sleep(5 * time.Second)
	writes := s.RequestsSince(t, mark).By(controllerAccount).Of("update", "services/status")
	if len(writes) > 4 {
		t.Errorf("it goes on fighting:\n%s", writes)
	}
	close(stop)
	<-done
}

// As when a live Service was copied into Git with everything on it, and a tool applies it again and again.
func TestAnAnnotationThatGitKeepsIsLeftToItAndNamed(t *testing.T) {
	s := start(t, 1)
	s.Apply(t, pool)
	apply := func(annotation string) {
		file := filepath.Join(t.TempDir(), "service.yaml")
		manifest := fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: git, namespace: default, annotations: {%s}}\n"+
			"spec: {type: LoadBalancer, ports: [{port: 80}]}\n", annotation)
		if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
			t.Fatal(err)
		}
		s.Kubectl(t, "apply", "--server-side", "--field-manager=argocd-controller", "-f", file)
	}
	const recorded = `jsonpath={.metadata.annotations.metallb\.io/ip-allocated-from-pool}`
	apply("metallb.io/ip-allocated-from-pool: production")
	s.awaitText(t, []string{"LB2005", "ForeignOutputAnnotation", "argocd-controller", "default-pool"}, "describe", "svc", "git")
	if out := s.Kubectl(t, "get", "svc", "git", "-o", recorded); out != "production" {
		t.Errorf("the annotation was written over: %q", out)
	}
	// A second time it goes through without a conflict, and nobody writes anything back. All other words are said by then.
	s.awaitText(t, []string{"LB"}, "get", "svc", "git", "-o", `jsonpath={.status.conditions[?(@.type=="metallb.io/Announced")].message}`)
	mark := s.Mark(t)
	apply("metallb.io/ip-allocated-from-pool: production, changed: later")
	time.Sleep(2 * time.Second)
	if writes := s.RequestsSince(t, mark).By(controllerAccount).Of("update", "services/status"); len(writes) > 0 {
		t.Errorf("it is written after every apply:\n%s", writes)
	}
	apply("changed: later")
	s.awaitText(t, []string{"default-pool"}, "get", "svc", "git", "-o", recorded)
}
