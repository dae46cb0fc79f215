package ferrolb_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

// A namespace that hangs in deletion gets its finalizers taken away by impatient people. What had no namespace is then left behind, and what had one may reappear.
func TestANamespaceDeletedByForceBlocksNoReinstall(t *testing.T) {
	s := start(t, 2)
	s.ApplyFile(t, gitops+"manifests/metallb-config")
	s.service(t, "web", "")
	s.awaitAddress(t, "default", "web", "192.168.1.200")
	s.controller.Kill(t)
	for _, speaker := range s.speakers {
		speaker.Kill(t)
	}
	// Nobody is there to delete what is in it.
	s.ControllerManager.Kill(t)
	s.Kubectl(t, "delete", "namespace", namespace, "--wait=false")
	none := filepath.Join(t.TempDir(), "none.json")
	if err := os.WriteFile(none, fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q},"spec":{"finalizers":[]}}`, namespace), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Kubectl(t, "replace", "--raw", "/api/v1/namespaces/"+namespace+"/finalize", "-f", none)
	cluster.Eventually(t, 30*time.Second, "the namespace is gone", func() bool {
		return s.Kubectl(t, "get", "namespace", namespace, "--ignore-not-found") == ""
	})
	s.ControllerManager.Start(t)

	// What is left asks nobody before it lets an object through.
	s.says(t, 0, []string{"metallb-system does not exist yet"}, "check", "--pre")
	s.ApplyFile(t, root+"deploy/crds.yaml", root+"deploy/metallb.yaml")
	s.noPods(t)
	s.ApplyFile(t, gitops+"manifests/metallb-config")
	s.run(t)
	s.awaitAddress(t, "default", "web", "192.168.1.200")
	s.awaitOwner(t, "192.168.1.200")
	s.service(t, "more", "")
	s.awaitAddress(t, "default", "more", "192.168.1.201")
}
