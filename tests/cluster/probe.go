package cluster

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Answer is the answer of a neighbour to "who has this address?".
type Answer struct {
	MAC net.HardwareAddr
	// Machine is who answered; empty if no machine of the cluster has that hardware address.
	Machine string
	After   time.Duration
}

// listen is how long an ARP probe waits for further answers after the first.
const listen = 300 * time.Millisecond

// ARP broadcasts one ARP request from the machine and returns all answers, in the order in which they came; none after a second of silence.
func (m *Machine) ARP(t testing.TB, address string) []Answer {
	t.Helper()
	return m.ARPWithin(t, address, time.Second)
}

// ARPWithin is ARP that waits for so long for the first answer: for those who ask again and again until there is one.
func (m *Machine) ARPWithin(t testing.TB, address string, patience time.Duration) []Answer {
	t.Helper()
	target, err := netip.ParseAddr(address)
	if err != nil || !target.Is4() {
		t.Fatalf("ARP for %q: that is no IPv4 address", address)
	}
	var answers []Answer
	if err := m.InNetwork(func() (err error) { answers, err = m.askARP(target, patience); return err }); err != nil {
		t.Fatalf("ARP for %s from %s: %v", address, m.Name, err)
	}
	return answers
}

func (m *Machine) askARP(target netip.Addr, patience time.Duration) ([]Answer, error) {
	protocol := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ARP))
	eth0, err := net.InterfaceByName("eth0")
	if err != nil {
		return nil, err
	}
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(protocol))
	if err != nil {
		return nil, err
	}
	defer unix.Close(socket)
	broadcast := &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: eth0.Index, Halen: 6, Addr: [8]byte{255, 255, 255, 255, 255, 255}}
	if err := unix.Bind(socket, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: eth0.Index}); err != nil {
		return nil, err
	}
	request := []byte{0, 1, 8, 0, 6, 4, 0, 1} // Ethernet, IPv4, lengths, request
	request = append(append(request, m.MAC...), m.IPv4.AsSlice()...)
	request = append(append(request, make([]byte, 6)...), target.AsSlice()...)
	asked := time.Now()
	if err := unix.Sendto(socket, request, 0, broadcast); err != nil {
		return nil, err
	}
	var answers []Answer
	frame := make([]byte, 128)
	for end := asked.Add(patience); ; {
		wait := time.Until(end)
		if wait <= 0 {
			return answers, nil
		}
		limit := unix.NsecToTimeval(max(wait, time.Millisecond).Nanoseconds())
		if err := unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
			return nil, err
		}
		n, _, err := unix.Recvfrom(socket, frame, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		// What is told to everybody without being asked is no answer: it is not for this machine's address.
		if n < 28 || binary.BigEndian.Uint16(frame[6:]) != 2 || [4]byte(frame[14:18]) != target.As4() || [4]byte(frame[24:28]) != m.IPv4.As4() {
			continue
		}
		mac := append(net.HardwareAddr{}, frame[8:14]...)
		answers = append(answers, Answer{mac, m.cluster.machineAt(mac), time.Since(asked)})
		if len(answers) == 1 {
			end = time.Now().Add(listen)
		}
	}
}

// NDP asks for an IPv6 address from the machine and returns all answers. It needs ndisc6.
func (m *Machine) NDP(t testing.TB, address string) []Answer {
	t.Helper()
	asked := time.Now()
	// It ends with an error when nobody answers, which is an answer as well.
	out, err := m.Output(t.Context(), "ndisc6", "-m", "-q", "-r", "1", "-w", "500", address, "eth0")
	var answers []Answer
	for _, line := range strings.Fields(out) {
		mac, err := net.ParseMAC(line)
		if err != nil {
			t.Fatalf("ndisc6 said %q", out)
		}
		answers = append(answers, Answer{mac, m.cluster.machineAt(mac), time.Since(asked)})
	}
	if err != nil && !strings.Contains(err.Error(), "exit status 2") {
		t.Fatal(err)
	}
	return answers
}

func (c *Cluster) machineAt(mac net.HardwareAddr) string {
	for _, m := range append([]*Machine{c.laptop, c.controlPlane}, c.nodes...) {
		if m.MAC.String() == mac.String() {
			return m.Name
		}
	}
	return ""
}
