package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is a program that runs on a machine until it is told to end. It can be started again.
type Process struct {
	Name    string
	Machine *Machine

	args []string
	env  []string
	log  string
	cmd  *exec.Cmd
	gone chan struct{}
}

func (m *Machine) process(log string, env []string, args ...string) *Process {
	return &Process{Name: filepath.Base(args[0]), Machine: m, args: args, env: env, log: log}
}

// launch starts the program; what it writes is appended to its log.
func (p *Process) launch() error {
	if p.Running() {
		return fmt.Errorf("%s on %s runs already", p.Name, p.Machine.Name)
	}
	if err := os.MkdirAll(filepath.Dir(p.log), 0o755); err != nil {
		return err
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := command(p.args...)
	cmd.Env = append(cmd.Env, p.env...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := p.Machine.start(cmd); err != nil {
		return fmt.Errorf("%s on %s: %w", p.Name, p.Machine.Name, err)
	}
	gone := make(chan struct{})
	p.cmd, p.gone = cmd, gone
	go func() { _ = cmd.Wait(); close(gone) }()
	return nil
}

// Running says whether the program has been started and has not ended.
func (p *Process) Running() bool {
	if p.gone == nil {
		return false
	}
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

// PID is the number of the process outside of its machine.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal to the program.
func (p *Process) Signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		t.Fatalf("%v to %s on %s: %v", signal, p.Name, p.Machine.Name, err)
	}
}

// Kill ends the program without a warning and waits until it is gone.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	p.Signal(t, syscall.SIGKILL)
	p.Wait(t, 10*time.Second)
}

// Terminate asks the program to end and gives back its exit code.
func (p *Process) Terminate(t testing.TB) int {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	return p.Wait(t, 70*time.Second)
}

// Wait waits for the end of the program and gives back its exit code, -1 for a death by signal.
func (p *Process) Wait(t testing.TB, limit time.Duration) int {
	t.Helper()
	select {
	case <-p.gone:
	case <-time.After(limit):
		t.Fatalf("%s on %s still runs after %v; its log ends:\n%s", p.Name, p.Machine.Name, limit, p.tail())
	}
	return p.cmd.ProcessState.ExitCode()
}

// Start starts a program again that has ended.
func (p *Process) Start(t testing.TB) {
	t.Helper()
	if err := p.launch(); err != nil {
		t.Fatal(err)
	}
}

// Log is all that the program has written, over all its starts.
func (p *Process) Log() string {
	content, _ := os.ReadFile(p.log)
	return string(content)
}

// WaitForLog waits until the program has written something.
func (p *Process) WaitForLog(t testing.TB, text string, limit time.Duration) {
	t.Helper()
	if !eventually(limit, func() bool { return strings.Contains(p.Log(), text) }) {
		t.Fatalf("%s on %s did not say %q within %v; its log ends:\n%s", p.Name, p.Machine.Name, text, limit, p.tail())
	}
}

func (p *Process) tail() string {
	lines := strings.Split(strings.TrimSpace(p.Log()), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// end ends the program as a cleanup: no complaint if it is gone already.
func (p *Process) end() {
	if !p.Running() {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.gone
}
