package cluster

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

const serverURL = "https://" + controlPlaneIP + ":6443"

// Every request that has been answered is one line, and a watch is a line when it begins: it may never end.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`

// Controllers of the API level: what gives service accounts their tokens and namespaces their end, what turns pods into EndpointSlices, and garbage
// collection. No deployment makes pods there, because nothing would run them.
var apiControllers = []string{
	"serviceaccount-controller", "serviceaccount-token-controller", "root-ca-certificate-publisher-controller", "namespace-controller",
	"endpointslice-controller", "endpointslice-mirroring-controller", "garbage-collector-controller", "clusterrole-aggregation-controller",
	"validatingadmissionpolicy-status-controller",
}

// Controllers that would judge nodes by a heartbeat that nobody sends at the API level.
var lifecycleControllers = []string{"node-lifecycle-controller", "taint-eviction-controller"}

func (c *Cluster) issueCertificates() error {
	ca := c.authority
	if _, err := ca.newKey("service-account"); err != nil {
		return err
	}
	if err := ca.issue("server", "kube-apiserver", nil, controlPlaneIP, lanPrefix6+"10", "127.0.0.1", "10.96.0.1", "fd00:96::1", "localhost",
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"); err != nil {
		return err
	}
	for name, groups := range map[string][]string{
		"admin": {"system:masters"}, "system:kube-controller-manager": nil, "system:kube-scheduler": nil, "system:kube-proxy": nil,
		"kube-apiserver-kubelet-client": {"system:masters"}, "front-proxy": nil,
	} {
		if err := ca.issue(name, name, groups); err != nil {
			return err
		}
		if _, err := ca.kubeconfig(name, "", serverURL); err != nil {
			return err
		}
	}
	return write(ca.file("audit-policy.yaml"), []byte(auditPolicy))
}

// startControlPlane starts etcd and the API server at once (the latter waits for the former), then what needs them.
func (c *Cluster) startControlPlane(ctx context.Context) error {
	c.Etcd = c.server("etcd", "--data-dir=/var/lib/etcd", "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380", "--initial-cluster=default=http://127.0.0.1:2380")
	c.APIServer = c.server("kube-apiserver", c.apiServerFlags()...)
	c.ControllerManager = c.server("kube-controller-manager", c.controllerManagerFlags()...)
	for _, server := range []*Process{c.Etcd, c.APIServer} {
		if err := server.launch(); err != nil {
			return err
		}
	}
	if err := c.connectAdmin(); err != nil {
		return err
	}
	if err := c.waitReady(ctx); err != nil {
		return err
	}
	return c.ControllerManager.launch()
}

func (c *Cluster) server(name string, flags ...string) *Process {
	return c.controlPlane.process(c.file("logs", name+".log"), nil, append([]string{c.Assets[name]}, flags...)...)
}

func (c *Cluster) apiServerFlags() []string {
	ca := c.authority
	flags := []string{
		"--etcd-servers=http://127.0.0.1:2379",
		"--bind-address=::", "--secure-port=6443", "--advertise-address=" + controlPlaneIP,
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
		"--service-cluster-ip-range=" + serviceRange4 + "," + serviceRange6,
		"--client-ca-file=" + ca.file("ca.crt"), "--tls-cert-file=" + ca.file("server.crt"), "--tls-private-key-file=" + ca.file("server.key"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + ca.file("service-account.pub"), "--service-account-signing-key-file=" + ca.file("service-account.key"),
		"--kubelet-preferred-address-types=InternalIP", "--kubelet-certificate-authority=" + ca.file("ca.crt"),
		"--kubelet-client-certificate=" + ca.file("kube-apiserver-kubelet-client.crt"),
		"--kubelet-client-key=" + ca.file("kube-apiserver-kubelet-client.key"),
		"--requestheader-client-ca-file=" + ca.file("ca.crt"), "--requestheader-allowed-names=front-proxy",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + ca.file("front-proxy.crt"), "--proxy-client-key-file=" + ca.file("front-proxy.key"),
		"--audit-policy-file=" + ca.file("audit-policy.yaml"), "--audit-log-path=" + c.auditLog(), "--audit-log-maxsize=4096",
		// Webhooks are called at the addresses behind their Service: at the API level there is no kube-proxy to translate the Service's own.
		fmt.Sprintf("--enable-aggregator-routing=%t", !c.Options.Pods),
	}
	return append(flags, c.Options.APIServerFlags...)
}

func (c *Cluster) controllerManagerFlags() []string {
	ca := c.authority
	controllers := apiControllers
	if c.Options.Pods {
		controllers = []string{"*"}
	} else if c.Options.NodeLifecycle {
		controllers = append(append([]string{}, apiControllers...), lifecycleControllers...)
	}
	return []string{
		"--kubeconfig=" + ca.file("system:kube-controller-manager.kubeconfig"), "--bind-address=127.0.0.1", "--leader-elect=false",
		"--use-service-account-credentials=true", "--root-ca-file=" + ca.file("ca.crt"),
		"--service-account-private-key-file=" + ca.file("service-account.key"), "--controllers=" + strings.Join(controllers, ","),
		"--client-ca-file=" + ca.file("ca.crt"),
	}
}

// connectAdmin makes the clients of an administrator; their connections begin in the control plane's network.
func (c *Cluster) connectAdmin() error {
	ca := c.authority
	c.Admin = &rest.Config{
		Host: serverURL, Dial: c.controlPlane.Dial, UserAgent: "test-admin",
		TLSClientConfig: rest.TLSClientConfig{CAData: ca.PEM, CertFile: ca.file("admin.crt"), KeyFile: ca.file("admin.key")},
		QPS:             -1, // a test that waits for its own client measures that
	}
	return c.makeClients()
}

func (c *Cluster) waitReady(ctx context.Context) error {
	client, err := rest.HTTPClientFor(c.Admin)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	answer := "no answer"
	ready := func() bool {
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		request, err := http.NewRequestWithContext(attempt, http.MethodGet, serverURL+"/readyz", nil)
		if err != nil {
			return false
		}
		response, err := client.Do(request)
		if err != nil {
			answer = err.Error()
			return false
		}
		response.Body.Close()
		answer = response.Status
		return response.StatusCode == http.StatusOK
	}
	for end := time.Now().Add(90 * time.Second); !ready(); time.Sleep(50 * time.Millisecond) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if time.Now().After(end) || !c.APIServer.Running() || !c.Etcd.Running() {
			return fmt.Errorf("the API server is not ready: %s\nkube-apiserver:\n%s\netcd:\n%s", answer, c.APIServer.tail(), c.Etcd.tail())
		}
	}
	return nil
}
