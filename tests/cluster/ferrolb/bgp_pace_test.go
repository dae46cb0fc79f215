package ferrolb_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	cluster "ferrolb.io/tests/cluster"
)

// What the kernel calls changes of IPv4 routes (RTMGRP_IPV4_ROUTE of rtnetlink(7)).
const routeChanges = 0x40

// paceLimit is what no busy machine takes, and anything that waits for further changes does. Upstream's native mode takes 63 ms from the API's answer to
// the route in a router's kernel, nearly all of it the router's: that is for docs/benchmarks.md to compare.
const paceLimit = 500 * time.Millisecond

// routeWatch hears of a machine's routes as its kernel changes them: looking again and again would measure the looking.
type routeWatch struct{ socket int }

func watchRoutes(t testing.TB, machine *cluster.Machine) *routeWatch {
	t.Helper()
	w := &routeWatch{}
	err := machine.InNetwork(func() (err error) {
		if w.socket, err = syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_ROUTE); err != nil {
			return err
		}
		return syscall.Bind(w.socket, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK, Groups: routeChanges})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(w.socket) })
	limit := syscall.NsecToTimeval((10 * time.Second).Nanoseconds())
	if err := syscall.SetsockoptTimeval(w.socket, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &limit); err != nil {
		t.Fatal(err)
	}
	return w
}

// await says when the route to an address came (RTM_NEWROUTE) or went (RTM_DELROUTE).
func (w *routeWatch) await(address netip.Addr, kind uint16) (time.Time, error) {
	buffer := make([]byte, 1<<16)
	for {
		n, _, err := syscall.Recvfrom(w.socket, buffer, 0)
		if err != nil {
			return time.Time{}, fmt.Errorf("no such change of %s: %w", address, os.NewSyscallError("recvfrom", err))
		}
		now := time.Now()
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return time.Time{}, err
		}
		for _, message := range messages {
			attributes, err := syscall.ParseNetlinkRouteAttr(&message)
			if err != nil || message.Header.Type != kind {
				continue
			}
			for _, attribute := range attributes {
				if attribute.Attr.Type == syscall.RTA_DST && bytes.Equal(attribute.Value, address.AsSlice()) {
					return now, nil
				}
			}
		}
	}
}

// pace is how long a change of one Service takes from the API's answer to the kernel of a router: its only endpoint becomes ready, and is not ready any more.
func (s *system) pace(t *testing.T, f *frr, node *cluster.Machine) {
	const changes = 120
	s.local(t, "pace", node)
	address := netip.MustParseAddr(s.awaitAny(t, "pace"))
	cluster.Eventually(t, 20*time.Second, "FRR has the route", func() bool { return len(f.kernel(t, address.String())) == 1 })
	before := f.sessions(t, node)
	w := watchRoutes(t, s.ControlPlane())
	var comes, goes []time.Duration
	for number := range changes {
		ready, kind, spans := number%2 == 1, uint16(syscall.RTM_DELROUTE), &goes
		if ready {
			kind, spans = syscall.RTM_NEWROUTE, &comes
		}
		patch := fmt.Sprintf(`[{"op": "replace", "path": "/endpoints/0/conditions/ready", "value": %v}]`, ready)
		if _, err := s.Client.DiscoveryV1().EndpointSlices("default").Patch(t.Context(), "pace", types.JSONPatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		answered := time.Now()
		changed, err := w.await(address, kind)
		if err != nil {
			t.Fatal(err)
		}
		*spans = append(*spans, changed.Sub(answered))
		// Each change is one by itself, not one of a heap that routers put off.
		time.Sleep(50 * time.Millisecond)
	}
	load, _ := os.ReadFile("/proc/loadavg")
	t.Logf("from the API's answer to FRR's kernel, %d changes of one Service, load average %s", changes, bytes.TrimSpace(load))
	for name, spans := range map[string][]time.Duration{"the route comes": comes, "the route goes": goes} {
		slices.Sort(spans)
		at := func(percent int) time.Duration {
			return spans[(len(spans)-1)*percent/100].Round(100 * time.Microsecond)
		}
		t.Logf("%s: median %v, p95 %v, longest %v", name, at(50), at(95), at(100))
		if middle := at(50); middle > paceLimit {
			t.Errorf("%s: median %v, limit %v", name, middle, paceLimit)
		}
	}
	if count := f.sessions(t, node); count != before {
		t.Errorf("%v sessions, before %v", count, before)
	}
}
