package ferrolb_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

// ask runs a verb on the laptop with the administrator's kubeconfig, and returns what it printed and its exit code.
func (s *system) ask(t testing.TB, args ...string) (string, int) {
	t.Helper()
	return s.askWith(t, s.Kubeconfig(), args...)
}

// output runs a program on the laptop.
func (s *system) output(cmd *exec.Cmd) (string, error) {
	var out []byte
	err := s.Laptop().InNetwork(func() (err error) {
		out, err = cmd.CombinedOutput()
		return err
	})
	return string(out), err
}

// askWith runs a verb with these credentials.
func (s *system) askWith(t testing.TB, kubeconfig string, args ...string) (string, int) {
	t.Helper()
	out, err := s.output(exec.CommandContext(t.Context(), s.binary, append(args, "--kubeconfig="+kubeconfig)...))
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return out, exit.ExitCode()
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out, 0
}

// awaitCode waits until `why` ends with this code (the empty one: served), and then looks whether `status` names it too.
func (s *system) awaitCode(t testing.TB, service, code string) {
	t.Helper()
	var out string
	var exit int
	deadline := time.Now().Add(30 * time.Second)
	for {
		out, exit = s.ask(t, "why", service, "-o", "name")
		if strings.TrimSpace(out) == code && (exit == 0) == (code == "") {
			break
		}
		if time.Now().After(deadline) {
			screen, _ := s.ask(t, "why", service)
			t.Fatalf("why %s says %q with exit code %d and not %q\n%s", service, out, exit, code, screen)
		}
		time.Sleep(200 * time.Millisecond)
	}
	if code == "" {
		return
	}
	s.awaitSaid(t, service, code)
	if out, exit := s.ask(t, "status"); exit != 1 || !strings.Contains(out, code) {
		t.Errorf("status does not name %s (exit code %d):\n%s", code, exit, out)
	}
	if out, _ := s.ask(t, "why", service); !strings.Contains(out, "✗") || !strings.Contains(out, "fix  ") {
		t.Errorf("why does not show the rule that fails with its fix:\n%s", out)
	}
}

// says fails the test where a verb's answer lacks a text or has another exit code.
func (s *system) says(t testing.TB, exit int, wanted []string, args ...string) {
	t.Helper()
	out, code := s.ask(t, args...)
	for _, text := range wanted {
		if !strings.Contains(out, text) {
			t.Errorf("%s: no %q in\n%s", strings.Join(args, " "), text, out)
		}
	}
	if code != exit {
		t.Errorf("%s: exit code %d and not %d\n%s", strings.Join(args, " "), code, exit, out)
	}
}

const excludeLabel = "node.kubernetes.io/exclude-from-external-load-balancers"

func TestTheCommandLineTellsEveryTroubleByItsCode(t *testing.T) {
	c := cluster.StartAPI(t, cluster.Options{Nodes: 2})
	bare := &system{Cluster: c, binary: binary(t)}
	t.Run("T2: kinds that are not there yet", func(t *testing.T) {
		bare.says(t, 1, []string{"LB0020", "IPAddressPool"}, "status")
	})
	t.Run("before anything is installed check --pre judges the cluster", func(t *testing.T) {
		c.Kubectl(t, "label", "node", "node-a", excludeLabel+"=")
		bare.says(t, 0, []string{"kubernetes      ✓ v1.", "metallb-system does not exist yet", "LB1104", "LB0057", "k3s servicelb is not present", "nothing is installed yet",
			"the chart has no value speaker.hostNetwork", "LB3001"}, "check", "--pre", "--values", gitops+"apps/workloads/metallb/app.yaml")
		c.Kubectl(t, "label", "node", "node-a", excludeLabel+"-")
	})
	s := prepare(t, c)
	t.Run("T1: wait names the stage that is missing", func(t *testing.T) {
		// An API server that has just learnt kinds is slow to list them.
		s.says(t, 1, []string{"Not ready: controller 0 of 0 ready"}, "wait", "--timeout=20")
	})
	s.runWithMetrics(t)
	s.service(t, "web", "")
	t.Run("T22: no pool yet", func(t *testing.T) {
		s.awaitCode(t, "svc/web", "LB1001")
		s.awaitText(t, []string{"AllocationFailed", "LB1001", "IPAddressPool"}, "describe", "svc", "web")
	})
	s.ApplyFile(t, gitops+"manifests/metallb-config")
	s.awaitCode(t, "svc/web", "")
	s.screensOfTheFirstUser(t)
	s.troublesOnTheWayToAnAddress(t)
	s.troublesOfAnnouncing(t)
	s.troublesAround(t)
	s.otherWaysToAsk(t)
	t.Run("export writes what can be applied again", func(t *testing.T) {
		out, exit := s.ask(t, "export")
		if exit != 0 || !strings.Contains(out, "#   default/web  192.168.1.200") || strings.Contains(out, "resourceVersion") {
			t.Fatalf("exit code %d\n%s", exit, out)
		}
		s.Apply(t, out)
	})
}

