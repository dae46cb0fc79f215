package cluster

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// StartAPI starts a cluster at the API level for one test.
func StartAPI(t testing.TB, options Options) *Cluster {
	t.Helper()
	c := startForTest(t, options)
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// StartNodes starts a cluster at the node level for one test.
func StartNodes(t testing.TB, options Options) *Cluster {
	t.Helper()
	options.Pods = true
	return StartAPI(t, options)
}

func startForTest(t testing.TB, options Options) *Cluster {
	t.Helper()
	begin := time.Now()
	// Not the test's own context: a shared cluster outlives the test that needed it first.
	c, err := Start(context.Background(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the cluster was up after %v", time.Since(begin).Round(10*time.Millisecond))
	return c
}

// Shared is one cluster for all tests of a package, started by the first one that needs it:
//
//	var shared = cluster.Shared{Options: cluster.Options{Nodes: 3}}
//
//	func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }
type Shared struct {
	Options Options

	once    sync.Once
	cluster *Cluster
}

// Run runs the tests, then stops the cluster.
func (s *Shared) Run(m *testing.M) int {
	code := m.Run()
	if s.cluster != nil {
		if err := s.cluster.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// Get is the shared cluster.
func (s *Shared) Get(t testing.TB) *Cluster {
	t.Helper()
	s.once.Do(func() { s.cluster = startForTest(t, s.Options) })
	if s.cluster == nil {
		t.Fatal("the shared cluster did not start")
	}
	return s.cluster
}

// Ctrl-C kills a test at once, and its machines with it; this also takes away their files.
func (c *Cluster) stopOnSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-signals
		fmt.Fprintln(os.Stderr, "interrupted: removing the cluster")
		_ = c.Stop()
		os.Exit(130)
	}()
}

// Kubectl runs kubectl on the laptop as the administrator, and returns what it said.
func (c *Cluster) Kubectl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := c.kubectl(t.Context(), "", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// KubectlFails runs kubectl and returns why it failed.
func (c *Cluster) KubectlFails(t testing.TB, args ...string) string {
	t.Helper()
	out, err := c.kubectl(t.Context(), "", args...)
	if err == nil {
		t.Fatalf("kubectl %s: should have failed, but said %s", strings.Join(args, " "), out)
	}
	return err.Error()
}

func (c *Cluster) kubectl(ctx context.Context, input string, args ...string) (string, error) {
	cmd := command(append([]string{c.Assets["kubectl"]}, args...)...)
	cmd.Env = append(cmd.Env, "KUBECONFIG="+c.Kubeconfig())
	cmd.Stdin = strings.NewReader(input)
	return c.laptop.finish(ctx, cmd)
}

// ApplyFile applies manifests: files, folders.
func (c *Cluster) ApplyFile(t testing.TB, paths ...string) {
	t.Helper()
	args := []string{"apply"}
	for _, path := range paths {
		args = append(args, "-f", absolute(path))
	}
	c.Kubectl(t, args...)
}

// Apply applies a manifest that the test has in its text.
func (c *Cluster) Apply(t testing.TB, manifest string) {
	t.Helper()
	if _, err := c.kubectl(t.Context(), manifest, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// ServiceAccountKubeconfig writes credentials that are those of a service account (NAMESPACE/NAME) and no more, and returns their path.
func (c *Cluster) ServiceAccountKubeconfig(t testing.TB, serviceAccount string) string {
	t.Helper()
	return c.kubeconfigFor(t, serviceAccount, serverURL)
}

func (c *Cluster) kubeconfigFor(t testing.TB, serviceAccount, server string) string {
	t.Helper()
	namespace, name, ok := strings.Cut(serviceAccount, "/")
	if !ok {
		t.Fatalf("service account %q: write NAMESPACE/NAME", serviceAccount)
	}
	day := int64(24 * 60 * 60)
	token, err := c.Client.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), name,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &day}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("token for %s: %v", serviceAccount, err)
	}
	path, err := c.authority.kubeconfig(fmt.Sprintf("%s.%s.%d", namespace, name, c.runs.Add(1)), token.Status.Token, server)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Program is what a pod would be at the node level.
type Program struct {
	// ServiceAccount is NAMESPACE/NAME; the program gets its credentials in KUBECONFIG.
	ServiceAccount string
	// Server is a way to the API server with faults; the straight one if nil.
	Server *FaultyServer
	Path   string
	Args   []string
	// Env are further variables, as NAME=value.
	Env []string
}

// Run runs a program on the machine until the test ends. If the test fails, the end of its log is shown.
func (m *Machine) Run(t testing.TB, program Program) *Process {
	t.Helper()
	env := program.Env
	if program.ServiceAccount != "" {
		server := serverURL
		if program.Server != nil {
			server = program.Server.URL
		}
		env = append([]string{"KUBECONFIG=" + m.cluster.kubeconfigFor(t, program.ServiceAccount, server)}, env...)
	}
	args := append([]string{absolute(program.Path)}, program.Args...)
	p := m.process("", env, args...)
	p.log = m.cluster.file("logs", fmt.Sprintf("%s-%s-%d.log", m.Name, p.Name, m.cluster.runs.Add(1)))
	if err := p.launch(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.end()
		if t.Failed() {
			t.Logf("%s on %s wrote at the end:\n%s", p.Name, m.Name, p.tail())
		}
	})
	return p
}

// Exec runs a program on the machine to its end and returns what it wrote.
func (m *Machine) Exec(t testing.TB, args ...string) string {
	t.Helper()
	out, err := m.Output(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// StopAPIServer kills the API server, as an outage would.
func (c *Cluster) StopAPIServer(t testing.TB) {
	t.Helper()
	c.APIServer.Kill(t)
}

// StartAPIServer starts it again and waits until it is ready.
func (c *Cluster) StartAPIServer(t testing.TB) {
	t.Helper()
	c.APIServer.Start(t)
	if err := c.waitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Eventually polls until something holds, and fails the test if it does not in time.
func Eventually(t testing.TB, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	if !eventually(limit, holds) {
		t.Fatalf("not within %v: %s", limit, what)
	}
}
