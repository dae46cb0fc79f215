package ferrolb_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

const webPage = "http://127.0.0.1:7473/"

// browse shows the controller's page in a browser, and returns what stands in it after its script has run, as markup.
func (s *system) browse(t testing.TB) string {
	t.Helper()
	var out []byte
	err := s.ControlPlane().InNetwork(func() (err error) {
		out, err = exec.CommandContext(t.Context(), "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
			"--user-data-dir="+t.TempDir(), "--virtual-time-budget=4000", "--dump-dom", webPage).Output()
		return err
	})
	if err != nil {
		t.Fatalf("chromium is needed: %v", err)
	}
	return string(out)
}

func (s *system) has(t testing.TB, page string, wanted ...string) {
	t.Helper()
	for _, text := range wanted {
		if !strings.Contains(page, text) {
			t.Errorf("no %q in\n%s", text, page)
		}
	}
}

// T15: what a failover was like is told by an Event, by `ip` and on the page.
func TestTheWebPageShowsWhoAnnouncesWhatAndWhoDidBefore(t *testing.T) {
	s := prepare(t, cluster.StartAPI(t, cluster.Options{Nodes: 2}))
	// What the chart adds with controller.webPage.enabled.
	s.Kubectl(t, "create", "clusterrole", "page", "--verb=list", "--resource=events")
	s.Kubectl(t, "create", "clusterrolebinding", "page", "--clusterrole=page", "--serviceaccount="+strings.Replace(controllerAccount, "/", ":", 1))
	s.startController(t, "--web-page=127.0.0.1:7473")
	for _, node := range s.Nodes() {
		s.startSpeaker(t, node.Name)
	}
	s.ApplyFile(t, gitops+"manifests/metallb-config")
	s.service(t, "web", "")
	owner := s.awaitOwner(t, firstAddress)
	s.Apply(t, "apiVersion: v1\nkind: Service\nmetadata: {name: hostile, namespace: default, annotations: {metallb.io/address-pool: '<img src=x onerror=document.title=1>'}}\n"+
		"spec: {type: LoadBalancer, ports: [{port: 80}]}\n")
	s.awaitCode(t, "svc/hostile", "LB1004")
	s.awaitCode(t, "svc/web", "")
	s.has(t, s.browse(t), "<title>FerroLB: 1 of 2 Services not served</title>", "<td>default/web</td><td>"+firstAddress+"</td>", "<td>default-pool</td>",
		"192.168.1.200-192.168.1.220", "<td>"+owner+"</td><td>layer2</td>")

	s.Node(owner).Unplug(t)
	next := s.awaitOwner(t, firstAddress)
	tookOver := fmt.Sprintf("%s taken over from %s, which had not been heard for ", firstAddress, owner)
	s.awaitText(t, []string{"TookOver", tookOver}, "describe", "svc", "web")
	s.Node(owner).Plug(t)
	s.says(t, 0, []string{"default/web, pool default-pool", owner + " began to announce (layer2)\n", next + " began to announce (layer2): " + tookOver}, "ip", firstAddress)
	var shown string
	cluster.Eventually(t, 30*time.Second, "the page tells of the failover", func() bool {
		shown = s.browse(t)
		return strings.Contains(shown, tookOver)
	})
	s.has(t, shown, "&lt;img src=x onerror=document.title=1&gt;", "LB1004  default/hostile")
	if strings.Contains(shown, "<img") {
		t.Errorf("what was written into an annotation is markup on the page:\n%s", shown)
	}
}
