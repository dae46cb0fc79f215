package ferrolb_test

import (
	"fmt"
	"math/rand"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

// T3: whatever comes first, it ends the same, and nothing has to be restarted (the order of Argo CD's applications is nobody's promise). Webhooks are
// on, there are two nodes, and the one that the advertisement is for gets its label among the rest.
func TestAnyOrderEndsTheSame(t *testing.T) {
	const rounds = 4
	seed := time.Now().UnixNano()
	if text := os.Getenv("FERROLB_SEED"); text != "" {
		seed, _ = strconv.ParseInt(text, 10, 64)
	}
	t.Logf("FERROLB_SEED=%d", seed)
	random := rand.New(rand.NewSource(seed))
	s := newSystem(t, cluster.StartAPI(t, cluster.Options{Nodes: 2}))
	// Accounts are what the programs run as, and the Deployment is where the controller comes from: without them there is no process to
	// start. What an account may do can come later.
	s.ApplyFile(t, root+"deploy/metallb.yaml")
	s.noPods(t)
	s.DeclarePod(t, cluster.Pod{Namespace: namespace, Name: "controller", Labels: map[string]string{"app.kubernetes.io/name": "metallb", "app.kubernetes.io/instance": "metallb", "app.kubernetes.io/component": "controller"}, Node: "node-a"})
	for round := range rounds {
		s.forget(t)
		if !t.Run(fmt.Sprint("order ", round), func(t *testing.T) { s.inOrder(t, random.Perm(len(s.steps(t)))) }) {
			break
		}
	}
}

// forget takes everything away that a step brings.
func (s *system) forget(t *testing.T) {
	t.Helper()
	s.Kubectl(t, "delete", "customresourcedefinitions", "--all")
	s.Kubectl(t, "delete", "clusterrolebindings,rolebindings,validatingwebhookconfigurations", "-A", "-l", "app.kubernetes.io/name=metallb")
	s.Kubectl(t, "delete", "secret", "-n", namespace, "metallb-memberlist", "metallb-webhook-cert", "--ignore-not-found")
	s.Kubectl(t, "delete", "service,endpointslice", "web", "--ignore-not-found")
	s.Kubectl(t, "label", "node", "node-b", "announces-")
}

// end ends the programs. Their directories go with them: no order shall know of the one before.
func (s *system) end(t *testing.T) {
	t.Helper()
	for node, speaker := range s.speakers {
		speaker.Kill(t)
		delete(s.speakers, node)
	}
	// Who ends in peace gives the lease back.
	s.controller.Terminate(t)
}

// step is something that somebody does. It says whether it could be done; if not it is tried again later, as Argo CD does.
type step struct {
	name string
	do   func(t *testing.T) bool
}

func (s *system) steps(t testing.TB) []step {
	t.Helper()
	return []step{
		{"the rights", func(t *testing.T) bool { s.ApplyFile(t, root+"deploy/metallb.yaml"); s.noPods(t); return true }},
		{"the definitions", func(t *testing.T) bool { s.ApplyFile(t, root+"deploy/crds.yaml"); return true }},
		{"the controller", func(t *testing.T) bool {
			s.controller = s.controllerOn(t, s.Node("node-a"), "--webhook-mode=enabled", "--health-probe-port=17473")
			return true
		}},
		{"node-a's speaker, in a pod that waits for the Secret", func(t *testing.T) bool {
			if _, err := s.Client.CoreV1().Secrets(namespace).Get(t.Context(), "metallb-memberlist", getOptions); err != nil {
				return false
			}
			s.startSpeaker(t, "node-a")
			return true
		}},
		{"node-b's speaker, in a pod that does not", func(t *testing.T) bool {
			s.speakers["node-b"] = s.speaker(t, "node-b", "--ml-secret-name=metallb-memberlist", "--ml-secret-key-path="+t.TempDir())
			return true
		}},
		{"the pool", func(t *testing.T) bool { return s.tryApply(t, pool) }},
		{"the advertisement", func(t *testing.T) bool {
			return s.tryApply(t, advertisement+"spec: {nodeSelectors: [{matchLabels: {announces: here}}]}\n")
		}},
		{"the Service", func(t *testing.T) bool { s.service(t, "web", ""); return true }},
		{"the node's label", func(t *testing.T) bool { s.Kubectl(t, "label", "node", "node-b", "announces=here"); return true }},
	}
}

func (s *system) inOrder(t *testing.T, order []int) {
	s.secrets = t.TempDir()
	steps, said := s.steps(t), ""
	var late []step
	for _, number := range order {
		said += steps[number].name + ", "
		if !steps[number].do(t) {
			late = append(late, steps[number])
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Log(said)
	for end := time.Now().Add(30 * time.Second); len(late) > 0; time.Sleep(200 * time.Millisecond) {
		late = slices.DeleteFunc(late, func(one step) bool { return one.do(t) })
		if time.Now().After(end) {
			t.Fatalf("%s cannot be done", late[0].name)
		}
	}
	s.awaitAddress(t, "default", "web", firstAddress)
	if owner := s.awaitOwner(t, firstAddress); owner != "node-b" {
		t.Errorf("%s answers", owner)
	}
	s.awaitWebhook(t)
	s.end(t)
}

const pool = `
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: default-pool, namespace: metallb-system}
spec: {addresses: [192.168.1.200-192.168.1.220]}
`

const advertisement = `
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: default-advertisement, namespace: metallb-system}
`

// tryApply says whether the API server knew the kind.
func (s *system) tryApply(t testing.TB, manifest string) bool {
	t.Helper()
	path := t.TempDir() + "/manifest.yaml"
	if err := os.WriteFile(path, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := s.Laptop().Output(t.Context(), s.Assets["kubectl"], "--kubeconfig="+s.Kubeconfig(), "apply", "-f", path)
	return err == nil
}
