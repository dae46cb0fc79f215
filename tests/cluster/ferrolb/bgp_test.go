package ferrolb_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

// One router is BIRD on the laptop, of the nodes' own AS; the other is FRR on the control plane's machine, of another.
const routing = `
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: routed, namespace: metallb-system}
spec: {addresses: [203.0.113.0/24, 'fd00:203::/120']}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: all, namespace: metallb-system}
spec: {localPref: 150, communities: ['64512:7', 'large:64512:1:2']}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: bird, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64512, peerAddress: 192.168.1.50, connectTime: 1s, enableGracefulRestart: true, dualStackAddressFamily: true}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: frr, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.168.1.10, connectTime: 1s, enableGracefulRestart: true, dualStackAddressFamily: true}
`

// guarded is a third router, on another port, with a password, for one node only.
const guarded = `
apiVersion: v1
kind: Secret
metadata: {name: router, namespace: metallb-system}
type: kubernetes.io/basic-auth
stringData: {username: '', password: %s}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: guarded, namespace: metallb-system}
spec:
  myASN: 64512
  peerASN: 64512
  peerAddress: 192.168.1.50
  peerPort: 1179
  connectTime: 1s
  passwordSecret: {name: router}
  nodeSelectors: [{matchLabels: {kubernetes.io/hostname: %s}}]
`

// bird is BIRD on the laptop.
type bird struct {
	*system
	control string
}

