package ferrolb_test

import (
	"bufio"
	"bytes"
	"context"
	endian "encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

// How an address is used meanwhile: by questions over UDP, by so many TCP connections that stay open and by new ones, all through kube-proxy to pods, and
// by somebody who has to ask for its MAC address each time.
const (
	steadyQuestion    = 5 * time.Millisecond
	steadyConnections = 20
	steadyRequest     = 100 * time.Millisecond
)

// steady is what was seen of an address while something happened.
type steady struct {
	questions, lost, connections, reset, requests, failed int
	arp                                                   cluster.Asking
}

func (s steady) String() string {
	return fmt.Sprintf("%d of %d questions lost; %d of %d TCP connections reset; %d of %d requests on new connections failed; %d asks for the MAC address, none answered for %d ms at most, by %v, two of them in turn for %d ms",
		s.lost, s.questions, s.reset, s.connections, s.failed, s.requests, s.arp.Asked, s.arp.Silence.Milliseconds(), s.arp.Machines, s.arp.Both.Milliseconds())
}

// steadily uses an address from before something happens until a second afterwards.
func (s *system) steadily(t *testing.T, address string, connections int, something func()) (seen steady) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	arp := s.ControlPlane().AskARP(t, address, steadyQuestion)
	var all sync.WaitGroup
	var resets sync.Mutex
	all.Go(func() { seen.questions, seen.lost = question(ctx, t, s.Laptop(), address+":7") })
	for range connections {
		connection := s.connect(t, address+":80")
		all.Go(func() {
			if err := keepAlive(ctx, connection); err != nil {
				resets.Lock()
				defer resets.Unlock()
				seen.reset++
			}
		})
	}
	seen.connections = connections
	all.Go(func() {
		for ; ctx.Err() == nil; time.Sleep(4 * steadyQuestion) {
			limited, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			_, err := s.Laptop().Get(limited, "http://"+address+"/")
			cancel()
			seen.requests++
			if err != nil {
				seen.failed++
			}
		}
	})
	time.Sleep(200 * time.Millisecond)
	something()
	time.Sleep(time.Second)
	stop()
	all.Wait()
	seen.arp = arp()
	return seen
}

// question sends a number every few milliseconds, each to be sent back; it returns how many, and how many were not within half a second after the last.
func question(ctx context.Context, t *testing.T, machine *cluster.Machine, address string) (asked, lost int) {
	conn, err := machine.Dial(ctx, "udp", address)
	if err != nil {
		t.Error(err)
		return 0, 0
	}
	defer conn.Close()
	answered := make(chan int)
	go func() {
		defer close(answered)
		for buffer := make([]byte, 8); ; {
			n, err := conn.Read(buffer)
			if err != nil && ctx.Err() != nil {
				return
			}
			if err == nil && n == 8 {
				answered <- int(endian.BigEndian.Uint64(buffer))
			}
		}
	}()
	missing := map[int]bool{}
	tick := time.NewTicker(steadyQuestion)
	defer tick.Stop()
	over := ctx.Done()
	for {
		select {
		case <-over:
			over = nil
			tick.Stop()
			_ = conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		case <-tick.C:
			_, _ = conn.Write(endian.BigEndian.AppendUint64(nil, uint64(asked)))
			missing[asked] = true
			asked++
		case number, more := <-answered:
			if !more {
				return asked, len(missing)
			}
			delete(missing, number)
		}
	}
}

func (s *system) connect(t *testing.T, address string) net.Conn {
	t.Helper()
	limited, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	connection, err := s.Laptop().Dial(limited, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return connection
}

// keepAlive asks for the page again and again over one connection, until that breaks or it is told to stop.
func keepAlive(ctx context.Context, connection net.Conn) error {
	defer connection.Close()
	reader := bufio.NewReader(connection)
	request := []byte("GET / HTTP/1.1\r\nHost: page\r\n\r\n")
	for ctx.Err() == nil {
		// What is lost is sent again: the question is whether the connection lives.
		_ = connection.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.Copy(connection, bytes.NewReader(request)); err != nil {
			return err
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if err != nil {
			return err
		}
		time.Sleep(steadyRequest)
	}
	return nil
}

// unmoved fails unless one machine answered all the time and nothing was lost.
func (s steady) unmoved(t *testing.T, during string) {
	t.Helper()
	t.Logf("%s: %s", during, s)
	if len(s.arp.Machines) != 1 || s.lost > 0 || s.reset > 0 || s.failed > 0 || s.arp.Silence > time.Second {
		t.Errorf("%s: %s", during, s)
	}
	s.enough(t)
}

// handed fails unless another machine answers now, and nothing was lost. Connections that live through it are counted: the node that takes an address knows
// nothing of them. Requests go one after the other, so one of them at most is such a connection.
func (s steady) handed(t *testing.T, during string) {
	t.Helper()
	t.Logf("%s: %s", during, s)
	if len(s.arp.Machines) != 2 || s.lost > 0 || s.failed > 1 || s.arp.Silence > time.Second || s.arp.Both > time.Second {
		t.Errorf("%s: %s", during, s)
	}
	s.enough(t)
}

func (s steady) enough(t *testing.T) {
	t.Helper()
	if s.questions < 100 || s.requests < 20 || s.arp.Asked < 100 {
		t.Errorf("too little was seen: %s", s)
	}
}