// troublesOnTheWayToAnAddress sets up what keeps a Service pending.
func (s *system) troublesOnTheWayToAnAddress(t *testing.T) {
	for _, one := range []struct{ name, annotations, spec, code string }{
		{"T9: an address in no pool", "", ", loadBalancerIP: 10.9.9.9", "LB1012"},
		{"T17: an address that is none", "metallb.io/loadBalancerIPs: nonsense", "", "LB1007"},
		{"a pool that does not exist", "metallb.io/address-pool: prodution", "", "LB1004"},
		{"an address that somebody has", "", ", loadBalancerIP: 192.168.1.200", "LB1008"},
	} {
		t.Run(one.name, func(t *testing.T) {
			s.Apply(t, fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: trouble, namespace: default, annotations: {%s}}\n"+
				"spec: {type: LoadBalancer, ports: [{port: 80}]%s}\n", one.annotations, one.spec))
			s.awaitCode(t, "svc/trouble", one.code)
			s.Kubectl(t, "delete", "service", "trouble")
		})
	}
	t.Run("another load balancer's class", func(t *testing.T) {
		s.service(t, "theirs", ", loadBalancerClass: example.org/other")
		out, exit := s.ask(t, "why", "svc/theirs", "-o", "name")
		if exit != 1 || strings.TrimSpace(out) != "LB1011" {
			t.Errorf("exit code %d: %s", exit, out)
		}
		s.Kubectl(t, "delete", "service", "theirs")
	})
}