// startBird starts BIRD for these nodes; more is said to each neighbour. Where BFD is on, direct has to be said too: BIRD takes iBGP to be multihop, and FRR does not.
func (s *system) startBird(t testing.TB, port int, more string, nodes ...*cluster.Machine) *bird {
	t.Helper()
	dir := t.TempDir()
	config := "router id 192.168.1.50;\nprotocol device {}\nprotocol direct { ipv4; ipv6; }\n"
	if strings.Contains(more, "bfd on") {
		config += "protocol bfd { interface \"*\" { interval 50 ms; multiplier 3; }; }\n"
	}
	for _, node := range nodes {
		config += fmt.Sprintf(`protocol bgp from_%s {
  local 192.168.1.50 port %d as 64512; neighbor %s as 64512; passive yes; %s
  ipv4 { import all; export none; }; ipv6 { import all; export none; };
}
`, strings.ReplaceAll(node.Name, "-", "_"), port, node.IPv4, more)
	}
	file := filepath.Join(dir, "bird.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	b := &bird{s, filepath.Join(dir, "bird.ctl")}
	s.Laptop().Run(t, cluster.Program{Path: "/usr/sbin/bird", Args: []string{"-f", "-c", file, "-s", b.control, "-P", filepath.Join(dir, "bird.pid")}})
	cluster.Eventually(t, 5*time.Second, "BIRD runs", func() bool { _, err := os.Stat(b.control); return err == nil })
	return b
}

func (b *bird) show(t testing.TB, what string) string {
	t.Helper()
	// It ends with an error where there is no such route, which is an answer as well.
	out, err := b.Laptop().Output(t.Context(), "birdc", "-s", b.control, "show "+what)
	if err != nil && !strings.Contains(out, "Network not found") {
		t.Fatalf("show %s: %v: %s", what, err, out)
	}
	return out
}

var via = regexp.MustCompile(`BGP.next_hop: (\S+)`)

// hops are the next hops by which a router has a prefix.
func (b *bird) hops(t testing.TB, prefix string) map[string]bool {
	t.Helper()
	return found(via.FindAllStringSubmatch(b.show(t, "route for "+prefix+" all"), -1))
}

func found(matches [][]string) map[string]bool {
	hops := map[string]bool{}
	for _, match := range matches {
		hops[match[1]] = true
	}
	return hops
}

// frr is FRR on the control plane's machine.
type frr struct {
	*system
	dir string
}

func (s *system) startFRR(t testing.TB) *frr {
	t.Helper()
	// Not the test's own directory: its daemons give up root.
	dir, err := os.MkdirTemp("", "frr")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	account, err := user.Lookup("frr")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	neighbours, activated := "", ""
	for _, node := range s.Nodes() {
		neighbours += fmt.Sprintf(" neighbor %[1]s remote-as 64512\n neighbor %[1]s passive\n", node.IPv4)
		activated += fmt.Sprintf("  neighbor %s activate\n", node.IPv4)
	}
	config := "router bgp 64513\n bgp router-id 192.168.1.10\n no bgp ebgp-requires-policy\n" + neighbours +
		" address-family ipv6 unicast\n" + activated + " exit-address-family\n"
	if err := os.WriteFile(filepath.Join(dir, "bgpd.conf"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "zserv")
	run := func(daemon, config string) {
		s.ControlPlane().Run(t, cluster.Program{Path: "/usr/lib/frr/" + daemon, Args: []string{
			"-A", "127.0.0.1", "-P", "0", "-f", config, "-i", filepath.Join(dir, daemon+".pid"), "-z", socket, "--vty_socket", dir,
		}})
		cluster.Eventually(t, 5*time.Second, daemon+" runs", func() bool { _, err := os.Stat(filepath.Join(dir, daemon+".vty")); return err == nil })
	}
	run("zebra", "/dev/null")
	run("bgpd", filepath.Join(dir, "bgpd.conf"))
	return &frr{s, dir}
}

func (f *frr) show(t testing.TB, what string) any {
	t.Helper()
	var said any
	out := f.ControlPlane().Exec(t, "vtysh", "--vty_socket", f.dir, "-c", "show "+what+" json")
	if err := json.Unmarshal([]byte(out), &said); err != nil {
		t.Fatalf("show %s: %v: %s", what, err, out)
	}
	return said
}

// sessions is how often FRR has established a session with a node.
func (f *frr) sessions(t testing.TB, node *cluster.Machine) float64 {
	t.Helper()
	count, _ := at(f.show(t, "bgp neighbors "+node.IPv4.String()), node.IPv4.String(), "connectionsEstablished").(float64)
	return count
}

var nexthop = regexp.MustCompile(`via (?:inet6? )?(\S+) dev`)

// kernel are the next hops in the kernel of FRR's machine.
func (f *frr) kernel(t testing.TB, address string) map[string]bool {
	t.Helper()
	family := "-4"
	if strings.Contains(address, ":") {
		family = "-6"
	}
	return found(nexthop.FindAllStringSubmatch(f.ControlPlane().Exec(t, "ip", family, "route", "show", address), -1))
}

// same says whether these are exactly the addresses of these machines.
func same(hops map[string]bool, of func(*cluster.Machine) string, machines ...*cluster.Machine) bool {
	for _, machine := range machines {
		if !hops[of(machine)] {
			return false
		}
	}
	return len(hops) == len(machines)
}

func ipv4(machine *cluster.Machine) string { return machine.IPv4.String() }

func ipv6(machine *cluster.Machine) string { return machine.IPv6.String() }

// linkLocal is the address that the kernel made of the hardware address: what FRR takes where the router is on the same link.
func linkLocal(machine *cluster.Machine) string {
	mac := machine.MAC
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: mac[0] ^ 2, 9: mac[1], 10: mac[2], 11: 0xff, 12: 0xfe, 13: mac[3], 14: mac[4], 15: mac[5]}).String()
}

// awaitRoutes waits until both routers reach an address by exactly these nodes.
func (s *system) awaitRoutes(t testing.TB, b *bird, f *frr, address string, nodes ...*cluster.Machine) {
	t.Helper()
	told, taken := ipv4, ipv4
	if strings.Contains(address, ":") {
		told, taken = ipv6, linkLocal
	}
	cluster.Eventually(t, 20*time.Second, fmt.Sprintf("BIRD reaches %s by %d nodes", address, len(nodes)), func() bool { return same(b.hops(t, address), told, nodes...) })
	cluster.Eventually(t, 20*time.Second, fmt.Sprintf("FRR reaches %s by %d nodes", address, len(nodes)), func() bool { return same(f.kernel(t, address), taken, nodes...) })
}

