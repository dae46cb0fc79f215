package ferrolb_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

// take takes a right away: a verb for a resource, from a role. It returns what gives it back.
func (s *system) take(t testing.TB, kind, role, verb, resource string) (giveBack func()) {
	t.Helper()
	args := []string{kind, role}
	if kind == "role" {
		args = append(args, "-n", namespace)
	}
	before := s.object(t, args...)
	delete(before["metadata"].(map[string]any), "resourceVersion")
	saved, _ := json.Marshal(before)
	taken := false
	var rules []any
	for _, rule := range before["rules"].([]any) {
		rules = append(rules, rule)
		rule := rule.(map[string]any)
		for _, one := range rule["resources"].([]any) {
			if one != resource {
				continue
			}
			var left []any
			for _, one := range rule["verbs"].([]any) {
				if one == verb {
					taken = true
				} else {
					left = append(left, one)
				}
			}
			rule["verbs"] = left
			// A rule without verbs is none.
			if len(left) == 0 {
				rules = rules[:len(rules)-1]
			}
		}
	}
	before["rules"] = rules
	if !taken {
		t.Fatalf("%s %s does not grant %s on %s", kind, role, verb, resource)
	}
	without, _ := json.Marshal(before)
	s.replace(t, without)
	return func() { s.replace(t, saved) }
}

// replace replaces an object by its JSON.
func (s *system) replace(t testing.TB, object []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "object.json")
	if err := os.WriteFile(path, object, 0o600); err != nil {
		t.Fatal(err)
	}
	s.Kubectl(t, "replace", "-f", path)
}

func TestARightThatIsTakenAwayIsNamedAndOnceItIsBackNothingHasToBeRestarted(t *testing.T) {
	s := startFaulty(t, 1, cluster.Options{}, cluster.Faults{})
	l, p := s.ledger(t), s.probe(t, firstAddress)

	t.Run("writing Service status", func(t *testing.T) {
		giveBack := s.take(t, "clusterrole", "metallb:controller", "update", "services/status")
		s.service(t, "denied", "")
		s.awaitText(t, []string{"AccessDenied", "LB0021", "services/status"}, "describe", "svc", "denied")
		if found := s.addresses(t, "default", "denied"); len(found) != 0 {
			t.Fatalf("an address by a right that nobody has: %v", found)
		}
		giveBack()
		s.awaitAddress(t, "default", "denied", "192.168.1.201")
	})
	t.Run("reading pools, by the controller and the speaker", func(t *testing.T) {
		// The speaker's role, and the controller's.
		giveBack, giveBackToo := s.take(t, "role", "metallb-pod-lister", "watch", "ipaddresspools"), s.take(t, "role", "metallb-controller", "watch", "ipaddresspools")
		// Rights are looked at when a watch begins.
		s.StopAPIServer(t)
		s.StartAPIServer(t)
		for _, process := range []*cluster.Process{s.controller, s.speakers["node-a"]} {
			process.WaitForLog(t, "LB0021 IPAddressPool", 20*time.Second)
		}
		// What is known stays in force.
		s.service(t, "meanwhile", "")
		s.awaitAddress(t, "default", "meanwhile", "192.168.1.202")
		p.more(t, 15)
		s.Apply(t, `{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: more, namespace: metallb-system}, spec: {addresses: [192.168.1.240/28]}}`)
		giveBack()
		giveBackToo()
		s.service(t, "from-more", ", loadBalancerIP: 192.168.1.241")
		s.awaitAddress(t, "default", "from-more", "192.168.1.241")
	})
	p.end(t, "rights taken away and given back", 30)
	l.end(t, 4)
}

func TestASpeakerThatMayReadNothingAnnouncesWhatItAnnouncedBefore(t *testing.T) {
	s := startFaulty(t, 1, cluster.Options{}, cluster.Faults{})
	giveBack := s.take(t, "clusterrole", "metallb:speaker", "list", "services")
	s.speakers["node-a"].Kill(t)
	s.speakers["node-a"].Start(t)
	s.speakers["node-a"].WaitForLog(t, "LB0021 Service", 10*time.Second)
	s.awaitOwner(t, firstAddress)
	s.speakers["node-a"].WaitForLog(t, "LB0024", 10*time.Second)
	giveBack()
	s.service(t, "later", "")
	s.awaitOwner(t, "192.168.1.201")
	s.awaitOwner(t, firstAddress)
}