// troublesOfAnnouncing sets up what keeps an address from being announced: the many ways of T8.
func (s *system) troublesOfAnnouncing(t *testing.T) {
	advertisement := func(t *testing.T, spec string) {
		s.Apply(t, "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: default-advertisement, namespace: metallb-system}\nspec: {"+spec+"}\n")
	}
	sound := func(t *testing.T) {
		s.ApplyFile(t, gitops+"manifests/metallb-config")
		s.awaitCode(t, "svc/web", "")
	}
	for _, one := range []struct{ name, spec, code string }{
		{"T8: an advertisement of another pool", "ipAddressPools: [other]", "LB1101"},
		{"T8: node selectors that match nothing", "ipAddressPools: [default-pool], nodeSelectors: [{matchLabels: {rack: nine}}]", "LB1110"},
		{"T8: an interface that no node has", "ipAddressPools: [default-pool], interfaces: [eth9]", "LB1106"},
	} {
		t.Run(one.name, func(t *testing.T) {
			s.Kubectl(t, "delete", "l2advertisement", "-n", namespace, "default-advertisement")
			advertisement(t, one.spec)
			s.awaitCode(t, "svc/web", one.code)
			s.Kubectl(t, "delete", "l2advertisement", "-n", namespace, "default-advertisement")
			sound(t)
		})
	}
	t.Run("T23: the test Service without pods", func(t *testing.T) {
		s.Kubectl(t, "create", "service", "loadbalancer", "test-lb", "--tcp=80:80")
		s.awaitCode(t, "svc/test-lb", "LB1102")
		s.awaitText(t, []string{"NotAnnounced", "LB1102", "app=test-lb"}, "describe", "svc", "test-lb")
		s.says(t, 1, []string{"its selector is app=test-lb", "kubectl get pods -n default -l app=test-lb"}, "why", "svc/test-lb")
		s.Kubectl(t, "delete", "service", "test-lb")
	})
	t.Run("T8: externalTrafficPolicy Local and the pods are elsewhere", func(t *testing.T) {
		s.Apply(t, "apiVersion: v1\nkind: Service\nmetadata: {name: local, namespace: default}\nspec: {type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 80}]}\n")
		s.Apply(t, "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: local, namespace: default, labels: {kubernetes.io/service-name: local}}\n"+
			"addressType: IPv4\nports: [{port: 80}]\nendpoints: [{addresses: [10.244.9.9], nodeName: node-z, conditions: {ready: true}}]\n")
		s.awaitCode(t, "svc/local", "LB1103")
		s.Kubectl(t, "delete", "service/local", "endpointslice/local")
	})
	t.Run("T7: one node is excluded, then all are", func(t *testing.T) {
		s.Kubectl(t, "label", "node", "node-a", excludeLabel+"=")
		s.awaitCode(t, "svc/web", "")
		s.says(t, 0, []string{"node-a has " + excludeLabel, "LB1104"}, "check", "--pre")
		s.Kubectl(t, "label", "node", "node-b", excludeLabel+"=")
		cluster.Eventually(t, 20*time.Second, "why tells that it is announced all the same", func() bool {
			out, exit := s.ask(t, "why", "svc/web")
			return exit == 0 && strings.Contains(out, "LB1117")
		})
		s.awaitMetric(t, s.ControlPlane(), controllerMetrics, `ferrolb_service_findings{code="LB1117"} `, "")
		s.Kubectl(t, "label", "node", "node-a", "node-b", excludeLabel+"-")
	})
	t.Run("T26: who has the address", func(t *testing.T) {
		sound(t)
		owner := s.awaitOwner(t, "192.168.1.200")
		cluster.Eventually(t, 20*time.Second, "ip names the owner", func() bool {
			out, exit := s.ask(t, "ip", "192.168.1.200")
			return exit == 0 && strings.Contains(out, "default/web") && strings.Contains(out, "announced by "+owner+" on eth0, MAC address ")
		})
		s.awaitText(t, []string{"IP", "MAC", "SINCE", owner, "192.168.1.200", s.Node(owner).MAC.String()}, "get", "servicel2statuses", "-n", namespace)
		s.says(t, 0, []string{"Lately:", "announced since then", owner + " began to announce (layer2)"}, "why", "svc/web")
		s.says(t, 0, []string{"answered by 1 MAC address", "(" + owner + ")"}, "probe", "192.168.1.200", "--port=0")
	})
}

