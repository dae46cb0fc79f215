package ferrolb_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

// The troubles of the table of user research that take more than objects: the wire, the webhooks, restarts. All share one cluster.
func TestTroublesOfTheWireAndOfWebhooksAreToldByTheirCodes(t *testing.T) {
	s := prepare(t, cluster.StartAPI(t, cluster.Options{Nodes: 2}))
	s.runWithMetrics(t)
	s.ApplyFile(t, gitops+"manifests/metallb-config")
	s.service(t, "web", "")
	s.awaitCode(t, "svc/web", "")
	s.troublesOfTheWire(t)
	t.Run("T16: no address changes over restarts, in whatever order Services come", s.restarts)
	s.troublesOfWebhooks(t)
}

// awaitProbe waits until a probe from the laptop ends with this exit code and these words.
func (s *system) awaitProbe(t testing.TB, exit int, wanted ...string) string {
	t.Helper()
	var out string
	var code int
	deadline := time.Now().Add(30 * time.Second)
	for {
		out, code = s.ask(t, "probe", "svc/web", "--port=0")
		missing := code != exit
		for _, text := range wanted {
			missing = missing || !strings.Contains(out, text)
		}
		if !missing {
			return out
		}
		if time.Now().After(deadline) {
			t.Fatalf("probe does not say %q with exit code %d, but with %d:\n%s", wanted, exit, code, out)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (s *system) troublesOfTheWire(t *testing.T) {
	owner := s.awaitOwner(t, firstAddress)
	other := map[string]string{"node-a": "node-b", "node-b": "node-a"}[owner]
	t.Run("the node that announces cannot ask itself, and says who can", func(t *testing.T) {
		line := strings.Join([]string{s.binary, "probe", "svc/web", "--port=0", "--kubeconfig=" + s.Kubeconfig(), "; echo exit code $?"}, " ")
		out := s.Node(owner).Exec(t, "sh", "-c", line)
		for _, text := range []string{"LB1203", "ask from " + other, "exit code 2"} {
			if !strings.Contains(out, text) {
				t.Errorf("no %q in\n%s", text, out)
			}
		}
	})
	t.Run("T11: answers that get lost between two machines, as Wi-Fi loses them", func(t *testing.T) {
		s.Laptop().Isolate(t)
		s.Node(owner).Isolate(t)
		s.awaitProbe(t, 1, "nobody answers ARP", "LB1201", owner+" announces "+firstAddress)
		s.Laptop().Reunite(t)
		s.Node(owner).Reunite(t)
		s.awaitProbe(t, 0, "answered by 1 MAC address", "("+owner+")")
		for _, name := range []string{"metallb_layer2_requests_received", "metallb_layer2_responses_sent"} {
			s.awaitMetric(t, s.Node(owner), speakerMetrics, fmt.Sprintf("%s{ip=%q} ", name, firstAddress), "")
		}
	})
	t.Run("T11: check sees that a node is on Wi-Fi", func(t *testing.T) {
		// What the kernel shows of a wireless interface, in place of what it shows of this one.
		line := "mount -t tmpfs none /sys/class/net && mkdir -p /sys/class/net/eth0/phy80211 && " +
			s.binary + " check --pre --kubeconfig=" + s.Kubeconfig() + "; echo exit code $?; umount /sys/class/net"
		out := s.Node(other).Exec(t, "sh", "-c", line)
		for _, text := range []string{"eth0 of " + other + ", which is in the nodes' network, is Wi-Fi", "LB1205", "fix  "} {
			if !strings.Contains(out, text) {
				t.Errorf("no %q in\n%s", text, out)
			}
		}
	})
	t.Run("T11: a speaker on Wi-Fi hears every frame, as long as it runs", func(t *testing.T) {
		hears := func() string { return s.Node(other).Exec(t, "ip", "-d", "link", "show", "eth0") }
		if out := hears(); !strings.Contains(out, "promiscuity 0") {
			t.Fatalf("eth0 is no Wi-Fi, and hears everything:\n%s", out)
		}
		s.speakers[other].Terminate(t)
		hearing := s.speaker(t, other, "--promiscuous=always")
		cluster.Eventually(t, 10*time.Second, "eth0 hears everything", func() bool { return strings.Contains(hears(), "promiscuity 1") })
		hearing.WaitForLog(t, "this interface hears everything", 5*time.Second)
		hearing.Terminate(t)
		if out := hears(); !strings.Contains(out, "promiscuity 0") {
			t.Errorf("it outlives the speaker:\n%s", out)
		}
		s.speakers[other].Start(t)
		s.awaitCode(t, "svc/web", "")
	})
	t.Run("T13: the kernel of another node answers too, as in IPVS mode without strictARP", func(t *testing.T) {
		s.Node(other).Exec(t, "sh", "-c", "ip address add "+firstAddress+"/32 dev lo && echo 0 > /proc/sys/net/ipv4/conf/all/arp_ignore && echo 0 > /proc/sys/net/ipv4/conf/eth0/arp_ignore")
		s.awaitProbe(t, 1, "answered by 2 MAC addresses", "LB1211", other+" answers for "+firstAddress+", which "+owner+" announces")
		// Its own speaker asks as well, some seconds after it began to answer: it begins anew, for one Service.
		s.service(t, "late", ", loadBalancerIP: 192.168.1.216")
		s.Node(other).Exec(t, "ip", "address", "add", "192.168.1.216/32", "dev", "lo")
		second := s.awaitAnnouncer(t, "late")
		if second == other {
			// The kernel that answers must be another node's than the one that announces.
			s.Node(other).Exec(t, "ip", "address", "del", "192.168.1.216/32", "dev", "lo")
			s.Node(owner).Exec(t, "sh", "-c", "ip address add 192.168.1.216/32 dev lo && echo 0 > /proc/sys/net/ipv4/conf/all/arp_ignore && echo 0 > /proc/sys/net/ipv4/conf/eth0/arp_ignore")
		}
		s.awaitText(t, []string{"NodeAnswersUnasked", "192.168.1.216", "strictARP", "LB1211"}, "describe", "svc", "late")
		s.awaitText(t, []string{"ForeignReply", "LB1211 192.168.1.216"}, "get", "configurationstates", "-n", namespace, "speaker-"+second, "-o", "yaml")
		s.awaitText(t, []string{"NodeAnswersUnasked", "LB1211"}, "get", "svc", "late", "-o", "jsonpath={.status.conditions}")
		s.awaitMetric(t, s.ControlPlane(), controllerMetrics, `ferrolb_service_findings{code="LB1211"} `, "")
		s.speakers[second].WaitForLog(t, "LB1211", 5*time.Second)
		s.says(t, 0, []string{"LB1211", "192.168.1.216"}, "why", "svc/late")
		s.Kubectl(t, "delete", "service", "late")
		for _, node := range s.Nodes() {
			s.Node(node.Name).Exec(t, "sh", "-c", "ip address del 192.168.1.216/32 dev lo; echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore")
		}
		s.Node(other).Exec(t, "sh", "-c", "ip address del "+firstAddress+"/32 dev lo; echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore")
		s.awaitProbe(t, 0)
	})
	t.Run("T14: two nodes that do not hear each other both announce", func(t *testing.T) {
		s.Node(owner).Isolate(t)
		s.Node(other).Isolate(t)
		s.awaitProbe(t, 1, "answered by 2 MAC addresses", "LB1212", "both answer for "+firstAddress)
		s.says(t, 1, []string{"LB1212", "node-a and node-b announce it at once"}, "status")
		s.says(t, 0, []string{"LB1212"}, "why", "svc/web")
		s.awaitText(t, []string{"AnnouncedTwice", "LB1212"}, "describe", "svc", "web")
		for _, node := range s.Nodes() {
			s.awaitMetric(t, s.Node(node.Name), speakerMetrics, fmt.Sprintf("metallb_speaker_announced{ip=%q,node=%q,protocol=\"layer2\"", firstAddress, node.Name), " 1")
		}
		s.awaitMetric(t, s.ControlPlane(), controllerMetrics, `ferrolb_service_findings{code="LB1212"} `, "1")
		if status, reason, message := condition(s.object(t, "svc", "web"), "metallb.io/Announced"); status != "True" || reason != "TwoAnnouncers" || !strings.Contains(message, "LB1212") {
			t.Errorf("%s %s %s", status, reason, message)
		}
		s.Node(owner).Reunite(t)
		s.Node(other).Reunite(t)
		s.awaitProbe(t, 0)
		cluster.Eventually(t, 20*time.Second, "status has nothing to say", func() bool { _, exit := s.ask(t, "status"); return exit == 0 })
	})
	t.Run("T14: check names the pair and the port that are blocked", func(t *testing.T) {
		s.Node(other).Exec(t, "sh", "-c", "nft add table inet block && nft 'add chain inet block input { type filter hook input priority 0; }' && nft add rule inet block input udp dport 7946 drop")
		out := s.Node(owner).Exec(t, "sh", "-c", s.binary+" check --pre --kubeconfig="+s.Kubeconfig()+"; echo exit code $?")
		s.Node(other).Exec(t, "nft", "delete", "table", "inet", "block")
		for _, text := range []string{"UDP port 7946 is not reached from " + owner + ": " + other, "LB0060", "exit code 1"} {
			if !strings.Contains(out, text) {
				t.Errorf("no %q in\n%s", text, out)
			}
		}
	})
	t.Run("T15: an owner that fails is replaced, which events and logs tell", func(t *testing.T) {
		owner := s.awaitOwner(t, firstAddress)
		next := map[string]string{"node-a": "node-b", "node-b": "node-a"}[owner]
		s.Node(owner).Unplug(t)
		cluster.Eventually(t, 20*time.Second, next+" answers", func() bool {
			answers := s.Laptop().ARP(t, firstAddress)
			return len(answers) == 1 && answers[0].Machine == next
		})
		s.awaitText(t, []string{"nodeAssigned", fmt.Sprintf("announcing from node %q", next)}, "describe", "svc", "web")
		s.speakers[next].WaitForLog(t, "serviceAnnounced", 5*time.Second)
		s.speakers[next].WaitForLog(t, "memberLeft", 20*time.Second)
		s.awaitMetric(t, s.Node(next), speakerMetrics, "metallb_layer2_failover_detections_total ", "")
		s.Node(owner).Plug(t)
		s.awaitCode(t, "svc/web", "")
		s.awaitProbe(t, 0)
	})
}

// restarts kills all programs at once, and lets newcomers come meanwhile that are first in every order.
func (s *system) restarts(t *testing.T) {
	s.service(t, "m-two", "")
	s.service(t, "k-asks", ", loadBalancerIP: 192.168.1.215")
	s.awaitCode(t, "svc/m-two", "")
	s.awaitCode(t, "svc/k-asks", "")
	before := map[string][]string{}
	for _, name := range []string{"web", "m-two", "k-asks"} {
		before[name] = s.addresses(t, "default", name)
	}
	s.controller.Kill(t)
	for _, speaker := range s.speakers {
		speaker.Kill(t)
	}
	s.service(t, "a-first", "")
	s.controller.Start(t)
	for _, speaker := range s.speakers {
		speaker.Start(t)
	}
	s.awaitCode(t, "svc/a-first", "")
	for name, addresses := range before {
		if after := s.addresses(t, "default", name); len(after) != 1 || after[0] != addresses[0] {
			t.Errorf("%s had %v and has %v", name, addresses, after)
		}
		s.awaitCode(t, "svc/"+name, "")
	}
	s.says(t, 0, nil, "plan", "-f", gitops+"manifests/metallb-config")
	s.Kubectl(t, "delete", "service", "a-first", "m-two", "k-asks")
}

// apply is kubectl apply, with the warnings that a person sees.
func (s *system) apply(t testing.TB, manifest string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "manifest.yaml")
	if err := os.WriteFile(path, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := s.output(exec.CommandContext(t.Context(), s.Assets["kubectl"], "--kubeconfig="+s.Kubeconfig(), "apply", "-f", path))
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return out
}

func (s *system) troublesOfWebhooks(t *testing.T) {
	s.DeclarePod(t, cluster.Pod{Namespace: namespace, Name: "controller", Labels: map[string]string{"app.kubernetes.io/name": "metallb", "app.kubernetes.io/instance": "metallb", "app.kubernetes.io/component": "controller"}, Node: "node-a"})
	// Who leads also certifies the webhooks.
	s.controller.Terminate(t)
	s.controller = s.controllerOn(t, s.Node("node-a"), "--webhook-mode=enabled", "--health-probe-port=17473")
	s.awaitWebhook(t)
	t.Run("T4: what the controller writes into webhooks and definitions is no drift", func(t *testing.T) {
		same := func(path string) {
			out, err := s.output(exec.CommandContext(t.Context(), s.Assets["kubectl"], "--kubeconfig="+s.Kubeconfig(), "diff", "-f", path))
			if err != nil {
				t.Errorf("%s has drifted: %v\n%s", path, err, out)
			}
		}
		same(root + "deploy/crds.yaml")
		manifest, err := os.ReadFile(root + "deploy/metallb.yaml")
		if err != nil {
			t.Fatal(err)
		}
		only := ""
		for _, one := range strings.Split(string(manifest), "\n---\n") {
			if strings.Contains(one, "kind: ValidatingWebhookConfiguration") {
				only += one
			}
		}
		if only == "" || strings.Contains(only, "caBundle") {
			t.Fatalf("what we ship:\n%s", only)
		}
		path := filepath.Join(t.TempDir(), "webhooks.yaml")
		if err := os.WriteFile(path, []byte(only), 0o600); err != nil {
			t.Fatal(err)
		}
		same(path)
	})
	t.Run("T10: a pool that has a node's own address", func(t *testing.T) {
		address := s.Node("node-a").IPv4.String()
		said := s.apply(t, poolManifest("home", address+"/32"))
		if !strings.Contains(said, "Warning") || !strings.Contains(said, "LB4009") {
			t.Errorf("kubectl apply says nothing of it:\n%s", said)
		}
		s.awaitText(t, []string{"LB4009", address + " of node node-a"}, "describe", "ipaddresspool", "-n", namespace, "home")
		s.awaitText(t, []string{"NodeAddress", "LB4009"}, "get", "ipaddresspool", "-n", namespace, "home", "-o", "jsonpath={.status.conditions}")
		out, _ := s.ask(t, "status")
		if !strings.Contains(out, "LB4009") {
			t.Errorf("status does not name LB4009:\n%s", out)
		}
		s.Kubectl(t, "delete", "ipaddresspool", "-n", namespace, "home")
	})
	t.Run("a certificate that cannot be served, and an authority that nobody may be told, are named by their codes", func(t *testing.T) {
		for _, code := range []string{"LB0041", "LB0042"} {
			if strings.Contains(s.controller.Log(), code) {
				t.Fatalf("%s is said before anything is wrong", code)
			}
		}
		giveBack := s.take(t, "clusterrole", "metallb:controller", "patch", "validatingwebhookconfigurations")
		const nonsense = `{"data": {"tls.crt": "bm9uc2Vuc2U=", "ca.crt": "bm9uc2Vuc2U="}}`
		s.Kubectl(t, "patch", "secret", "-n", namespace, "metallb-webhook-cert", "--type=merge", "-p", nonsense)
		s.controller.WaitForLog(t, "LB0041", 20*time.Second)
		s.controller.WaitForLog(t, "LB0042", 20*time.Second)
		giveBack()
		s.awaitWebhook(t)
	})
	t.Run("T21: an API server that does not reach the webhook is not held up, and check says where it would be", func(t *testing.T) {
		if out, _ := s.ask(t, "check"); !strings.Contains(out, "the API server reaches the webhooks") {
			t.Errorf("check does not see that the webhooks are reached:\n%s", out)
		}
		s.Kubectl(t, "delete", "pod", "-n", namespace, "controller", "--grace-period=0", "--force")
		s.apply(t, poolManifest("unseen", "192.168.1.230/32"))
		s.Kubectl(t, "get", "ipaddresspool", "-n", namespace, "unseen")
		// The API server keeps the connections that it has. Who ends while its Deployment is there is only being replaced: what calls it stays.
		s.controller.Terminate(t)
		cluster.Eventually(t, 20*time.Second, "check sees that the webhooks are not reached", func() bool {
			out, _ := s.ask(t, "check")
			return strings.Contains(out, "the API server does not reach the webhooks: objects are accepted unseen") && strings.Contains(out, "LB0043")
		})
		s.Kubectl(t, "delete", "ipaddresspool", "-n", namespace, "unseen")
		s.firstSyncWithoutAWebhook(t)
		configuration := s.object(t, "validatingwebhookconfiguration", "metallb-webhook-configuration")
		webhooks, _ := at(configuration, "webhooks").([]any)
		var patch []string
		for number := range webhooks {
			patch = append(patch, fmt.Sprintf(`{"op":"replace","path":"/webhooks/%d/failurePolicy","value":"Fail"}`, number))
		}
		s.Kubectl(t, "patch", "validatingwebhookconfiguration", "metallb-webhook-configuration", "--type=json", "-p", "["+strings.Join(patch, ",")+"]")
		cluster.Eventually(t, 20*time.Second, "check names the webhook that nobody answers", func() bool {
			out, exit := s.ask(t, "check", "--pre")
			return exit == 1 && strings.Contains(out, "LB0056") && strings.Contains(out, "no endpoint of the Service behind it is ready")
		})
	})
	t.Run("whoever removes the controller for good is left no webhook that nobody answers", func(t *testing.T) {
		s.controller = s.controllerOn(t, s.Node("node-a"), "--webhook-mode=enabled", "--health-probe-port=17473")
		s.controller.WaitForLog(t, "webhooks are served", 20*time.Second)
		s.Kubectl(t, "delete", "-n", namespace, "deployment/metallb-controller")
		s.controller.Terminate(t)
		if out := s.Kubectl(t, "get", "validatingwebhookconfiguration", "metallb-webhook-configuration", "--ignore-not-found"); out != "" {
			t.Errorf("it is still there, with failurePolicy Fail:\n%s", out)
		}
		s.apply(t, poolManifest("unhindered", "192.168.1.231/32"))
	})
}

// firstSyncWithoutAWebhook is T1: the webhook is registered and nobody answers. What is sound is accepted at once, what is wrong in itself is refused by the
// definitions, and `wait` names the stage that is missing.
func (s *system) firstSyncWithoutAWebhook(t *testing.T) {
	t.Helper()
	begun := time.Now()
	s.ApplyFile(t, gitops+"manifests/metallb-config")
	s.apply(t, poolManifest("young", "192.168.1.220-192.168.1.225"))
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("the first sync took %v", took)
	}
	if s.tryApply(t, poolManifest("wrong", "192.168.1.300/24")) {
		t.Error("without a webhook, an address that is none is accepted")
	}
	s.says(t, 1, []string{"Not ready: controller"}, "wait", "--timeout=3")
	s.Kubectl(t, "delete", "ipaddresspool", "-n", namespace, "young")
}

// A new user has only what `status`, `why` and `explain` print. What is printed as a command is run; where a text is printed instead, the example that
// `explain` calls right is applied.
func TestThreeFaultsAreSolvedByWhatStatusWhyAndExplainPrint(t *testing.T) {
	c := cluster.StartAPI(t, cluster.Options{Nodes: 2})
	c.Kubectl(t, "label", "node", "--all", excludeLabel+"=")
	s := prepare(t, c)
	s.startController(t)
	const strict = "--announce-if-all-excluded=false"
	for _, node := range s.Nodes() {
		// Whoever asks reads in the pod with which flags it was started.
		s.DeclarePod(t, cluster.Pod{Namespace: namespace, Name: "speaker-" + node.Name, Node: node.Name, Args: []string{"speaker", strict},
			Labels: map[string]string{"app.kubernetes.io/name": "metallb", "app.kubernetes.io/component": "speaker"}})
		s.startSpeaker(t, node.Name, strict)
	}
	s.DeclarePod(t, cluster.Pod{Namespace: namespace, Name: "controller", Node: "node-a",
		Labels: map[string]string{"app.kubernetes.io/name": "metallb", "app.kubernetes.io/component": "controller"}})
	s.service(t, "web", "")
	var met []string
	for len(met) < 6 {
		status, exit := s.ask(t, "status")
		if exit == 0 {
			break
		}
		code := serviceCode.FindStringSubmatch(status)
		if code == nil {
			t.Fatalf("status names no code for the Service:\n%s", status)
		}
		if len(met) > 0 && met[len(met)-1] == code[1] {
			t.Fatalf("what was printed did not help against %s:\n%s", code[1], status)
		}
		met = append(met, code[1])
		s.follow(t, code[1])
		cluster.Eventually(t, 20*time.Second, code[1]+" is gone", func() bool {
			out, _ := s.ask(t, "why", "svc/web", "-o", "name")
			return strings.TrimSpace(out) != code[1] && strings.TrimSpace(out) != "LB1131" && strings.TrimSpace(out) != "LB1113"
		})
	}
	if strings.Join(met, " ") != "LB1001 LB1101 LB1104" {
		t.Errorf("met %v", met)
	}
	s.says(t, 0, []string{"default/web is served"}, "why", "svc/web")
	s.awaitOwner(t, firstAddress)
	t.Run("T7: the first user's bad day, with the fallback switched off", s.badDay)
}

// badDay is the first user's traefik on the day that every node is excluded and nothing is announced all the same.
func (s *system) badDay(t *testing.T) {
	s.Kubectl(t, "create", "namespace", "traefik-system")
	s.endpoints(t, "traefik-system", "traefik")
	s.ApplyFile(t, gitops+"services/traefik.yaml")
	s.awaitCode(t, "traefik-system/traefik", "")
	s.Kubectl(t, "label", "node", "--all", excludeLabel+"=")
	s.awaitCode(t, "traefik-system/traefik", "LB1104")
	out, _ := s.ask(t, "status")
	squeezed := strings.Join(strings.Fields(out), " ")
	for _, text := range []string{
		"traefik-system/traefik 192.168.1.201 allocated, NOT announced - -", "traefik-system/traefik LB1104 why ", excludeLabel, "fix speaker.ignoreExcludeLB: true, or `kubectl label node NODE " + excludeLabel + "-`",
	} {
		if !strings.Contains(squeezed, text) {
			t.Errorf("no %q in\n%s", text, out)
		}
	}
	s.awaitText(t, []string{"NotAnnounced", "NodeExcluded: ", excludeLabel, "(LB1104)"}, "describe", "svc", "-n", "traefik-system", "traefik")
	s.controller.WaitForLog(t, "LB1104", 5*time.Second)
	if status, reason, message := condition(s.object(t, "svc", "-n", "traefik-system", "traefik"), "metallb.io/Announced"); status != "False" || reason != "NodeExcluded" || !strings.Contains(message, "LB1104") {
		t.Errorf("%s %s %s", status, reason, message)
	}
}

var (
	serviceCode = regexp.MustCompile(`(?m)^default/web  (LB\d{4})$`)
	fixLine     = regexp.MustCompile(`(?m)^ +fix  (.*)$`)
	command     = regexp.MustCompile("kubectl (label|annotate|delete|apply|patch|create) [^`]*")
	guilty      = regexp.MustCompile(`(?m)^ +✗ (\S+)  (LB\d{4}) `)
)

// follow does what is printed about a code.
func (s *system) follow(t *testing.T, code string) {
	t.Helper()
	why, _ := s.ask(t, "why", "svc/web")
	fix := fixLine.FindStringSubmatch(why)
	if fix == nil {
		t.Fatalf("why prints no fix:\n%s", why)
	}
	if typed := command.FindString(fix[1]); typed != "" {
		for _, node := range guilty.FindAllStringSubmatch(why, -1) {
			if node[2] == code {
				s.Kubectl(t, strings.Fields(strings.ReplaceAll(strings.TrimPrefix(typed, "kubectl "), "NODE", node[1]))...)
			}
		}
		return
	}
	story, err := exec.CommandContext(t.Context(), s.binary, "explain", code).Output()
	if err != nil {
		t.Fatal(err)
	}
	_, right, _ := strings.Cut(string(story), "\nRight:\n")
	var manifest []string
	for _, line := range strings.Split(right, "\n") {
		if !strings.HasPrefix(line, "    ") {
			break
		}
		manifest = append(manifest, strings.TrimPrefix(line, "    "))
	}
	s.apply(t, strings.Join(manifest, "\n")+"\n")
}

// Every trouble of the table that is said to be met (P0 and P1) has a test that names it.
func TestEveryTroubleIsNamedByATest(t *testing.T) {
	var text strings.Builder
	for _, pattern := range []string{"*_test.go", root + "tests/chart/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, file := range files {
			one, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text.Write(one)
		}
	}
	for number := 1; number <= 26; number++ {
		// T24 and T25 are of priority P2.
		if named := regexp.MustCompile(fmt.Sprintf(`\bT%d\b[:,]`, number)).MatchString(text.String()); !named && number != 24 && number != 25 {
			t.Errorf("no test names T%d", number)
		}
	}
}
