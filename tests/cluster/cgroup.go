package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// controlGroup is the group that holds the groups of all nodes of a cluster. To a node its own group is the root: what containerd and kubelet make
// there is found again, and cannot be mistaken for that of another cluster, or of a container engine on this host.
func controlGroup(cluster string) string { return "ferrolb-cluster-" + cluster }

// hierarchies are where control groups are mounted: many places with version 1, one with version 2, both on hosts in between.
func hierarchies() []string {
	found, _ := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs")
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.procs"); err == nil {
		found = []string{"/sys/fs/cgroup/cgroup.procs"}
	}
	for i := range found {
		found[i] = filepath.Dir(found[i])
	}
	return found
}

// makeControlGroup makes a group in every hierarchy, with the groups above it.
func makeControlGroup(group string) error {
	for _, top := range hierarchies() {
		at := top
		for part := range strings.SplitSeq(group, "/") {
			passOnControllers(at)
			above := at
			at = filepath.Join(at, part)
			if err := os.Mkdir(at, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			inheritProcessors(above, at)
		}
		passOnControllers(at)
	}
	return nil
}

// passOnControllers lets groups below have the controllers that this one has: version 2 gives none by itself. One that cannot be had is not needed.
func passOnControllers(group string) {
	controllers, _ := os.ReadFile(filepath.Join(group, "cgroup.controllers"))
	for _, controller := range strings.Fields(string(controllers)) {
		_ = os.WriteFile(filepath.Join(group, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
	}
}

// inheritProcessors fills what version 1 leaves empty; a process cannot enter a group that has no processor.
func inheritProcessors(from, to string) {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		if own, err := os.ReadFile(filepath.Join(to, name)); err == nil && strings.TrimSpace(string(own)) == "" {
			if value, err := os.ReadFile(filepath.Join(from, name)); err == nil && strings.TrimSpace(string(value)) != "" {
				_ = os.WriteFile(filepath.Join(to, name), value, 0o644)
			}
		}
	}
}

// removeControlGroups removes a group from every hierarchy, of either version.
func removeControlGroups(name string) error {
	found, _ := filepath.Glob("/sys/fs/cgroup/*/" + name)
	for _, top := range append(found, "/sys/fs/cgroup/"+name) {
		var groups []string
		_ = filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				groups = append(groups, path)
			}
			return nil
		})
		for i := len(groups) - 1; i >= 0; i-- {
			var err error
			// A group is busy for a moment after its last process.
			if !eventually(5*time.Second, func() bool { err = syscall.Rmdir(groups[i]); return err == nil || errors.Is(err, fs.ErrNotExist) }) {
				return fmt.Errorf("control group %s: %w", groups[i], err)
			}
		}
	}
	return nil
}
