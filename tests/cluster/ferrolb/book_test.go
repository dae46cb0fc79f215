package ferrolb_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	cluster "ferrolb.io/tests/cluster"
)

const (
	bookPages = root + "docs/book/src/"
	// What somebody has who comes from MetalLB's own manifests: workloads by these names. At this level nobody runs them.
	metallbsWorkloads = `
apiVersion: v1
kind: Namespace
metadata: {name: metallb-system, labels: {pod-security.kubernetes.io/enforce: privileged}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: controller, namespace: metallb-system}
spec:
  selector: {matchLabels: {component: controller}}
  template: {metadata: {labels: {component: controller}}, spec: {containers: [{name: controller, image: "quay.io/metallb/controller:v0.16.1"}]}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: speaker, namespace: metallb-system}
spec:
  selector: {matchLabels: {component: speaker}}
  template: {metadata: {labels: {component: speaker}}, spec: {containers: [{name: speaker, image: "quay.io/metallb/speaker:v0.16.1"}]}}
`
)

// The book's commands are typed as they stand, in the repository, on the laptop: blocks that are marked `sh,run`; and the manifests that are marked
// `yaml,apply` are applied. What the pages say that a cluster at this level cannot do is tried elsewhere, which tests/chart watches over.
func TestTheBooksCommandsDoWhatTheySay(t *testing.T) {
	t.Run("quick start", func(t *testing.T) {
		s := &system{}
		follow(t, cluster.StartAPI(t, cluster.Options{Nodes: 2}), "quick-start.md", func(c *cluster.Cluster, done int) {
			if done != 1 { // kubectl apply -k deploy
				return
			}
			s = newSystem(t, c)
			s.noPods(t)
			s.run(t)
		})
	})
	t.Run("migration", func(t *testing.T) {
		c := cluster.StartAPI(t, cluster.Options{Nodes: 2})
		c.Apply(t, metallbsWorkloads)
		follow(t, c, "migration.md", func(*cluster.Cluster, int) {})
		c.KubectlFails(t, "get", "-n", namespace, "deployment/controller")
		c.Kubectl(t, "get", "-n", namespace, "deployment/metallb-controller", "daemonset/metallb-speaker")
	})
}

// The page of codes is the program's own list. UPDATE_SNAPSHOTS=1 writes it anew.
func TestTheBooksPageOfCodesIsTheProgramsOwn(t *testing.T) {
	list, err := exec.CommandContext(t.Context(), binary(t), "explain").Output()
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	page.WriteString("# Codes\n\nEvery code has a story, an example and a fix: `ferrolb explain CODE`, offline. This is its list.\n")
	chapter := ""
	for _, one := range codeLine.FindAllStringSubmatch(string(list), -1) {
		if title := chapters[one[1][:3]]; title != chapter || title == "" {
			if chapter = title; title == "" {
				t.Fatalf("no chapter for %s", one[1])
			}
			page.WriteString("\n## " + title + "\n\n| code | name | what |\n|---|---|---|\n")
		}
		page.WriteString("| " + one[1] + " | " + one[2] + " | " + strings.ReplaceAll(one[3], "|", "\\|") + " |\n")
	}
	if codes := strings.Count(page.String(), "\n| LB"); codes < 90 || codes != strings.Count("\n"+string(list), "\nLB") {
		t.Fatalf("%d codes of\n%s", codes, list)
	}
	if os.Getenv("UPDATE_SNAPSHOTS") != "" {
		if err := os.WriteFile(bookPages+"codes.md", []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if written, err := os.ReadFile(bookPages + "codes.md"); err != nil || string(written) != page.String() {
		t.Errorf("codes.md is not what the program says (%v); UPDATE_SNAPSHOTS=1 scripts/cluster test -run TestTheBooksPageOfCodes writes it", err)
	}
}

var (
	codeLine = regexp.MustCompile(`(?m)^(LB\d{4})\s+(\w+)\s+(\S.*)$`)
	chapters = map[string]string{
		"LB0": "The program and what is around it", "LB1": "Services", "LB2": "Annotations", "LB3": "Values of the chart", "LB4": "Pools, advertisements, peers",
	}
)

var typed = regexp.MustCompile("(?ms)^```(sh,run|yaml,apply)\n(.*?)^```$")

// follow does what a page says, in its order; after each block it calls back with how many are done.
func follow(t *testing.T, c *cluster.Cluster, page string, after func(c *cluster.Cluster, done int)) {
	t.Helper()
	text, err := os.ReadFile(bookPages + page)
	if err != nil {
		t.Fatal(err)
	}
	blocks := typed.FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 3 {
		t.Fatalf("%s has only %d blocks to type", page, len(blocks))
	}
	programs := t.TempDir()
	for name, path := range map[string]string{"ferrolb": binary(t), "kubectl": c.Assets["kubectl"]} {
		if err := os.Symlink(path, filepath.Join(programs, name)); err != nil {
			t.Fatal(err)
		}
	}
	for number, one := range blocks {
		if one[1] == "yaml,apply" {
			c.Apply(t, one[2])
		} else {
			cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", one[2])
			cmd.Dir = root
			cmd.Env = append(os.Environ(), "PATH="+programs+":"+os.Getenv("PATH"), "KUBECONFIG="+c.Kubeconfig(), "HOME="+programs)
			out, err := (&system{Cluster: c}).output(cmd)
			if err != nil {
				t.Fatalf("%s: %v in\n%s\n%s", page, err, one[2], out)
			}
			t.Logf("%s\n%s", one[2], out)
		}
		after(c, number+1)
	}
}
