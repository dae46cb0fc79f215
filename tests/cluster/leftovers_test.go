package cluster_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

// holdVariable makes this test binary start a cluster and do nothing, so that a test can see what becomes of it.
const holdVariable = "FERROLB_TEST_HOLD"

func hold() int {
	c, err := cluster.Start(context.Background(), cluster.Options{Nodes: 1})
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	fmt.Println(filepath.Dir(c.Logs()))
	time.Sleep(5 * time.Minute)
	return 1
}

// host is what a cluster could leave behind on the machine.
type host struct{ mounts, interfaces, namespaces, groups, tunables []string }

func lookAtHost(t *testing.T) host {
	t.Helper()
	var seen host
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	seen.mounts = strings.Split(string(mounts), "\n")
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		seen.interfaces = append(seen.interfaces, i.Name)
	}
	seen.namespaces, _ = filepath.Glob("/run/netns/*")
	seen.groups, _ = filepath.Glob("/sys/fs/cgroup/*/*")
	seen.groups = slices.DeleteFunc(seen.groups, func(path string) bool { return !strings.Contains(path, "ferrolb") && !strings.Contains(path, "kube") })
	for _, name := range []string{"kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory", "kernel/keys/root_maxkeys"} {
		value, _ := os.ReadFile("/proc/sys/" + name)
		seen.tunables = append(seen.tunables, name+"="+string(value))
	}
	return seen
}

// namespacesOf are the process namespaces of all machines of a cluster.
func namespacesOf(c *cluster.Cluster) []string {
	var found []string
	for _, m := range append(c.Nodes(), c.Laptop(), c.ControlPlane()) {
		link, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", m.PID()))
		found = append(found, link)
	}
	return found
}

// living are the processes that run in one of these namespaces.
func living(namespaces []string) []string {
	var found []string
	links, _ := filepath.Glob("/proc/[0-9]*/ns/pid")
	for _, link := range links {
		if space, err := os.Readlink(link); err == nil && slices.Contains(namespaces, space) {
			command, _ := os.ReadFile(filepath.Join(link, "../../cmdline"))
			found = append(found, strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
	return found
}

func assertNothingNew(t *testing.T, before, after host) {
	t.Helper()
	for what, pair := range map[string][2][]string{
		"mounts": {before.mounts, after.mounts}, "interfaces": {before.interfaces, after.interfaces}, "namespaces": {before.namespaces, after.namespaces},
		"control groups": {before.groups, after.groups}, "tunables": {before.tunables, after.tunables},
	} {
		if !slices.Equal(pair[0], pair[1]) {
			t.Errorf("%s before:\n%s\nafter:\n%s", what, strings.Join(pair[0], "\n"), strings.Join(pair[1], "\n"))
		}
	}
}

// stopAndLook stops a cluster and asserts that the host is as it was.
func stopAndLook(t *testing.T, c *cluster.Cluster, before host) {
	t.Helper()
	namespaces, dir := namespacesOf(c), filepath.Dir(c.Logs())
	if running := living(namespaces); len(running) < len(namespaces) {
		t.Fatalf("the search for processes found only %q", running)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if running := living(namespaces); len(running) > 0 {
		t.Errorf("still running: %q", running)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is still there", dir)
	}
	assertNothingNew(t, before, lookAtHost(t))
}

func TestAKilledTestLeavesNoProcessAndTheNextClusterRemovesItsFiles(t *testing.T) {
	shared.Get(t) // two clusters at once disturb each other in nothing
	before := lookAtHost(t)
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holdVariable+"=1")
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	dir := strings.TrimSpace(line)
	mine := func() []string {
		links, _ := filepath.Glob("/proc/[0-9]*/environ")
		return slices.DeleteFunc(links, func(link string) bool {
			environment, _ := os.ReadFile(link)
			return !strings.Contains(string(environment), holdVariable)
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "record.json")); err != nil || len(mine()) < 8 {
		t.Fatalf("the other cluster did not start (%q): %v, %v", line, err, mine())
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait()
	cluster.Eventually(t, 10*time.Second, "all processes of the killed test's cluster are gone", func() bool { return len(mine()) == 0 })

	next := cluster.StartAPI(t, cluster.Options{Nodes: 1})
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s outlived the start of the next cluster", dir)
	}
	stopAndLook(t, next, before)
}
