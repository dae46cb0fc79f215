package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Faults are what goes wrong between a program and the API server. The zero value is: nothing.
type Faults struct {
	// Delay is how long every request waits.
	Delay time.Duration
	// Status, if not zero, is the answer instead of the API server's: 429, 500, 503. RetryAfter is its header.
	Status     int
	RetryAfter string
	// CutAfter ends every answer, which cuts watches; what is under way when it is set goes on.
	CutAfter time.Duration
	// CloseAfter, in seconds, has the API server end watches in good order that soon, as it does by itself after some minutes.
	CloseAfter int
	// Expire answers watches with 410 Gone, as after a compaction.
	Expire bool
	// Only limits the faults to some requests.
	Only func(*http.Request) bool
}

// FaultyServer passes requests on to the API server, as far as it is told to. It has the API server's certificate: clients see no difference.
type FaultyServer struct {
	URL string

	mutex  sync.Mutex
	faults Faults
	seen   int
}

// FaultyServer starts a faulty way to the API server, for one test. A program takes it by Program.Server.
func (c *Cluster) FaultyServer(t testing.TB) *FaultyServer {
	t.Helper()
	certificate, err := tls.LoadX509KeyPair(c.authority.file("server.crt"), c.authority.file("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	var listener net.Listener
	if err := c.controlPlane.InNetwork(func() (err error) {
		listener, err = net.Listen("tcp", net.JoinHostPort(controlPlaneIP, "0"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	f := &FaultyServer{URL: "https://" + listener.Addr().String()}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.authority.PEM)
	target, _ := url.Parse(serverURL)
	quiet := log.New(io.Discard, "", 0) // broken connections are what this is for
	proxy := &httputil.ReverseProxy{
		ErrorLog:      quiet,
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		FlushInterval: -1, // watches
		Transport: &http.Transport{
			DialContext: c.controlPlane.Dial, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots},
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			panic(http.ErrAbortHandler) // the API server is away: the connection breaks, as without us
		},
	}
	server := &http.Server{
		ErrorLog:  quiet,
		Handler:   f.handler(proxy),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2", "http/1.1"}},
	}
	go func() { _ = server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { _ = server.Close() })
	return f
}

// Set lets other things go wrong from now on.
func (f *FaultyServer) Set(faults Faults) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.faults = faults
}

// Hits is how many requests something went wrong for.
func (f *FaultyServer) Hits() int {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.seen
}

// next are the faults for a request.
func (f *FaultyServer) next(r *http.Request) Faults {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	faults := f.faults
	if faults.Only != nil && !faults.Only(r) {
		return Faults{}
	}
	if faults.Delay != 0 || faults.Status != 0 || faults.CutAfter != 0 || (faults.Expire || faults.CloseAfter != 0) && watches(r) {
		f.seen++
	}
	return faults
}

func watches(r *http.Request) bool {
	watch := r.URL.Query().Get("watch")
	return watch == "1" || watch == "true"
}

const expired = `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","reason":"Expired","code":410,"message":"too old resource version"}`

func (f *FaultyServer) handler(proxy http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		faults := f.next(r)
		select {
		case <-time.After(faults.Delay):
		case <-r.Context().Done():
			return
		}
		w.Header().Set("Content-Type", "application/json")
		switch {
		case faults.Expire && watches(r):
			w.WriteHeader(http.StatusGone)
			_, _ = w.Write([]byte(expired))
			return
		case faults.Status != 0:
			if faults.RetryAfter != "" {
				w.Header().Set("Retry-After", faults.RetryAfter)
			}
			w.WriteHeader(faults.Status)
			_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"a fault of the test"}`))
			return
		case faults.CutAfter != 0:
			ctx, cancel := context.WithTimeout(r.Context(), faults.CutAfter)
			defer cancel()
			r = r.WithContext(ctx)
		}
		if faults.CloseAfter != 0 && watches(r) {
			query := r.URL.Query()
			query.Set("timeoutSeconds", strconv.Itoa(faults.CloseAfter))
			r.URL.RawQuery = query.Encode()
		}
		w.Header().Del("Content-Type")
		proxy.ServeHTTP(w, r)
	})
}
