package ferrolb_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

// moved are Services as people have them on MetalLB: an address by chance, one asked for in each way, two that share one, a pool by name. All have pods.
const moved = `
apiVersion: v1
kind: Service
metadata: {name: asked, annotations: {metallb.universe.tf/loadBalancerIPs: 192.168.1.210}}
spec: {type: LoadBalancer, selector: {app: page}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: by-field}
spec: {type: LoadBalancer, loadBalancerIP: 192.168.1.211, selector: {app: page}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: by-pool, annotations: {metallb.universe.tf/address-pool: more}}
spec: {type: LoadBalancer, selector: {app: page}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: one-of-two, annotations: {metallb.universe.tf/allow-shared-ip: key, metallb.universe.tf/loadBalancerIPs: 192.168.1.212}}
spec: {type: LoadBalancer, selector: {app: page}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: two-of-two, annotations: {metallb.universe.tf/allow-shared-ip: key, metallb.universe.tf/loadBalancerIPs: 192.168.1.212}}
spec: {type: LoadBalancer, selector: {app: page}, ports: [{port: 81, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: local}
spec: {type: LoadBalancer, externalTrafficPolicy: Local, selector: {app: page}, ports: [{port: 80, targetPort: 8080}]}
`

const morePool = `
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: more, namespace: metallb-system}
spec: {addresses: [192.168.1.230-192.168.1.235], autoAssign: false}
`

// From MetalLB to FerroLB and back on real nodes while a laptop uses an address: MetalLB of two releases, built from its own sources, one installed by its own
// chart, the other by its own manifest. Here kube-proxy is in iptables mode, as most have it; the other tests on real nodes have nftables.
func TestFromMetalLBAndBack(t *testing.T) {
	c := cluster.StartNodes(t, cluster.Options{Nodes: 3, ProxyMode: "iptables"})
	s := newSystem(t, c)
	s.Apply(t, backend)
	s.Kubectl(t, "rollout", "status", "deployment/page", "--timeout=90s")
	if err := c.LoadFerroLB(t.Context(), staticBinary(t), root+"deploy/metallb.yaml"); err != nil {
		t.Fatal(err)
	}
	s.Apply(t, moved)
	t.Run("0.14.8 by its chart", func(t *testing.T) { s.byChart(t, "v0.14.8") })
	t.Run("0.16.1 by its manifest", func(t *testing.T) { s.byManifest(t, "v0.16.1") })
}

// upstream is a release of MetalLB, its images on the nodes.
func (s *system) upstream(t *testing.T, version string) cluster.Upstream {
	t.Helper()
	upstream, err := cluster.UpstreamMetalLB(t.Context(), version, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.LoadUpstream(t.Context(), upstream); err != nil {
		t.Fatal(err)
	}
	return upstream
}

// byChart is one release of Helm all along, as with Argo CD: only the chart changes.
func (s *system) byChart(t *testing.T, version string) {
	upstream := s.upstream(t, version)
	ours, err := filepath.Abs(root + "charts/metallb")
	if err != nil {
		t.Fatal(err)
	}
	helm := func(args ...string) {
		t.Helper()
		line := append([]string{"env", "HOME=" + s.secrets, helm(t, "HELM3")}, args...)
		if _, err := s.Laptop().Output(t.Context(), append(line, "--namespace="+namespace, "--kubeconfig="+s.Kubeconfig())...); err != nil {
			t.Fatal(err)
		}
	}
	theirs := []string{"metallb", upstream.Chart, "--set=frrk8s.enabled=false,speaker.frr.enabled=false", "--wait", "--timeout=180s"}
	s.Kubectl(t, "create", "namespace", namespace)
	s.Kubectl(t, "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=privileged")
	helm(append([]string{"install"}, theirs...)...)
	cluster.Eventually(t, 90*time.Second, "the pools are accepted", func() bool {
		return s.tryApply(t, pool+"---"+morePool+"---"+advertisement)
	})
	cluster.Eventually(t, 60*time.Second, "every Service has its address", func() bool { return len(s.everyAddress(t)) == 7 })
	before := s.everyAddress(t)
	s.served(t)
	s.move(t, "MetalLB "+version+" to FerroLB", before, func() { helm("upgrade", "metallb", ours, "--reset-values", "--wait", "--timeout=120s") })
	s.move(t, "FerroLB to MetalLB "+version, before, func() { helm(append([]string{"upgrade", "--reset-values"}, theirs...)...) })
	helm("uninstall", "metallb", "--wait", "--timeout=120s")
	s.Kubectl(t, "delete", "namespace", namespace, "--timeout=120s")
}

// byManifest goes the ways that the book describes: the workloads go, the kinds stay; and back, and with MetalLB's own manifest but for the image.
func (s *system) byManifest(t *testing.T, version string) {
	upstream := s.upstream(t, version)
	await := func(workloads ...string) {
		t.Helper()
		for _, workload := range workloads {
			s.Kubectl(t, "rollout", "status", workload, "-n", namespace, "--timeout=180s")
		}
	}
	s.ApplyFile(t, upstream.Manifest)
	await("deployment/controller", "daemonset/speaker")
	cluster.Eventually(t, 90*time.Second, "the pools are accepted", func() bool {
		return s.tryApply(t, pool+"---"+morePool+"---"+advertisement)
	})
	// MetalLB takes an address away whose pool comes a moment after the others, and may give another: what counts is what it ends with.
	cluster.Eventually(t, 60*time.Second, "every Service has an address again", func() bool { return len(s.everyAddress(t)) == 7 })
	s.served(t)
	before := s.everyAddress(t)
	s.move(t, "MetalLB "+version+" to FerroLB", before, func() {
		s.Kubectl(t, "delete", "-n", namespace, "deployment/controller", "daemonset/speaker")
		s.ApplyFile(t, root+"deploy/crds.yaml", root+"deploy/metallb.yaml")
		await("deployment/metallb-controller", "daemonset/metallb-speaker")
	})
	s.move(t, "FerroLB to MetalLB "+version, before, func() {
		s.Kubectl(t, "delete", "-n", namespace, "deployment/metallb-controller", "daemonset/metallb-speaker")
		s.ApplyFile(t, upstream.Manifest)
		await("deployment/controller", "daemonset/speaker")
	})
	s.move(t, "nothing but the image of MetalLB "+version, before, func() {
		s.ApplyFile(t, root+"deploy/crds.yaml", root+"deploy/rights-for-metallb-manifests.yaml")
		s.Kubectl(t, "set", "image", "-n", namespace, "daemonset/speaker", "speaker="+ourImage(t))
		s.Kubectl(t, "set", "image", "-n", namespace, "deployment/controller", "controller="+ourImage(t))
		await("deployment/controller", "daemonset/speaker")
	})
}

// ourImage is what our own manifests call it.
func ourImage(t *testing.T) string {
	t.Helper()
	manifests, err := os.ReadFile(root + "deploy/metallb.yaml")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`image: "?([^\s"]+)`).FindSubmatch(manifests)
	if found == nil {
		t.Fatal("deploy/metallb.yaml names no image")
	}
	return string(found[1])
}

