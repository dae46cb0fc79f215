package cluster

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The LAN of the first user, and the ranges inside the cluster. Every one has a partner in IPv6.
const (
	lanPrefix4     = "192.168.1."
	lanPrefix6     = "fd00:1::"
	controlPlaneIP = lanPrefix4 + "10"
	serviceRange4  = "10.96.0.0/12"
	serviceRange6  = "fd00:96::/112"
	podRange4      = "10.244.0.0/16"
	podRange6      = "fd00:244::/48"

	controlPlaneNumber = 10
	firstNode          = 11
	laptopNumber       = 50
	mostNodes          = 26
)

// A node answers for the addresses of the interface that was asked, and only for those: what MetalLB wants where kube-proxy runs in strict mode.
const nodeSettings = `set -e
cd /proc/sys/net
for scope in all default; do
  echo 1 > ipv4/conf/$scope/arp_ignore
  echo 2 > ipv4/conf/$scope/arp_announce
  echo 1 > ipv6/conf/$scope/forwarding
done
echo 1 > ipv4/ip_forward`

// join gives a machine its numbers on the LAN: all of its addresses end in the same one. The switch has none.
func (m *Machine) join(c *Cluster, number int) {
	m.cluster, m.number = c, number
	if number == 0 {
		return
	}
	m.IPv4 = netip.MustParseAddr(fmt.Sprint(lanPrefix4, number))
	m.IPv6 = netip.MustParseAddr(fmt.Sprint(lanPrefix6, number))
	m.MAC = net.HardwareAddr{2, 0, 0, 0, 1, byte(number)}
}

// connect puts a cable between the machine and the switch.
func (m *Machine) connect(ctx context.Context) error {
	inSwitch := fmt.Sprintf("link add %s type veth peer name eth0 address %s netns %d\nlink set %[1]s master br0\nlink set %[1]s up\n",
		m.port(), m.MAC, m.pid)
	if err := m.cluster.lan.ip(ctx, inSwitch); err != nil {
		return err
	}
	// No duplicate address detection: the addresses are ours by construction, and it takes a second.
	return m.ip(ctx, fmt.Sprintf("addr add %s/24 brd + dev eth0\naddr add %s/64 dev eth0 nodad\nlink set eth0 up\n", m.IPv4, m.IPv6))
}

// port is the switch's end of the machine's cable. Names of interfaces are short.
func (m *Machine) port() string { return fmt.Sprint("port-", m.number) }

// ip runs lines of `ip -batch` in the machine's network.
func (m *Machine) ip(ctx context.Context, lines string) error {
	return m.feed(ctx, lines, "ip", "-batch", "-")
}

// feed runs a program of the host in the machine's network alone, so that process numbers mean what they mean here.
func (m *Machine) feed(ctx context.Context, input string, args ...string) error {
	cmd := exec.CommandContext(ctx, command(args...).Path, args[1:]...)
	cmd.Stdin = strings.NewReader(input)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := m.InNetwork(cmd.Start); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %s: %w: %s(%s)", m.Name, strings.Join(args, " "), err, said.String(), strings.TrimSpace(input))
	}
	return nil
}

// Unplug pulls the machine's cable: its interface loses the carrier.
func (m *Machine) Unplug(t testing.TB) { m.onSwitch(t, "ip", "link", "set", m.port(), "down") }

// Plug puts the cable back.
func (m *Machine) Plug(t testing.TB) { m.onSwitch(t, "ip", "link", "set", m.port(), "up") }

// Mute makes the switch drop what comes from and goes to the machine, which cannot see that: its interface keeps the carrier.
func (m *Machine) Mute(t testing.TB) {
	m.onSwitch(t, "bridge", "link", "set", "dev", m.port(), "state", "0")
}

// Unmute ends Mute.
func (m *Machine) Unmute(t testing.TB) {
	m.onSwitch(t, "bridge", "link", "set", "dev", m.port(), "state", "3")
}

// Isolate makes the switch pass nothing between this machine and others that are isolated; everybody else hears it as before.
func (m *Machine) Isolate(t testing.TB) {
	m.onSwitch(t, "bridge", "link", "set", "dev", m.port(), "isolated", "on")
}

// Reunite ends Isolate.
func (m *Machine) Reunite(t testing.TB) {
	m.onSwitch(t, "bridge", "link", "set", "dev", m.port(), "isolated", "off")
}

func (m *Machine) onSwitch(t testing.TB, args ...string) {
	t.Helper()
	if err := m.cluster.lan.feed(t.Context(), "", args...); err != nil {
		t.Fatal(err)
	}
}

// bootLAN starts the switch.
func bootLAN(ctx context.Context, dir string, mortal bool) (*Machine, error) {
	lan, err := boot("switch", dir, "", mortal)
	if err != nil {
		return nil, err
	}
	// Snooping would let multicast through only some seconds after a listener came; a cheap switch at home floods.
	return lan, lan.ip(ctx, "link add br0 type bridge forward_delay 0 mcast_snooping 0\nlink set br0 up\n")
}

// Neighbour is the MAC address by which the machine reaches an IPv4 address of its LAN, or nothing: what the kernel's table has.
func (m *Machine) Neighbour(address string) (string, error) {
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/arp", m.pid))
	if err != nil {
		return "", err
	}
	for _, line := range strings.Split(string(table), "\n") {
		if fields := strings.Fields(line); len(fields) > 3 && fields[0] == address {
			return fields[3], nil
		}
	}
	return "", nil
}