// troublesAround sets up what check and the notes of status are for.
func (s *system) troublesAround(t *testing.T) {
	t.Run("T6: pools that overlap, T17: annotations that do nothing", func(t *testing.T) {
		s.Apply(t, "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: young, namespace: metallb-system}\nspec: {addresses: [192.168.1.220-192.168.1.230]}\n")
		s.ApplyFile(t, gitops+"services/static-ip.yaml")
		s.endpoints(t, "default", "static-ip")
		s.awaitCode(t, "svc/static-ip", "")
		out, _ := s.ask(t, "status", "--notes")
		for _, code := range []string{"LB4004", "LB4008", "LB2001", "LB2002"} {
			if !strings.Contains(out, code) {
				t.Errorf("status does not name %s:\n%s", code, out)
			}
		}
		s.Kubectl(t, "delete", "ipaddresspool", "-n", namespace, "young")
		s.Kubectl(t, "delete", "service", "static-ip")
	})
	t.Run("T5, T12, T13, T20: what check finds", func(t *testing.T) {
		s.Kubectl(t, "label", "--overwrite", "namespace", namespace, "pod-security.kubernetes.io/enforce=baseline")
		s.Apply(t, "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: svclb-traefik, namespace: kube-system}\n"+
			"spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {nodeSelector: {nowhere: here}, containers: [{name: a, image: a}]}}}\n")
		s.Apply(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kube-proxy, namespace: kube-system}\ndata: {config.conf: \"mode: ipvs\\nipvs:\\n  strictARP: false\\n\"}\n")
		s.Apply(t, "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {name: leftover}\nwebhooks:\n"+
			"- {name: nobody.metallb.io, failurePolicy: Fail, sideEffects: None, admissionReviewVersions: [v1], clientConfig: {service: {name: gone, namespace: gone}}}\n")
		s.says(t, 1, []string{"LB0051", "LB0055", "LB0054", "LB0056", "kubectl delete validatingwebhookconfiguration leftover"}, "check", "--pre")
		s.Kubectl(t, "delete", "validatingwebhookconfiguration", "leftover")
		s.Kubectl(t, "delete", "-n", "kube-system", "daemonset/svclb-traefik", "configmap/kube-proxy")
		s.Kubectl(t, "label", "--overwrite", "namespace", namespace, "pod-security.kubernetes.io/enforce=privileged")
	})
	t.Run("what frr-k8s has, or has left behind, is named", func(t *testing.T) {
		s.says(t, 0, []string{"k3s servicelb is not present"}, "check", "--pre")
		s.Apply(t, `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: frrconfigurations.frrk8s.metallb.io}
spec:
  group: frrk8s.metallb.io
  scope: Namespaced
  names: {kind: FRRConfiguration, plural: frrconfigurations, singular: frrconfiguration, listKind: FRRConfigurationList}
  versions: [{name: v1beta1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`)
		s.Kubectl(t, "wait", "--for=condition=Established", "customresourcedefinition/frrconfigurations.frrk8s.metallb.io", "--timeout=30s")
		s.Apply(t, "apiVersion: frrk8s.metallb.io/v1beta1\nkind: FRRConfiguration\nmetadata: {name: metallb-node-a, namespace: metallb-system}\nspec: {}\n")
		s.says(t, 0, []string{"LB0059", "FRRConfiguration metallb-system/metallb-node-a", "BGPAdvertisements"}, "check", "--pre")
		s.Kubectl(t, "delete", "customresourcedefinition", "frrconfigurations.frrk8s.metallb.io")
	})
	t.Run("plan tells what a change of the pool would do", func(t *testing.T) {
		pool, err := filepath.Abs("testdata/moved-pool.yaml")
		if err != nil {
			t.Fatal(err)
		}
		out, exit := s.ask(t, "plan", "-f", pool, "-o", "json")
		var document struct {
			Changes []struct{ Service, Verdict string }
		}
		if err := json.Unmarshal([]byte(out), &document); err != nil || exit != 1 {
			t.Fatalf("%v, exit code %d\n%s", err, exit, out)
		}
		if !slices.Contains(document.Changes, struct{ Service, Verdict string }{"default/web", "change"}) {
			t.Errorf("%s", out)
		}
	})
	t.Run("T9: what a stranger has is not announced, and says so", func(t *testing.T) {
		s.Laptop().Output(t.Context(), "ip", "address", "add", "192.168.1.218/24", "dev", "eth0")
		s.service(t, "squatted", ", loadBalancerIP: 192.168.1.218")
		s.awaitText(t, []string{"announceFailed", "192.168.1.218 is answered by " + s.Laptop().MAC.String(), "LB1118"}, "describe", "svc", "squatted")
		s.awaitCode(t, "svc/squatted", "LB1118")
		s.Laptop().Output(t.Context(), "ip", "address", "del", "192.168.1.218/24", "dev", "eth0")
		s.Kubectl(t, "delete", "service", "squatted")
	})
	t.Run("T9: scan finds a stranger", func(t *testing.T) {
		s.Node("node-b").Output(t.Context(), "ip", "address", "add", "192.168.1.219/32", "dev", "eth0")
		s.says(t, 1, []string{"192.168.1.219", "NOT a Service", "192.168.1.200", "Service default/web"}, "scan", "default-pool")
		s.Node("node-b").Output(t.Context(), "ip", "address", "del", "192.168.1.219/32", "dev", "eth0")
	})
}