// move does something while the laptop uses an address; no request may fail, and every address must be where it was.
func (s *system) move(t *testing.T, what string, before map[string]string, how func()) {
	t.Helper()
	seen := s.during(t, how)
	t.Logf("%s: %s", what, seen)
	// One client has one connection open at a time, and each of three nodes takes the address once.
	if seen.failed > 0 || seen.cut > 3 {
		t.Errorf("%s: %s:\n%s", what, seen, strings.Join(seen.failures, "\n"))
	}
	s.same(t, before)
}

// everyAddress is the address of all Services that have one.
func (s *system) everyAddress(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	out := s.Kubectl(t, "get", "services", "-A", "-o", `jsonpath={range .items[?(@.spec.type=="LoadBalancer")]}{.metadata.name} {.status.loadBalancer.ingress[*].ip}{"\n"}{end}`)
	for _, line := range strings.Split(out, "\n") {
		if name, ips, ok := strings.Cut(strings.TrimSpace(line), " "); ok && ips != "" {
			found[name] = ips
		}
	}
	return found
}

func (s *system) same(t *testing.T, before map[string]string) {
	t.Helper()
	now := s.everyAddress(t)
	for name, address := range before {
		if now[name] != address {
			t.Errorf("%s had %s and has %q", name, address, now[name])
		}
	}
	s.served(t)
}

// served waits until one machine answers for each address and the page comes through it.
func (s *system) served(t *testing.T) {
	t.Helper()
	for name, address := range s.everyAddress(t) {
		cluster.Eventually(t, 60*time.Second, fmt.Sprintf("%s (%s) has one owner", name, address), func() bool { return len(s.Laptop().ARP(t, address)) == 1 })
	}
	if body, err := s.Laptop().Get(t.Context(), "http://192.168.1.210/"); err != nil || body == "" {
		t.Errorf("%q, %v", body, err)
	}
}

// use is what the laptop saw meanwhile. Cut are requests that were reset because the address went to another node between their first packet and their last:
// a connection does not outlive that, since what kube-proxy knows of it stays where it was. They are no failures of a new connection, and come with a move only.
type use struct {
	requests, failed, cut, questions, unanswered, twice int
	failures                                            []string
}

func (u use) String() string {
	return fmt.Sprintf("%d of %d requests failed, %d were open while the address moved and were reset; of %d who asked anew %d had no answer, %d had two",
		u.failed, u.requests, u.cut, u.questions, u.unanswered, u.twice)
}

// during uses an address for as long as something takes, and three seconds longer: a new connection every 20 ms with the neighbour entry that there is, and a
// question of somebody who has none, all the time.
func (s *system) during(t *testing.T, something func()) use {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var seen use
	asked, browsed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(browsed)
		for ; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
			limited, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			before := s.neighbour(t, "192.168.1.210")
			_, err := s.Laptop().Get(limited, "http://192.168.1.210/")
			cancel()
			seen.requests++
			switch {
			case err == nil:
			case errors.Is(err, syscall.ECONNRESET) && before != "" && s.neighbour(t, "192.168.1.210") != before:
				seen.cut++
			default:
				seen.failed++
				seen.failures = append(seen.failures, time.Now().Format("15:04:05.000 ")+err.Error())
			}
		}
	}()
	go func() {
		defer close(asked)
		for ctx.Err() == nil {
			answers := s.Laptop().ARP(t, "192.168.1.211")
			seen.questions++
			switch machines := owners(answers); {
			case len(machines) == 0:
				seen.unanswered++
			case len(machines) > 1:
				seen.twice++
			}
		}
	}()
	something()
	time.Sleep(3 * time.Second)
	stop()
	<-asked
	<-browsed
	if seen.requests < 100 || seen.questions < 10 {
		t.Errorf("too little was seen: %s", seen)
	}
	return seen
}

// neighbour is where the laptop sends what is for an address.
func (s *system) neighbour(t *testing.T, address string) string {
	mac, err := s.Laptop().Neighbour(address)
	if err != nil {
		t.Error(err)
	}
	return mac
}

// owners are the machines that answered.
func owners(answers []cluster.Answer) []string {
	var machines []string
	for _, answer := range answers {
		if !slices.Contains(machines, answer.Machine) {
			machines = append(machines, answer.Machine)
		}
	}
	return machines
}
