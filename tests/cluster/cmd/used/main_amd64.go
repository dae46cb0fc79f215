// Command used finds out which functions of a program run, and writes down how a linker is to put them together.
//
//	used record PROGRAM RECORD ARGUMENT...   runs the program; RECORD gets the address of each function when it is called for the first time
//	used order PROGRAM RECORD... >used.ld    the script for the linker; records whose name has .speaker. in it go first
//
// The kernel maps 16 pages round each page of a program that is touched. Where the sixth part of it that runs lies scattered among what does not, nearly all of
// it is in memory; where it lies together, only that. See crates/ferrolb/build.rs; scripts/used does all of it.
//
// Recording is by breakpoints: one at the start of each function, taken away when it is met. The program must not be stripped.
package main

import (
	"bufio"
	"debug/elf"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	var err error
	switch {
	case len(os.Args) > 4 && os.Args[1] == "record":
		err = record(os.Args[2], os.Args[3], os.Args[4:])
	case len(os.Args) > 3 && os.Args[1] == "order":
		err = order(os.Args[2], os.Args[3:])
	default:
		err = fmt.Errorf("usage: used record PROGRAM RECORD ARGUMENT... | used order PROGRAM RECORD...")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "used:", err)
		os.Exit(1)
	}
}

// functions are the program's functions by address. Those that are the same are there once, under all their names.
func functions(program string) (map[uint64][]string, error) {
	file, err := elf.Open(program)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	symbols, err := file.Symbols()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: it must not be stripped", program, err)
	}
	found := map[uint64][]string{}
	for _, symbol := range symbols {
		if elf.ST_TYPE(symbol.Info) == elf.STT_FUNC && symbol.Size > 0 {
			found[symbol.Value] = append(found[symbol.Value], lasting(symbol.Name))
		}
	}
	return found, nil
}

const breakpoint = 0xCC

func record(program, to string, arguments []string) error {
	found, err := functions(program)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	// Whoever began tracing must go on with it.
	runtime.LockOSThread()
	child, err := syscall.ForkExec(program, append([]string{program}, arguments...), &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Ptrace: true},
	})
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go func() {
		for one := range signals {
			_ = syscall.Kill(child, one.(syscall.Signal))
		}
	}()
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(child, &status, syscall.WALL, nil); err != nil {
		return err
	}
	const exitKill = 0x100000 // PTRACE_O_EXITKILL: it does not outlive us
	if err := syscall.PtraceSetOptions(child, syscall.PTRACE_O_TRACECLONE|exitKill); err != nil {
		return err
	}
	base, err := baseOf(child, program)
	if err != nil {
		return err
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", child), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer memory.Close()
	original := map[uint64]byte{}
	for address := range found {
		var was [1]byte
		if _, err := memory.ReadAt(was[:], int64(base+address)); err != nil {
			return err
		}
		original[address] = was[0]
		if _, err := memory.WriteAt([]byte{breakpoint}, int64(base+address)); err != nil {
			return err
		}
	}
	return follow(child, base, original, memory, out)
}

// follow lets the program run until it ends, and takes note of each breakpoint that is met.
func follow(child int, base uint64, original map[uint64]byte, memory, out *os.File) error {
	met := map[uint64]bool{}
	next, deliver := child, 0
	for {
		if err := syscall.PtraceCont(next, deliver); err != nil && err != syscall.ESRCH {
			return err
		}
		var status syscall.WaitStatus
		thread, err := syscall.Wait4(-1, &status, syscall.WALL, nil)
		for err == syscall.EINTR || (err == nil && (status.Exited() || status.Signaled()) && thread != child) {
			thread, err = syscall.Wait4(-1, &status, syscall.WALL, nil)
		}
		if err != nil {
			return err
		}
		if status.Exited() || status.Signaled() {
			os.Exit(max(status.ExitStatus(), 0))
		}
		next, deliver = thread, int(status.StopSignal())
		switch {
		case status.StopSignal() == syscall.SIGSTOP || status.TrapCause() > 0:
			deliver = 0
		case status.StopSignal() == syscall.SIGTRAP:
			var registers syscall.PtraceRegs
			if err := syscall.PtraceGetRegs(thread, &registers); err != nil {
				continue
			}
			address := registers.Rip - 1 - base
			was, known := original[address]
			if !known {
				continue
			}
			// Another thread may have met it at the same moment.
			if !met[address] {
				met[address] = true
				if _, err := memory.WriteAt([]byte{was}, int64(base+address)); err != nil {
					return err
				}
				fmt.Fprintf(out, "%x\n", address)
			}
			registers.Rip--
			deliver = 0
			if err := syscall.PtraceSetRegs(thread, &registers); err != nil {
				return err
			}
		}
	}
}

