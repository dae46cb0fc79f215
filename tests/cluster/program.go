package cluster

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// The programs of the host that a cluster runs, with the packages of Debian and Ubuntu that have them.
var (
	apiPackages  = map[string]string{"ip": "iproute2", "bridge": "iproute2", "mount": "mount"}
	nodePackages = map[string]string{
		"containerd": "containerd", "ctr": "containerd", "runc": "runc", "nft": "nftables", "conntrack": "conntrack",
		"/usr/lib/cni/ptp": "containernetworking-plugins",
	}
)

// requirePrograms says at once, and by name, what would otherwise fail somewhere later.
func requirePrograms(pods bool) error {
	groups := []map[string]string{apiPackages}
	if pods {
		groups = append(groups, nodePackages)
	}
	missing := map[string]bool{}
	for _, group := range groups {
		for program, pkg := range group {
			if command(program).Err != nil {
				missing[pkg] = true
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("programs are missing; as root run: apt-get install %s", strings.Join(slices.Sorted(maps.Keys(missing)), " "))
}

// searchPath is PATH with the places of system programs, which a user's shell may lack.
func searchPath() string { return os.Getenv("PATH") + ":/usr/sbin:/sbin:/usr/bin:/bin" }

// absolute: programs start at the root of a machine, paths are meant from where the test is.
func absolute(path string) string {
	if !strings.Contains(path, "/") {
		return path
	}
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}

// command prepares a process; a bare name is looked for at the usual places.
func command(args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	if cmd.Err != nil && !strings.Contains(args[0], "/") {
		for _, place := range []string{"/usr/sbin", "/sbin", "/usr/bin", "/bin"} {
			if _, err := os.Stat(filepath.Join(place, args[0])); err == nil {
				cmd = exec.Command(filepath.Join(place, args[0]), args[1:]...)
				break
			}
		}
	}
	cmd.Env = append(os.Environ(), "PATH="+searchPath())
	return cmd
}
