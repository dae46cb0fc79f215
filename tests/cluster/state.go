package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// stateRoot holds one folder per cluster. What is in it and belongs to nobody alive is removed whenever a cluster starts.
const stateRoot = "/tmp/ferrolb-cluster"

// process is a process that cannot be confused with a later one of the same number.
type process struct {
	PID     int
	Started string
}

func processOf(pid int) process { return process{pid, started(pid)} }

// started is when a process started, in ticks since boot, or nothing if it runs no more.
func started(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The name is in parentheses and may hold anything.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if fields[0] == "Z" || fields[0] == "X" {
		return ""
	}
	return fields[19]
}

func (p process) alive() bool { return p.Started != "" && started(p.PID) == p.Started }

// record is what another process must know to use a cluster, or to remove it.
type record struct {
	// Owner is the test that has the cluster; a cluster without one stays until it is taken down.
	Owner    *process `json:",omitempty"`
	Machines []machineRecord
	Options  Options
	Assets   Assets
}

type machineRecord struct {
	process
	Name   string
	Number int
}

// claim makes the folder of a new cluster, after it has removed what earlier ones left.
func claim(name string, r record) (dir string, err error) {
	unlock, err := lockState()
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := sweep(); err != nil {
		return "", err
	}
	dir = filepath.Join(stateRoot, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("a cluster named %q is up already; take it down first (scripts/cluster down)", name)
		}
		return "", err
	}
	return dir, r.save(dir)
}

// lockState makes the folder of all clusters and locks it. Whoever gives the lock back when no cluster is left takes the folder away.
func lockState() (unlock func(), err error) {
	path := filepath.Join(stateRoot, "lock")
	for {
		if err := os.Mkdir(stateRoot, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		// Anybody can make a folder there first, and ours holds keys.
		if info, err := os.Lstat(stateRoot); err != nil || !info.IsDir() || info.Sys().(*syscall.Stat_t).Uid != uint32(os.Geteuid()) {
			return nil, fmt.Errorf("%s exists and is not ours; remove it", stateRoot)
		}
		unlock, err := lock(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // another one has just taken it away
		}
		if err != nil {
			return nil, err
		}
		return func() {
			if entries, err := os.ReadDir(stateRoot); err == nil && len(entries) == 1 {
				_ = os.RemoveAll(stateRoot)
			}
			unlock()
		}, nil
	}
}

func (r record) save(dir string) error {
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "record.json")
	if err := write(path+".half", content); err != nil {
		return err
	}
	return os.Rename(path+".half", path)
}

func loadRecord(dir string) (r record, err error) {
	content, err := os.ReadFile(filepath.Join(dir, "record.json"))
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(content, &r)
}

// orphaned: the owner is dead, or nobody owns it and nothing of it runs (the host was restarted).
func (r record) orphaned() bool {
	if r.Owner != nil {
		return !r.Owner.alive()
	}
	for _, m := range r.Machines {
		if m.alive() {
			return false
		}
	}
	return true
}

// sweep removes the clusters that nobody has any more. The caller holds the lock.
func sweep() error {
	entries, err := os.ReadDir(stateRoot)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		dir := filepath.Join(stateRoot, entry.Name())
		if r, err := loadRecord(dir); err == nil && !r.orphaned() {
			continue
		} else if err := r.destroy(dir); err != nil {
			return fmt.Errorf("removing what an earlier cluster left in %s: %w", dir, err)
		}
	}
	return nil
}

// destroy kills the machines, and with them all that runs on them, and removes what outlives a machine: control groups and files.
func (r record) destroy(dir string) error {
	for _, m := range r.Machines {
		if m.alive() {
			_ = syscall.Kill(m.PID, syscall.SIGKILL)
		}
	}
	// A first process is gone only when every process of its machine is.
	for _, m := range r.Machines {
		if !eventually(20*time.Second, func() bool { return !m.alive() }) {
			return fmt.Errorf("machine %s (process %d) does not die", m.Name, m.PID)
		}
	}
	if err := removeControlGroups(controlGroup(filepath.Base(dir))); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// eventually tries until it holds or the time is over.
func eventually(limit time.Duration, holds func() bool) bool {
	for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		if holds() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}
