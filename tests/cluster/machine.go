package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is a host of the test LAN: one process that does nothing, which holds namespaces for processes, mounts, the network and the host name.
//
// Killing that process is pulling the power plug: the kernel kills whatever ran there (containers too) and drops its mounts and interfaces.
// That is also how a cluster is cleaned up, so nothing has to be remembered that could be forgotten.
type Machine struct {
	Name string
	IPv4 netip.Addr
	IPv6 netip.Addr
	MAC  net.HardwareAddr

	// What runs on a node of the node level.
	Containerd, Kubelet, Proxy *Process

	pid     int // of the first process, as the outside world numbers it
	dir     string
	number  int // on the LAN
	cluster *Cluster
}

// directories are a machine's own: what containerd, kubelet and pods leave at their usual places stays apart from other machines and from the host.
var directories = map[string]string{"var-lib": "/var/lib", "var-log": "/var/log", "run": "/run"}

// A program that reads /sys or /proc sees the machine it runs on. A node's control group is mounted where the host's root is.
// (The old /sys has to go: who looks for control groups in the table of mounts takes the first.) The tunables are those that kubelet would set for the whole host; it finds them set already and leaves them alone.
const firstProcess = `set -e
mount --make-rprivate /
mount -t proc proc /proc
mkdir "$DIR/cgroup" "$DIR/tunables"
mount --rbind /sys/fs/cgroup "$DIR/cgroup"
umount -R -l /sys
mount -t sysfs sysfs /sys
if [ -n "$GROUP" ] && [ -e "$DIR/cgroup/cgroup.procs" ]; then
  mount --bind "$DIR/cgroup/$GROUP" /sys/fs/cgroup
elif [ -n "$GROUP" ]; then
  mount -t tmpfs tmpfs /sys/fs/cgroup
  for hierarchy in "$DIR"/cgroup/*; do
    at=/sys/fs/cgroup/${hierarchy##*/}
    if [ -h "$hierarchy" ]; then cp -P "$hierarchy" "$at"; continue; fi
    mkdir "$at"
    mount --bind "$hierarchy/$GROUP" "$at"
  done
fi
umount -R -l "$DIR/cgroup"
for pair in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1 kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file="$DIR/tunables/$(basename "${pair%=*}")"
  echo "${pair#*=}" > "$file"
  mount --bind "$file" "/proc/sys/${pair%=*}"
done
for pair in $BINDS; do mount --bind "$DIR/${pair%%:*}" "${pair#*:}"; done
echo "$NAME" > /proc/sys/kernel/hostname
ip link set lo up
echo ready
exec >/dev/null 2>&1
while :; do sleep 3600; done`

// birthplace is a thread that lives as long as this process: a child that shall die with its parent dies, in truth, with the thread that made it.
var birthplace = func() chan func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
}()

// boot makes the namespaces of a machine, with a control group if it shall have one. If mortal, the machine dies with this process, however that ends.
func boot(name, dir, group string, mortal bool) (*Machine, error) {
	m := &Machine{Name: name, dir: dir}
	var binds []string
	for own, place := range directories {
		if err := os.MkdirAll(filepath.Join(dir, own), 0o755); err != nil {
			return nil, err
		}
		binds = append(binds, own+":"+place)
	}
	cmd := exec.Command("/bin/sh", "-c", firstProcess)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "PATH="+searchPath(), "DIR="+dir, "NAME="+name, "GROUP="+group, "BINDS="+strings.Join(binds, " "))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS,
	}
	if mortal {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	answer, ready, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	cmd.Stdout, cmd.Stderr = ready, ready
	started := make(chan error)
	birthplace <- func() { started <- cmd.Start() }
	err = <-started
	ready.Close()
	if err != nil {
		return nil, fmt.Errorf("machine %s: %w", name, err)
	}
	m.pid = cmd.Process.Pid
	go cmd.Wait()
	said, _ := io.ReadAll(answer)
	if !strings.HasSuffix(string(said), "ready\n") {
		return nil, fmt.Errorf("machine %s did not come up: %s", name, said)
	}
	return m, nil
}

// spaces are namespaces of a machine, in the order in which they can be entered: the way to the others is through the mounts.
var (
	networkOnly = []string{"net"}
	everything  = []string{"net", "uts", "pid", "mnt"}
)

// within runs f on a thread that is in these namespaces of the machine, and throws the thread away.
func (m *Machine) within(spaces []string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			// The main thread is what /proc/self shows, and it cannot be thrown away.
			done <- m.within(spaces, f)
			runtime.UnlockOSThread()
			return
		}
		if err := m.enter(spaces); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

func (m *Machine) enter(spaces []string) error {
	var files []*os.File
	for _, space := range spaces {
		file, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", m.pid, space))
		if err != nil {
			return fmt.Errorf("machine %s is gone: %w", m.Name, err)
		}
		defer file.Close()
		files = append(files, file)
	}
	// A thread that shares its working directory with others may not change mounts.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	for i, file := range files {
		if err := unix.Setns(int(file.Fd()), 0); err != nil {
			return fmt.Errorf("machine %s: entering %s: %w", m.Name, spaces[i], err)
		}
	}
	return nil
}

// InNetwork runs f on a thread inside the machine's network: a socket that f itself makes belongs to the machine for good.
func (m *Machine) InNetwork(f func() error) error { return m.within(networkOnly, f) }

// start starts a process on the machine, in a session of its own, so that Ctrl-C reaches the harness first.
func (m *Machine) start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true
	cmd.Dir = "/"
	return m.within(everything, cmd.Start)
}

// Output runs a program on the machine to its end and returns what it wrote to its standard output.
func (m *Machine) Output(ctx context.Context, args ...string) (string, error) {
	cmd := command(args...)
	return m.finish(ctx, cmd)
}

func (m *Machine) finish(ctx context.Context, cmd *exec.Cmd) (string, error) {
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := m.start(cmd); err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	if err := cmd.Wait(); err != nil {
		return out.String(), fmt.Errorf("%s: %s: %w: %s", m.Name, strings.Join(cmd.Args, " "), errors.Join(ctx.Err(), err),
			strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}

// Dial connects from the machine. The address must be numeric: a name would be resolved outside.
func (m *Machine) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var conn net.Conn
	err := m.InNetwork(func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Get asks a web server from the machine, each time over a new connection, and returns the body of a good answer.
func (m *Machine) Get(ctx context.Context, url string) (string, error) {
	client := http.Client{Transport: &http.Transport{DialContext: m.Dial, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, response.Status, body)
	}
	return string(body), err
}

// PowerOff kills everything on the machine at once.
func (m *Machine) PowerOff() { _ = syscall.Kill(m.pid, syscall.SIGKILL) }

// PID is the number of the machine's first process, for nsenter.
func (m *Machine) PID() int { return m.pid }

// Become replaces this process by a program in the machine's network, under its name. The caller has locked its thread.
func (m *Machine) Become(args []string) error {
	cmd := command(args...)
	if cmd.Err != nil {
		return cmd.Err
	}
	for _, space := range []string{"net", "uts"} {
		file, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", m.pid, space))
		if err != nil {
			return fmt.Errorf("machine %s is gone: %w", m.Name, err)
		}
		if err := unix.Setns(int(file.Fd()), 0); err != nil {
			return err
		}
	}
	return syscall.Exec(cmd.Path, args, os.Environ())
}
