package ferrolb_test

import (
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

// T3: whatever comes first, it ends the same, and nothing has to be restarted (the order of Argo CD's applications is nobody's promise).
func TestAnyOrderEndsTheSame(t *testing.T) {
	rounds := 3
	seed := time.Now().UnixNano()
	if text := os.Getenv("FERROLB_SEED"); text != "" {
		seed, _ = strconv.ParseInt(text, 10, 64)
	}
	t.Logf("FERROLB_SEED=%d", seed)
	random := rand.New(rand.NewSource(seed))
	for round := range rounds {
		t.Run(fmt.Sprint("order ", round), func(t *testing.T) { inOrder(t, random.Perm(7)) })
	}
}

func inOrder(t *testing.T, order []int) {
	c := cluster.StartAPI(t, cluster.Options{Nodes: 1})
	s := newSystem(t, c)
	// Accounts are what the programs run as, and the Deployment is where the controller comes from: without them there is no process to
	// start. What an account may do can come later.
	c.ApplyFile(t, root+"deploy/metallb.yaml")
	s.noPods(t)
	s.Kubectl(t, "delete", "clusterrolebindings,rolebindings", "-A", "-l", "app.kubernetes.io/name=metallb")
	late := map[string]string{}
	steps := []struct {
		name string
		do   func() bool
	}{
		{"the rights", func() bool { c.ApplyFile(t, root+"deploy/metallb.yaml"); return true }},
		{"the definitions", func() bool { c.ApplyFile(t, root+"deploy/crds.yaml"); return true }},
		{"the controller", func() bool { s.startController(t); return true }},
		{"the speaker", func() bool {
			// A pod waits for the Secret that it has mounted, and the controller for the right to make it.
			if _, err := s.Client.CoreV1().Secrets(namespace).Get(t.Context(), "metallb-memberlist", getOptions); err != nil {
				return false
			}
			s.startSpeaker(t, "node-a")
			return true
		}},
		{"the pool", func() bool { return s.tryApply(t, pool) }},
		{"the advertisement", func() bool { return s.tryApply(t, advertisement) }},
		{"the Service", func() bool { s.service(t, "web", ""); return true }},
	}
	said := ""
	for _, number := range order {
		said += steps[number].name + ", "
		if !steps[number].do() {
			// What cannot be applied yet is tried again by whoever applies it, as Argo CD does.
			late[steps[number].name] = ""
		}
		time.Sleep(300 * time.Millisecond)
	}
	t.Log(said)
	for len(late) > 0 {
		for _, step := range steps {
			if _, waits := late[step.name]; waits && step.do() {
				delete(late, step.name)
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
	s.awaitAddress(t, "default", "web", "192.168.1.200")
	if owner := s.awaitOwner(t, "192.168.1.200"); owner != "node-a" {
		t.Errorf("%s answers", owner)
	}
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
