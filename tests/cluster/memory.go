package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// Use is the memory of all processes of one program on one machine.
type Use struct {
	Machine, Program string
	Bytes            int64
}

// Memory says what the cluster takes. A page that several processes share is divided among them, so that the sum is true.
func (c *Cluster) Memory() []Use {
	names := map[string]string{} // of machines, by process namespace
	for _, m := range append([]*Machine{c.lan, c.controlPlane, c.laptop}, c.nodes...) {
		names[processNamespace(strconv.Itoa(m.pid))] = m.Name
	}
	sums := map[[2]string]int64{}
	found, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range found {
		machine := names[processNamespace(filepath.Base(dir))]
		smaps, err := os.ReadFile(dir + "/smaps_rollup")
		if machine == "" || err != nil {
			continue
		}
		command, _ := os.ReadFile(dir + "/cmdline")
		program, _, _ := strings.Cut(string(command), "\x00")
		for line := range strings.SplitSeq(string(smaps), "\n") {
			var kilobytes int64
			if n, _ := fmt.Sscanf(line, "Pss: %d kB", &kilobytes); n == 1 {
				sums[[2]string{machine, filepath.Base(program)}] += kilobytes << 10
			}
		}
	}
	var uses []Use
	for key, bytes := range sums {
		uses = append(uses, Use{key[0], key[1], bytes})
	}
	sort.Slice(uses, func(i, j int) bool {
		return uses[i].Machine+" "+uses[i].Program < uses[j].Machine+" "+uses[j].Program
	})
	return uses
}

func processNamespace(pid string) string {
	link, _ := os.Readlink("/proc/" + pid + "/ns/pid")
	return link
}