// baseOf is where the program's file begins in memory.
func baseOf(pid int, program string) (uint64, error) {
	program, err := filepath.EvalSymlinks(program)
	if err != nil {
		return 0, err
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(strings.TrimSpace(line), program) {
			from, _, _ := strings.Cut(line, "-")
			return strconv.ParseUint(from, 16, 64)
		}
	}
	return 0, fmt.Errorf("%s is not in its own memory", program)
}

// What differs from build to build: which exact crates a name means, and a hash. Any other of the same length will do.
var changing = regexp.MustCompile(`Cs[0-9A-Za-z]+_|17h[0-9a-f]{16}E|[.]llvm[.][0-9]+`)

func lasting(name string) string {
	return changing.ReplaceAllStringFunc(name, func(part string) string {
		switch part[:2] {
		case "Cs":
			return "Cs" + strings.Repeat("?", len(part)-3) + "_"
		case "17":
			return "17h" + strings.Repeat("?", 16) + "E"
		}
		return ".llvm.*"
	})
}

func order(program string, records []string) error {
	found, err := functions(program)
	if err != nil {
		return err
	}
	// There is a speaker on every node: what it runs lies apart from what only controllers do.
	used, bySpeakers := map[string]bool{}, map[string]bool{}
	for _, path := range records {
		names, err := recorded(path, found)
		if err != nil {
			return err
		}
		for _, name := range names {
			used[name] = true
			if strings.Contains(filepath.Base(path), ".speaker.") {
				bySpeakers[name] = true
			}
		}
	}
	var unused, unusedBySpeakers []string
	for _, names := range found {
		for _, name := range names {
			if !used[name] {
				unused = append(unused, name)
			}
			if !bySpeakers[name] {
				unusedBySpeakers = append(unusedBySpeakers, name)
			}
		}
	}
	fmt.Println("/* The functions that speakers run, and then those that only controllers do, written by scripts/used. What no pattern fits lies behind them. */")
	// Few lists: a linker goes through all sections for each.
	fmt.Println("SECTIONS { .text.used : {")
	list(bySpeakers, unusedBySpeakers)
	for name := range bySpeakers {
		delete(used, name)
	}
	list(used, unused)
	fmt.Println("} }\nINSERT BEFORE .text;")
	return nil
}

// recorded are the names of the functions in a record.
func recorded(path string, found map[uint64][]string) (names []string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		address, err := strconv.ParseUint(lines.Text(), 16, 64)
		if err != nil {
			return nil, err
		}
		names = append(names, found[address]...)
	}
	return names, lines.Err()
}

// list prints patterns for names that fit none of the others.
func list(names map[string]bool, others []string) {
	slices.Sort(others)
	patterns := map[string]bool{}
	for name := range names {
		patterns[shortest(name, others)] = true
	}
	fmt.Println("*(")
	for _, pattern := range slices.Sorted(maps.Keys(patterns)) {
		// What the compiler takes for cold has a section of another name: the first of anything is made there.
		fmt.Printf(".text.%s .text.unlikely.%s\n", pattern, pattern)
	}
	fmt.Println(")")
}

// shortest is the shortest pattern that fits this name and whatever begins like it, but none of the others, which are sorted.
func shortest(name string, others []string) string {
	place, _ := slices.BinarySearch(others, name)
	common := 0
	for _, near := range others[max(place-1, 0):min(place+1, len(others))] {
		length := 0
		for length < min(len(name), len(near)) && name[length] == near[length] {
			length++
		}
		common = max(common, length)
	}
	// Of C there are few functions, and short names are the beginning of too much.
	if common+1 >= len(name) || !strings.HasPrefix(name, "_R") {
		return name
	}
	return strings.TrimSuffix(name[:common+1], "*") + "*"
}
