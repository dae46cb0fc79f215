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

// asker is a socket on a machine that asks for one address.
type asker struct {
	socket    int
	broadcast *unix.SockaddrLinklayer
	request   []byte
	own       [4]byte
	target    [4]byte
}

// asker opens the socket; call it in the machine's network.
func (m *Machine) asker(target netip.Addr) (*asker, error) {
	protocol := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ARP))
	eth0, err := net.InterfaceByName("eth0")
	if err != nil {
		return nil, err
	}
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(protocol))
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(socket, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: eth0.Index}); err != nil {
		unix.Close(socket)
		return nil, err
	}
	broadcast := &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: eth0.Index, Halen: 6, Addr: [8]byte{255, 255, 255, 255, 255, 255}}
	request := []byte{0, 1, 8, 0, 6, 4, 0, 1} // Ethernet, IPv4, lengths, request
	request = append(append(request, m.MAC...), m.IPv4.AsSlice()...)
	request = append(append(request, make([]byte, 6)...), target.AsSlice()...)
	return &asker{socket, broadcast, request, m.IPv4.As4(), target.As4()}, nil
}

func (a *asker) ask() error { return unix.Sendto(a.socket, a.request, 0, a.broadcast) }

// hear waits so long for a frame; it returns who answered, or nobody where it was none of the answers.
func (a *asker) hear(wait time.Duration) (net.HardwareAddr, error) {
	limit := unix.NsecToTimeval(max(wait, time.Millisecond).Nanoseconds())
	if err := unix.SetsockoptTimeval(a.socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return nil, err
	}
	frame := make([]byte, 128)
	n, _, err := unix.Recvfrom(a.socket, frame, 0)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return nil, nil
	}
	// What is told to everybody without being asked is no answer: it is not for this machine's address.
	if err != nil || n < 28 || binary.BigEndian.Uint16(frame[6:]) != 2 || [4]byte(frame[14:18]) != a.target || [4]byte(frame[24:28]) != a.own {
		return nil, err
	}
	return append(net.HardwareAddr{}, frame[8:14]...), nil
}

func (m *Machine) askARP(target netip.Addr, patience time.Duration) ([]Answer, error) {
	a, err := m.asker(target)
	if err != nil {
		return nil, err
	}
	defer unix.Close(a.socket)
	asked := time.Now()
	if err := a.ask(); err != nil {
		return nil, err
	}
	var answers []Answer
	for end := asked.Add(patience); ; {
		wait := time.Until(end)
		if wait <= 0 {
			return answers, nil
		}
		mac, err := a.hear(wait)
		if err != nil {
			return nil, err
		}
		if mac == nil {
			continue
		}
		answers = append(answers, Answer{mac, m.cluster.machineAt(mac), time.Since(asked)})
		if len(answers) == 1 {
			end = time.Now().Add(listen)
		}
	}
}

// Asking is a machine that asks for an address again and again, as one that has just come to the network would.
type Asking struct {
	// Asked is how often.
	Asked int
	// Machines are those that answered, in the order in which they began to.
	Machines []string
	// Silence is the longest time between two answers, or between the start or end and the answer next to it.
	Silence time.Duration
	// Both is the time from the first answer of another machine to the last of the one before; zero if no two ever answered in turn.
	Both time.Duration
}

// AskARP asks every so often, until it is told to stop and has been answered for the last time; then it says what it saw.
func (m *Machine) AskARP(t testing.TB, address string, every time.Duration) (end func() Asking) {
	t.Helper()
	target := netip.MustParseAddr(address)
	var a *asker
	if err := m.InNetwork(func() (err error) { a, err = m.asker(target); return err }); err != nil {
		t.Fatalf("ARP for %s from %s: %v", address, m.Name, err)
	}
	stop, done := make(chan struct{}), make(chan Asking, 1)
	go func() {
		defer unix.Close(a.socket)
		done <- m.keepAsking(a, every, stop)
	}()
	return func() Asking { close(stop); return <-done }
}

func (m *Machine) keepAsking(a *asker, every time.Duration, stop <-chan struct{}) (seen Asking) {
	first, last := map[string]time.Time{}, map[string]time.Time{}
	heard, next := time.Now(), time.Now()
	for {
		select {
		case <-stop:
			seen.Silence = max(seen.Silence, time.Since(heard))
			for at := 1; at < len(seen.Machines); at++ {
				seen.Both = max(seen.Both, last[seen.Machines[at-1]].Sub(first[seen.Machines[at]]))
			}
			return seen
		default:
		}
		if now := time.Now(); !now.Before(next) {
			if a.ask() == nil {
				seen.Asked++
			}
			next = now.Add(every)
		}
		mac, _ := a.hear(time.Until(next))
		if mac == nil {
			continue
		}
		machine, now := m.cluster.machineAt(mac), time.Now()
		if _, known := first[machine]; !known {
			first[machine] = now
			seen.Machines = append(seen.Machines, machine)
		}
		last[machine] = now
		seen.Silence, heard = max(seen.Silence, now.Sub(heard)), now
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