// otherWaysToAsk runs the program as people run it who have not installed it, and asks for what goes into a report.
func (s *system) otherWaysToAsk(t *testing.T) {
	t.Run("with the rights of the controller, as kubectl exec in its pod has them", func(t *testing.T) {
		credentials := s.ServiceAccountKubeconfig(t, controllerAccount)
		for _, verb := range [][]string{{"status"}, {"why", "svc/web"}, {"ip", "192.168.1.200"}} {
			out, exit := s.askWith(t, credentials, verb...)
			if exit != 0 || strings.Contains(out, "LB0021") {
				t.Errorf("%v: exit code %d\n%s", verb, exit, out)
			}
		}
	})
	t.Run("kubectl ferrolb", func(t *testing.T) {
		plugins := t.TempDir()
		if err := os.Symlink(s.binary, filepath.Join(plugins, "kubectl-ferrolb")); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), s.Assets["kubectl"], "ferrolb", "status", "-o", "name")
		cmd.Env = append(os.Environ(), "PATH="+plugins+":"+os.Getenv("PATH"), "KUBECONFIG="+s.Kubeconfig())
		out, err := s.output(cmd)
		if err != nil || strings.TrimSpace(out) != "service/default/web" {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("peers, watch, and a bundle without secrets", func(t *testing.T) {
		s.says(t, 0, []string{"node-a", "node-b", "yes"}, "peers")
		s.says(t, 0, []string{"--- ", "default/web"}, "watch", "--looks=1")
		s.Apply(t, "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {name: router, namespace: metallb-system}\n"+
			"spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.168.1.1, password: hunter2}\n")
		out, exit := s.ask(t, "support-bundle")
		if exit != 0 || strings.Contains(out, "hunter2") || !strings.Contains(out, "(removed)") || !strings.Contains(out, "default-pool") {
			t.Errorf("exit code %d\n%s", exit, out)
		}
		s.Kubectl(t, "delete", "bgppeer", "-n", namespace, "router")
	})
}

// screensOfTheFirstUser is what the first user sees: on the day it works, and on the day that every node is excluded.
func (s *system) screensOfTheFirstUser(t *testing.T) {
	t.Run("the first user's traefik", func(t *testing.T) {
		s.Kubectl(t, "create", "namespace", "traefik-system")
		s.endpoints(t, "traefik-system", "traefik")
		s.ApplyFile(t, gitops+"services/traefik.yaml")
		s.awaitCode(t, "traefik-system/traefik", "")
		out, exit := s.ask(t, "status")
		squeezed := strings.Join(strings.Fields(out), " ")
		for _, text := range []string{
			"traefik-system/traefik 192.168.1.201 announced node-", "http://192.168.1.201/ https://192.168.1.201/ 192.168.1.201:9000",
			"default-pool 192.168.1.200-192.168.1.220 IPv4 21 2 19 default-advertisement (L2, eth0)",
			"fine: nothing to do 1 note (ferrolb status --notes)",
		} {
			if !strings.Contains(squeezed, text) {
				t.Errorf("no %q in\n%s", text, out)
			}
		}
		if exit != 0 {
			t.Errorf("exit code %d", exit)
		}
		s.says(t, 0, []string{"LB2001", "metallb.universe.tf/loadBalancer-class"}, "status", "--notes")
	})
	s.Kubectl(t, "delete", "namespace", "traefik-system")
}
