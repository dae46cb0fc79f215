package ferrolb_test

import (
	"debug/elf"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

// memory is what a process has in memory: all of it, what of it is the program's own file, and the most it ever was.
type memory struct{ resident, file, peak float64 }

func (m memory) String() string {
	return fmt.Sprintf("%.1f MB (%.1f MB of it the program's file; at most %.1f MB so far)", m.resident, m.file, m.peak)
}

func memoryOf(t *testing.T, p *cluster.Process) memory {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	value := func(name string) float64 {
		for line := range strings.SplitSeq(string(status), "\n") {
			var kilobytes float64
			if _, err := fmt.Sscanf(line, name+": %f kB", &kilobytes); err == nil {
				return kilobytes / 1024
			}
		}
		t.Fatalf("no %s", name)
		return 0
	}
	return memory{value("VmRSS"), value("RssFile"), value("VmHWM")}
}

// What the two may have in memory before there is any Service, and how large the program may be, in MB: what the static release build has, and a tenth more; the
// target of the speaker is 12. Most of that memory is pages of the program itself, mapped 16 at a time, so what runs has to lie together in it: where this fails
// although the program did not grow much, the list of what runs is old, and scripts/used writes it anew. scripts/soak/load has the figures with Services.
const mostForTheController, mostForTheSpeaker, mostForTheProgram = 12.0, 12.0, 30.0

func TestWithoutServicesBothTakeLittleMemory(t *testing.T) {
	path := staticBinary(t)
	program, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	if program.Section(".symtab") != nil {
		t.Fatalf("%s is not stripped, so it is no release build: its size says nothing", path)
	}
	file, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if size := float64(file.Size()) / (1 << 20); size > mostForTheProgram {
		t.Errorf("the program has %.1f MB, more than %.1f", size, mostForTheProgram)
	}
	s := prepare(t, cluster.StartAPI(t, cluster.Options{Nodes: 1}))
	s.binary = path
	s.run(t)
	s.Apply(t, largePool)
	s.Apply(t, advertisement)
	// What is read at the start is read by then, and given back.
	time.Sleep(10 * time.Second)
	check := func(name string, process *cluster.Process, most float64) {
		memory := memoryOf(t, process)
		t.Logf("%s without Services: %v", name, memory)
		if memory.resident > most {
			t.Errorf("%s has %.1f MB in memory, more than %.1f", name, memory.resident, most)
		}
	}
	check("controller", s.controller, mostForTheController)
	check("speaker", s.speakers["node-a"], mostForTheSpeaker)
}