// peers are the peers that each node says to have told of a Service.
func (s *system) peers(t testing.TB, service string) map[string]string {
	t.Helper()
	peers := map[string]string{}
	list, _ := at(s.object(t, "servicebgpstatuses", "-n", namespace, "-l", "metallb.io/service-name="+service), "items").([]any)
	for _, item := range list {
		node, _ := at(item, "status", "node").(string)
		told, _ := at(item, "status", "peers").([]any)
		peers[node] = strings.Trim(fmt.Sprint(told), "[]")
	}
	return peers
}

func (s *system) awaitPeers(t testing.TB, service string, wanted map[string]string) {
	t.Helper()
	cluster.Eventually(t, 20*time.Second, fmt.Sprintf("the nodes say that they have told of %s: %v", service, wanted), func() bool {
		return fmt.Sprint(s.peers(t, service)) == fmt.Sprint(wanted)
	})
}

// local is a Service whose only endpoint is on this node.
func (s *system) local(t testing.TB, name string, node *cluster.Machine) {
	t.Helper()
	s.Apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %[1]s, namespace: default}
spec: {type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[1]s, namespace: default, labels: {kubernetes.io/service-name: %[1]s}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.244.0.10], nodeName: %[2]s, conditions: {ready: true}}]
`, name, node.Name))
}

// watched counts looks at a route of both routers that did not find it by a node.
type watched struct {
	stop, done    chan struct{}
	closing       sync.Once
	looks, missed atomic.Int64
}

func (w *watched) close() {
	w.closing.Do(func() { close(w.stop) })
	<-w.done
}

func (s *system) watchRoute(t testing.TB, b *bird, f *frr, address string, node *cluster.Machine) *watched {
	w := &watched{stop: make(chan struct{}), done: make(chan struct{})}
	// A test that fails leaves nobody behind who looks on.
	t.Cleanup(w.close)
	go func() {
		defer close(w.done)
		for {
			select {
			case <-w.stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
			hop := node.IPv4.String()
			if !b.hops(t, address)[hop] || !f.kernel(t, address)[hop] {
				w.missed.Add(1)
			}
			w.looks.Add(1)
		}
	}()
	return w
}

func (w *watched) end(t testing.TB, during string) {
	t.Helper()
	w.close()
	t.Logf("%s: looked %d times, the route was missing %d times", during, w.looks.Load(), w.missed.Load())
	if w.missed.Load() != 0 || w.looks.Load() < 10 {
		t.Errorf("%s: the route was missing %d of %d times", during, w.missed.Load(), w.looks.Load())
	}
}

func TestRoutersAreToldOfServicesByEveryNode(t *testing.T) {
	s := start(t, 3)
	one, two, three := s.Nodes()[0], s.Nodes()[1], s.Nodes()[2]
	b, f := s.startBird(t, 179, "", s.Nodes()...), s.startFRR(t)
	secret := s.startBird(t, 1179, `password "right"; direct; bfd on; error wait time 1, 1;`, one)
	s.Apply(t, routing)
	s.Apply(t, fmt.Sprintf(guarded, "wrong", one.Name))
	s.service(t, "web", ", ipFamilyPolicy: RequireDualStack")
	s.local(t, "local", two)
	const v4, v6, local = "203.0.113.0", "fd00:203::1", "203.0.113.1"

	t.Run("each node is a next hop, with what the advertisement says", func(t *testing.T) {
		s.awaitRoutes(t, b, f, v4, one, two, three)
		s.awaitRoutes(t, b, f, v6, one, two, three)
		route := b.show(t, "route for "+v4+" all")
		for _, part := range []string{"BGP.local_pref: 150", "(64512,7)", "(64512, 1, 2)"} {
			if !strings.Contains(route, part) {
				t.Errorf("BIRD has no %s:\n%s", part, route)
			}
		}
		paths := f.show(t, "bgp ipv4 unicast "+v4+"/32")
		if community := at(paths, "paths", 0, "community", "string"); community != "64512:7" {
			t.Errorf("FRR has community %v", community)
		}
	})
	t.Run("what was really told is in status, events and conditions", func(t *testing.T) {
		s.awaitPeers(t, "web", map[string]string{one.Name: "bird frr", two.Name: "bird frr", three.Name: "bird frr"})
		s.awaitText(t, []string{fmt.Sprintf(`announcing from node "%s" with protocol "bgp"`, one.Name), fmt.Sprintf(`announcing from node "%s" with protocol "bgp"`, three.Name)},
			"get", "events", "-n", "default", "--field-selector", "involvedObject.name=web,reason=nodeAssigned")
		cluster.Eventually(t, 10*time.Second, "the Service is called announced", func() bool {
			status, _, message := condition(s.object(t, "service", "web"), "metallb.io/Announced")
			return status == "True" && strings.Contains(message, one.Name+" and "+two.Name+" and "+three.Name)
		})
		s.awaitCode(t, "web", "")
		if out, exit := s.ask(t, "status"); exit != 0 {
			t.Errorf("ferrolb status finds something to do (exit code %d):\n%s", exit, out)
		}
	})
	t.Run("local traffic goes where the endpoint is", func(t *testing.T) {
		s.awaitRoutes(t, b, f, local, two)
		s.local(t, "local", three)
		s.awaitRoutes(t, b, f, local, three)
		s.awaitPeers(t, "local", map[string]string{three.Name: "bird frr"})
	})
	t.Run("a wrong password is told on the peer, and the right one makes the session of the node that is selected", func(t *testing.T) {
		s.awaitText(t, []string{"LB1301", "password", "node " + one.Name}, "get", "events", "-n", namespace, "--field-selector", "involvedObject.name=guarded")
		s.Apply(t, fmt.Sprintf(guarded, "right", one.Name))
		cluster.Eventually(t, 15*time.Second, "the guarded router has the route", func() bool { return same(secret.hops(t, v4), ipv4, one) })
		s.awaitPeers(t, "web", map[string]string{one.Name: "bird frr guarded", two.Name: "bird frr", three.Name: "bird frr"})
	})
	t.Run("changes of Services reset no session, and one that goes is withdrawn", func(t *testing.T) {
		for number := range 20 {
			s.service(t, fmt.Sprintf("s-%d", number), "")
		}
		cluster.Eventually(t, 15*time.Second, "FRR has all routes", func() bool { return len(f.kernel(t, "203.0.113.21")) == 3 })
		for number := range 20 {
			s.Kubectl(t, "delete", "service", fmt.Sprintf("s-%d", number), "--wait=false")
		}
		s.awaitRoutes(t, b, f, "203.0.113.21")
		for _, node := range s.Nodes() {
			if count := f.sessions(t, node); count != 1 {
				t.Errorf("%v sessions with %s", count, node.Name)
			}
		}
	})
	t.Run("a change of one Service is in a router's kernel at once", func(t *testing.T) { s.pace(t, f, two) })
	t.Run("an API server that is away for 30 s changes nothing, not even for a speaker that restarts meanwhile", func(t *testing.T) {
		w := s.watchRoute(t, b, f, v4, one)
		since := time.Now()
		s.StopAPIServer(t)
		time.Sleep(8 * time.Second)
		if count := f.sessions(t, one); count != 1 {
			t.Errorf("%v sessions with %s", count, one.Name)
		}
		s.speakers[one.Name].Terminate(t)
		s.speakers[one.Name].Start(t)
		cluster.Eventually(t, 15*time.Second, "the restarted speaker has its session back", func() bool { return f.sessions(t, one) == 2 })
		time.Sleep(time.Until(since.Add(30 * time.Second)))
		s.StartAPIServer(t)
		s.service(t, "late", "")
		s.awaitRoutes(t, b, f, local, three)
		late := s.awaitAny(t, "late")
		s.awaitRoutes(t, b, f, late, one, two, three)
		w.end(t, "30 s without an API server")
		for _, node := range []*cluster.Machine{two, three} {
			if count := f.sessions(t, node); count != 1 {
				t.Errorf("%v sessions with %s", count, node.Name)
			}
		}
	})
	t.Run("a speaker that restarts or dies leaves its routes where they are and needs no right to Secrets for that", func(t *testing.T) {
		w := s.watchRoute(t, b, f, v4, one)
		giveBack := s.take(t, "role", "metallb-pod-lister", "list", "secrets")
		for times, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			s.speakers[one.Name].Signal(t, signal)
			s.speakers[one.Name].Wait(t, 10*time.Second)
			time.Sleep(time.Second)
			s.speakers[one.Name].Start(t)
			cluster.Eventually(t, 15*time.Second, "the session is back", func() bool { return f.sessions(t, one) == float64(3+times) })
		}
		s.awaitRoutes(t, b, f, v4, one, two, three)
		w.end(t, "a restart")
		s.speakers[one.Name].WaitForLog(t, "LB0021 Secret", 10*time.Second)
		if hops := secret.hops(t, v4); len(hops) != 0 {
			t.Errorf("the guarded router has a route although its password cannot be read: %v", hops)
		}
		giveBack()
		cluster.Eventually(t, 20*time.Second, "the guarded router has the route again", func() bool { return same(secret.hops(t, v4), ipv4, one) })
	})
	t.Run("a way that a profile has watched and that breaks ends the session at once", func(t *testing.T) {
		s.Apply(t, "{apiVersion: metallb.io/v1beta1, kind: BFDProfile, metadata: {name: quick, namespace: metallb-system}, spec: {receiveInterval: 50, transmitInterval: 50}}")
		s.Kubectl(t, "patch", "bgppeer", "-n", namespace, "guarded", "--type=merge", "--patch", `{"spec": {"bfdProfile": "quick"}}`)
		up := func() bool { return strings.Contains(secret.show(t, "bfd sessions"), " Up ") }
		cluster.Eventually(t, 15*time.Second, "BIRD sees the way", up)
		nft := func(args ...string) {
			if out, err := s.Laptop().Output(t.Context(), append([]string{"nft"}, args...)...); err != nil {
				t.Fatalf("nft %q: %v: %s", args, err, out)
			}
		}
		nft("add table ip cut; add chain ip cut in { type filter hook input priority 0; }; add rule ip cut in udp dport 3784 drop")
		// The hold time is 180 s.
		for _, event := range []string{"bfdDown", "sessionDown"} {
			s.speakers[one.Name].WaitForLog(t, event, 5*time.Second)
		}
		s.awaitText(t, []string{"LB1303", "node " + one.Name}, "get", "events", "-n", namespace, "--field-selector", "involvedObject.name=guarded")
		nft("delete", "table", "ip", "cut")
		cluster.Eventually(t, 15*time.Second, "BIRD sees the way again, and has the route", func() bool { return up() && same(secret.hops(t, v4), ipv4, one) })
	})
	t.Run("how good a way is can be said, and routers share traffic out by endpoints", func(t *testing.T) { s.ways(t, b, f) })
	t.Run("a node that is taken away says so before its routes go", func(t *testing.T) { s.leaves(t, b, f, v4, three) })
	t.Run("a peer that is deleted has no routes any more", func(t *testing.T) {
		s.Kubectl(t, "delete", "bgppeer", "-n", namespace, "bird")
		cluster.Eventually(t, 10*time.Second, "BIRD has no route", func() bool { return len(b.hops(t, v4)) == 0 })
		s.awaitPeers(t, "web", map[string]string{one.Name: "frr guarded", two.Name: "frr", three.Name: "frr"})
	})
}

// awaitAny waits until a Service has an address, and returns it.
func (s *system) awaitAny(t testing.TB, name string) string {
	t.Helper()
	var addresses []string
	cluster.Eventually(t, 20*time.Second, name+" gets an address", func() bool { addresses = s.addresses(t, "default", name); return len(addresses) == 1 })
	return addresses[0]
}
