package cluster

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// Request is a request that the API server has answered, or a watch that it has begun to answer.
type Request struct {
	User      string // a service account is system:serviceaccount:NAMESPACE:NAME
	Agent     string // the first word of the user agent
	Verb      string
	Resource  string // with the subresource: services/status
	Namespace string
	Name      string
	Code      int
	Received  time.Time // when the API server had it
	At        time.Time // when it was answered
	URI       string
}

// Requests are requests in the order in which they were answered.
type Requests []Request

// Mark is a place in the history of requests.
type Mark int64

func (c *Cluster) auditLog() string { return c.file("logs", "audit.log") }

// Mark is the present end of the history of requests.
func (c *Cluster) Mark(t testing.TB) Mark {
	t.Helper()
	c.flushAudit(t)
	info, err := os.Stat(c.auditLog())
	if err != nil {
		t.Fatal(err)
	}
	return Mark(info.Size())
}

// RequestsSince are all requests since a mark, but for those of the harness itself.
func (c *Cluster) RequestsSince(t testing.TB, mark Mark) Requests {
	t.Helper()
	c.flushAudit(t)
	requests, _ := c.RequestsSoFar(t, mark)
	return requests
}

// RequestsSoFar are the requests since a mark that are in the log already, and the mark behind them. It asks nobody anything: for a test that waits
// for requests and must not be in their way.
func (c *Cluster) RequestsSoFar(t testing.TB, mark Mark) (Requests, Mark) {
	t.Helper()
	file, err := os.Open(c.auditLog())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.NewSectionReader(file, int64(mark), 1<<62))
	if err != nil {
		t.Fatal(err)
	}
	// A last line without an end is not yet written.
	whole := bytes.LastIndexByte(content, '\n') + 1
	requests, err := parseAudit(bytes.NewReader(content[:whole]))
	if err != nil {
		t.Fatal(err)
	}
	return requests, mark + Mark(whole)
}

// flushAudit sends a request of its own and waits until it is in the log: whatever was answered before is then there as well.
func (c *Cluster) flushAudit(t testing.TB) {
	t.Helper()
	agent := fmt.Sprintf("%s%d", flushAgent, c.runs.Add(1))
	config := rest.CopyConfig(c.Admin)
	config.UserAgent = agent
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	response, err := client.Get(serverURL + "/version")
	if err != nil {
		t.Fatalf("counting requests needs a running API server: %v", err)
	}
	response.Body.Close()
	wanted := []byte(`"userAgent":"` + agent + `"`)
	if !eventually(10*time.Second, func() bool { return bytes.Contains(c.auditEnd(), wanted) }) {
		t.Fatal("a request did not reach the audit log")
	}
}

// auditEnd is the last megabyte of the log.
func (c *Cluster) auditEnd() []byte {
	file, err := os.Open(c.auditLog())
	if err != nil {
		return nil
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil
	}
	content, _ := io.ReadAll(io.NewSectionReader(file, max(0, info.Size()-1<<20), 1<<20))
	return content
}

const flushAgent = "test-flush-"

// parseAudit reads one event a line. A watch has two, when it begins and when it ends; the first one counts.
func parseAudit(from io.Reader) (Requests, error) {
	var requests Requests
	begun := map[string]bool{}
	lines := bufio.NewReaderSize(from, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return requests, nil // a last line without an end is not yet written
		}
		var event struct {
			AuditID, Stage, Verb, UserAgent, RequestURI string
			User                                        struct{ Username string }
			ObjectRef                                   struct{ Resource, Subresource, Namespace, Name string }
			ResponseStatus                              struct{ Code int }
			RequestReceivedTimestamp, StageTimestamp    time.Time
		}
		if err := json.Unmarshal(line, &event); err != nil {
			return nil, fmt.Errorf("audit log: %w: %s", err, line)
		}
		if strings.HasPrefix(event.UserAgent, flushAgent) || begun[event.AuditID] {
			continue
		}
		begun[event.AuditID] = true
		agent, _, _ := strings.Cut(event.UserAgent, " ")
		resource := event.ObjectRef.Resource
		if event.ObjectRef.Subresource != "" {
			resource += "/" + event.ObjectRef.Subresource
		}
		requests = append(requests, Request{
			User: event.User.Username, Agent: agent, Verb: event.Verb, Resource: resource, Namespace: event.ObjectRef.Namespace,
			Name: event.ObjectRef.Name, Code: event.ResponseStatus.Code, Received: event.RequestReceivedTimestamp, At: event.StageTimestamp, URI: event.RequestURI,
		})
	}
}

// Where picks requests.
func (r Requests) Where(wanted func(Request) bool) Requests {
	var picked Requests
	for _, request := range r {
		if wanted(request) {
			picked = append(picked, request)
		}
	}
	return picked
}

// By picks the requests of a service account, written NAMESPACE/NAME.
func (r Requests) By(serviceAccount string) Requests {
	user := "system:serviceaccount:" + strings.Replace(serviceAccount, "/", ":", 1)
	return r.Where(func(request Request) bool { return request.User == user })
}

// Of picks the requests with a verb for a resource: ("update", "services/status").
func (r Requests) Of(verb, resource string) Requests {
	return r.Where(func(request Request) bool { return request.Verb == verb && request.Resource == resource })
}

// String is a table of what was asked how often, for a test that fails.
func (r Requests) String() string {
	counts := map[string]int{}
	for _, request := range r {
		counts[fmt.Sprintf("%s %s %s by %s (%s): %d", request.Verb, request.Namespace, request.Resource, request.User, request.Agent, request.Code)]++
	}
	var lines []string
	for what, count := range counts {
		lines = append(lines, fmt.Sprintf("%6d × %s", count, what))
	}
	sort.Sort(sort.Reverse(sort.StringSlice(lines)))
	return strings.Join(lines, "\n")
}