func TestTheMembershipSecretMayBeMissingLateOrGone(t *testing.T) {
	s := prepare(t, cluster.StartAPI(t, cluster.Options{Nodes: 2}))
	// A speaker before anybody has made the secret: it says so, and is not wrong for it.
	empty := t.TempDir()
	s.secrets = empty
	early := s.speaker(t, "node-a")
	early.WaitForLog(t, "LB0023", 20*time.Second)
	s.startController(t)
	s.ApplyFile(t, gitops+"manifests/metallb-config")
	s.service(t, "web", "")
	s.awaitAddress(t, "default", "web", firstAddress)
	if answers := s.Laptop().ARP(t, firstAddress); len(answers) != 0 {
		t.Errorf("announced without knowing who else does: %v", answers)
	}
	s.startSpeaker(t, "node-b") // which writes the secret to where both have it mounted
	s.awaitOwner(t, firstAddress)
	early.WaitForLog(t, "memberJoined", 20*time.Second)
	l, p := s.ledger(t), s.probe(t, firstAddress)

	secrets := s.Client.CoreV1().Secrets(namespace)
	old, err := secrets.Get(t.Context(), "metallb-memberlist", getOptions)
	if err != nil {
		t.Fatal(err)
	}
	if err := secrets.Delete(t.Context(), "metallb-memberlist", deleteOptions); err != nil {
		t.Fatal(err)
	}
	// Gone while everybody runs: nobody needs it. The next controller makes one, which the next pods of all speakers will have mounted.
	time.Sleep(2 * time.Second)
	s.controller.Kill(t)
	s.controller.Start(t)
	cluster.Eventually(t, 20*time.Second, "there is a secret again, and it is another one", func() bool {
		now, err := secrets.Get(t.Context(), "metallb-memberlist", getOptions)
		return err == nil && string(now.Data["secretkey"]) != string(old.Data["secretkey"]) && len(now.Data["secretkey"]) == 22
	})
	s.service(t, "later", "")
	s.awaitAddress(t, "default", "later", "192.168.1.201")
	s.awaitOwner(t, "192.168.1.201")
	p.more(t, 10)
	s.theKeyChangesOnOneNodeFirst(t, early)
	p.more(t, 10)
	p.end(t, "the secret gone and made anew", 10)
	l.end(t, 2)
}

