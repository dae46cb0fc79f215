package ferrolb_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// userCommands are what the first user types, line by line as he types it, and what each must say. `[...]` in his notes means with it and without.
var userCommands = []struct {
	line   string
	wanted []string
}{
	{"kubectl get pods -n metallb-system -o wide", []string{"metallb-controller-", "metallb-speaker-", "Running", "node-a", "node-b", "node-c"}},
	{"kubectl get pods -n metallb-system", []string{"metallb-controller-", "metallb-speaker-", "1/1", "Running"}},
	{"kubectl get ipaddresspool -n metallb-system", []string{"default-pool", "192.168.1.200-192.168.1.220"}},
	{"kubectl get ipaddresspool -n metallb-system -o yaml", []string{"assignedIPv4: 2", "availableIPv4: 19"}},
	{"kubectl get l2advertisement -n metallb-system", []string{"default-advertisement"}},
	{"kubectl get l2advertisement -n metallb-system -o yaml", []string{"name: default-advertisement"}},
	{"kubectl get svc --all-namespaces -o wide | grep LoadBalancer", []string{"page", "192.168.1.200", "traefik", "192.168.1.201"}},
	{"kubectl logs -n metallb-system deployment/metallb-controller", []string{`"event":"ipAllocated"`, "192.168.1.200"}},
	{"kubectl logs -n metallb-system daemonset/metallb-speaker", []string{`"msg":"metallb-speaker starting`}},
	{"kubectl describe svc page", []string{"IPAllocated", "nodeAssigned", "192.168.1.200"}},
	{"kubectl describe ipaddresspool default-pool -n metallb-system", []string{"Advertised", "assignedIPv4", "by L2Advertisement default-advertisement"}},
	{"kubectl get events -n metallb-system --sort-by='.lastTimestamp'", []string{"metallb-speaker", "AddressAssigned", "192.168.1.200 -> default/page (1 of 21 IPv4 used)"}},
	{"curl -sS --max-time 5 192.168.1.201", []string{"page-", " sees "}},
	// Who was spoken to is in the laptop's table.
	{"arp -a | grep 192.168.1.201", []string{"(192.168.1.201) at ", "[ether]"}},
	{"kubectl get ipaddresspool -n metallb-system -o yaml > metallb-pools-backup.yaml && cat metallb-pools-backup.yaml", []string{"kind: IPAddressPool", "192.168.1.200-192.168.1.220"}},
	{"kubectl get l2advertisement -n metallb-system -o yaml > metallb-l2-backup.yaml && cat metallb-l2-backup.yaml", []string{"kind: L2Advertisement", "- default-pool"}},
	{"kubectl apply -f manifests/metallb-config/ip-pool.yaml", []string{"ipaddresspool.metallb.io/default-pool", "l2advertisement.metallb.io/default-advertisement"}},
	{"kubectl wait --for=condition=Available deployment/metallb-controller -n metallb-system", []string{"deployment.apps/metallb-controller condition met"}},
	{"kubectl create service loadbalancer test-lb --tcp=80:80", []string{"service/test-lb created"}},
	{"kubectl describe svc test-lb", []string{"IPAllocated", "192.168.1.202"}},
	{"kubectl get svc test-lb", []string{"LoadBalancer", "192.168.1.202"}},
	{"kubectl delete service test-lb", []string{"deleted"}},
	// Upstream's own start lines name these.
	{"kubectl exec -n metallb-system deployment/metallb-controller -- /controller --help", []string{"--webhook-mode"}},
	{"kubectl exec -n metallb-system daemonset/metallb-speaker -- /speaker --help", []string{"--ml-secret-key-path"}},
}

func usersCommands(t *testing.T, s *system) {
	s.Apply(t, strings.NewReplacer("name: page}", "name: traefik}", "type: LoadBalancer", "type: LoadBalancer\n  loadBalancerIP: 192.168.1.201").Replace(
		backend[strings.Index(backend, "apiVersion: v1"):]))
	s.awaitAddress(t, "default", "traefik", "192.168.1.201")
	s.awaitOwner(t, "192.168.1.201")
	shell := s.shell(t)
	for _, command := range userCommands {
		out, err := "", error(nil)
		says := func() bool {
			out, err = shell(command.line)
			for _, text := range command.wanted {
				if !strings.Contains(out, text) {
					return false
				}
			}
			return err == nil
		}
		for end := time.Now().Add(20 * time.Second); !says(); time.Sleep(100 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s does not say all of %q: %v\n%s", command.line, command.wanted, err, out)
			}
		}
	}
	s.Kubectl(t, "delete", "service", "traefik")
	// Given back, not put back: pools and addresses are as they were.
	s.awaitOwner(t, pageAddress)
}

// shell runs lines on the laptop, in a copy of the user's repository, with kubectl in its PATH.
func (s *system) shell(t testing.TB) func(line string) (string, error) {
	t.Helper()
	work := t.TempDir()
	if err := os.CopyFS(work, os.DirFS(gitops)); err != nil {
		t.Fatal(err)
	}
	before := "set -o pipefail; cd " + work + "; export KUBECONFIG=" + s.Kubeconfig() + " PATH=" + filepath.Dir(s.Assets["kubectl"]) + ":$PATH; "
	return func(line string) (string, error) { return s.Laptop().Output(t.Context(), "bash", "-c", before+line) }
}