// theKeyChangesOnOneNodeFirst makes a pod of node-b anew, with what the Secret holds now, while the speaker on node-a has the file from before; then
// the kubelet exchanges that, too. The two do not understand each other until then.
func (s *system) theKeyChangesOnOneNodeFirst(t *testing.T, early *cluster.Process) {
	old := filepath.Join(s.secrets, "secretkey")
	s.speakers["node-b"].Terminate(t)
	s.secrets = t.TempDir()
	s.startSpeaker(t, "node-b")
	s.speakers["node-b"].WaitForLog(t, "LB0014", 20*time.Second)
	early.WaitForLog(t, "LB0014", 20*time.Second)
	later := s.probe(t, "192.168.1.201")
	time.Sleep(5 * time.Second) // twice as long as a speaker listens that hears nobody
	if log := s.speakers["node-b"].Log(); strings.Contains(log, "memberJoined") {
		t.Errorf("it has met a node that it does not understand:\n%s", log)
	}
	later.more(t, 10)
	later.end(t, "two speakers with different keys", 10)
	key, err := os.ReadFile(filepath.Join(s.secrets, "secretkey"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old, key, 0o600); err != nil {
		t.Fatal(err)
	}
	early.WaitForLog(t, "the shared secret has changed", 20*time.Second)
	s.speakers["node-b"].WaitForLog(t, "memberJoined", 20*time.Second)
	// The other address is asked for all the time: who asks twice at once gets two answers.
	s.awaitOwner(t, "192.168.1.201")
}

// Definitions without a schema, as people have written them by hand.
func withoutSchemas(t testing.TB) string {
	t.Helper()
	text := ""
	for plural, kind := range map[string]string{
		"ipaddresspools": "IPAddressPool", "l2advertisements": "L2Advertisement", "bgpadvertisements": "BGPAdvertisement", "communities": "Community",
		"bfdprofiles": "BFDProfile",
	} {
		text += `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ` + plural + `.metallb.io}
spec:
  group: metallb.io
  scope: Namespaced
  names: {plural: ` + plural + `, kind: ` + kind + `}
  versions:
  - {name: v1beta1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
---`
	}
	return text
}

func TestObjectsThatNobodyWouldLetInTodayAreNamedAndTakeNothingAway(t *testing.T) {
	c := cluster.StartAPI(t, cluster.Options{Nodes: 1})
	s := newSystem(t, c)
	c.Apply(t, withoutSchemas(t))
	c.ApplyFile(t, root+"deploy/metallb.yaml")
	s.noPods(t)
	cluster.Eventually(t, 20*time.Second, "the kinds are served", func() bool {
		return s.tryApply(t, `
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: text-for-a-list, namespace: metallb-system}, spec: {addresses: 10.1.0.0/24}}
---
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: reversed, namespace: metallb-system}, spec: {addresses: [10.2.0.9-10.2.0.1]}}
---
{apiVersion: metallb.io/v1beta1, kind: L2Advertisement, metadata: {name: number, namespace: metallb-system}, spec: {interfaces: 7}}
---
{apiVersion: metallb.io/v1beta1, kind: Community, metadata: {name: bad, namespace: metallb-system}, spec: {communities: [{name: a, value: none}]}}
---
{apiVersion: metallb.io/v1beta1, kind: BFDProfile, metadata: {name: text, namespace: metallb-system}, spec: {receiveInterval: soon}}
---
{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: text, namespace: metallb-system}, spec: {localPref: high}}
`+"---"+pool+"---"+advertisement)
	})
	c.ApplyFile(t, root+"deploy/crds.yaml")
	s.run(t)
	s.service(t, "web", "")
	s.awaitText(t, []string{"Invalid", "LB0027", "text-for-a-list", "LB4002", "reversed", "L2Advertisement/metallb-system/number", "LB4201"},
		"get", "configurationstate", "controller", "-n", namespace, "-o", "yaml")
	for _, about := range []string{"ipaddresspool/text-for-a-list", "l2advertisement/number"} {
		s.awaitText(t, []string{"ObjectMalformed", "LB0027"}, "describe", "-n", namespace, about)
	}
	if found := s.addresses(t, "default", "web"); len(found) != 0 {
		t.Errorf("an address by a configuration that cannot be read: %v", found)
	}
	// One after the other is mended or deleted; nobody is restarted.
	s.Apply(t, `{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: text-for-a-list, namespace: metallb-system}, spec: {addresses: [10.1.0.0/24]}}`)
	s.Kubectl(t, "delete", "-n", namespace, "ipaddresspool/reversed", "l2advertisement/number", "community/bad")
	s.awaitText(t, []string{"result: Valid"}, "get", "configurationstate", "controller", "-n", namespace, "-o", "yaml")
	cluster.Eventually(t, 20*time.Second, "the Service has an address", func() bool { return len(s.addresses(t, "default", "web")) == 1 })
	for _, about := range []string{"BFDProfile/metallb-system/text", "BGPAdvertisement/metallb-system/text"} {
		s.controller.WaitForLog(t, "LB0027 "+about, 10*time.Second)
	}
	// And one that goes bad while it is in use takes nothing away. The definition loses its schema, and gets it back.
	address := s.addresses(t, "default", "web")[0]
	s.awaitOwner(t, address)
	l, p := s.ledger(t), s.probe(t, address)
	c.Apply(t, withoutSchemas(t))
	bad := []byte(`{"spec":{"addresses":"nonsense"}}`)
	cluster.Eventually(t, 20*time.Second, "the pool is spoilt", func() bool {
		for _, name := range []string{"text-for-a-list", "default-pool"} {
			out, err := s.Laptop().Output(t.Context(), s.Assets["kubectl"], "--kubeconfig="+s.Kubeconfig(), "patch", "ipaddresspool", name, "-n", namespace, "--type=merge", "-p", string(bad))
			if err != nil {
				t.Log(out, err)
				return false
			}
		}
		return true
	})
	c.ApplyFile(t, root+"deploy/crds.yaml")
	s.awaitText(t, []string{"result: Invalid", "LB0027"}, "get", "configurationstate", "controller", "-n", namespace, "-o", "yaml")
	s.createBare(t, "meanwhile")
	s.awaitServed(t, 2, 20*time.Second)
	p.more(t, 10)
	p.end(t, "pools spoilt in use", 10)
	l.end(t, 2)
}
