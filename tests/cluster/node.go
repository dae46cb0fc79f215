package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// containerd's paths are the usual ones: /run and /var/lib are the node's own. Adjusting a score below that of its parent needs a right that a
// container or a small virtual machine may lack, and then no container would start.
const containerdConfig = `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + pauseImage + `"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "%s"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
`

const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %[1]s/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: "%[1]s/system:node:%[2]s.crt"
tlsPrivateKeyFile: "%[1]s/system:node:%[2]s.key"
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
resolvConf: ""
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
localStorageCapacityIsolation: false
makeIPTablesUtilChains: false
evictionHard: {memory.available: 20Mi, nodefs.available: 1%%, nodefs.inodesFree: 1%%, imagefs.available: 1%%}
imageGCHighThresholdPercent: 100
volumePluginDir: /var/lib/kubelet/volume-plugins
`

const cniConfig = `{"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "ptp", "mtu": 1500, "ipam": {
  "type": "host-local", "dataDir": "/var/lib/cni/networks",
  "ranges": [[{"subnet": "%s"}], [{"subnet": "%s"}]], "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}}]}
`

// podRanges are the addresses of the pods of one node.
func (m *Machine) podRanges() (v4, v6 string) {
	return fmt.Sprintf("10.244.%d.0/24", m.number), fmt.Sprintf("fd00:244:0:%d::/64", m.number)
}

// onNodes does something on all nodes at once.
func (c *Cluster) onNodes(do func(*Machine) error) error {
	done := make(chan error)
	for _, node := range c.nodes {
		go func() { done <- do(node) }()
	}
	var all error
	for range c.nodes {
		all = errors.Join(all, <-done)
	}
	return all
}

// startNodes turns the machines into nodes that run pods, and waits until they are ready.
func (c *Cluster) startNodes(ctx context.Context) error {
	images, err := ownImages(ctx)
	if err != nil {
		return err
	}
	if err := c.routes(ctx); err != nil {
		return err
	}
	if err := c.onNodes(func(node *Machine) error { return c.startContainerd(ctx, node) }); err != nil {
		return err
	}
	// Before kubelet, which would try to pull what is missing and then wait.
	for _, image := range images {
		if err := c.LoadImage(ctx, image); err != nil {
			return err
		}
	}
	for _, node := range c.nodes {
		if err := c.startKubelet(node); err != nil {
			return err
		}
		if err := c.startProxy(node, node.Name); err != nil {
			return err
		}
	}
	// Webhooks are called from here, at the addresses of Services. Under a name that is no Node's it would wait half a minute for one.
	if err := c.startProxy(c.controlPlane, c.nodes[0].Name); err != nil {
		return err
	}
	c.Scheduler = c.server("kube-scheduler", "--kubeconfig="+c.authority.file("system:kube-scheduler.kubeconfig"), "--leader-elect=false",
		"--bind-address=127.0.0.1", "--authentication-kubeconfig="+c.authority.file("system:kube-scheduler.kubeconfig"),
		"--authorization-kubeconfig="+c.authority.file("system:kube-scheduler.kubeconfig"))
	if err := c.Scheduler.launch(); err != nil {
		return err
	}
	return c.onNodes(func(node *Machine) error { return c.waitNode(ctx, node) })
}

func (c *Cluster) proxyMode() string { return cmp.Or(c.Options.ProxyMode, "nftables") }

// routes lead to the pods of the other nodes, and to Services at all: without a route a packet is not even offered to kube-proxy's rules.
func (c *Cluster) routes(ctx context.Context) error {
	for _, from := range append([]*Machine{c.controlPlane}, c.nodes...) {
		lines := fmt.Sprintf("route add %s dev eth0\nroute add %s dev eth0\n", serviceRange4, serviceRange6)
		for _, to := range c.nodes {
			if to == from {
				continue
			}
			v4, v6 := to.podRanges()
			lines += fmt.Sprintf("route add %s via %s\nroute add %s via %s\n", v4, to.IPv4, v6, to.IPv6)
		}
		if err := from.ip(ctx, lines); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) startContainerd(ctx context.Context, node *Machine) error {
	v4, v6 := node.podRanges()
	network := c.file("machines", node.Name, "cni")
	if err := write(network+"/pods.conflist", fmt.Appendf(nil, cniConfig, v4, v6)); err != nil {
		return err
	}
	config := c.file("machines", node.Name, "containerd.toml")
	if err := write(config, fmt.Appendf(nil, containerdConfig, network)); err != nil {
		return err
	}
	node.Containerd = node.process(c.file("logs", node.Name+"-containerd.log"), nil, "containerd", "--config", config)
	if err := node.Containerd.launch(); err != nil {
		return err
	}
	var err error
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end) && node.Containerd.Running(); time.Sleep(50 * time.Millisecond) {
		if _, err = node.Output(ctx, "ctr", "version"); err == nil {
			return nil
		}
	}
	return fmt.Errorf("containerd does not answer: %w\n%s", err, node.Containerd.tail())
}

func (c *Cluster) startKubelet(node *Machine) error {
	user := "system:node:" + node.Name
	if err := c.authority.issue(user, user, []string{"system:nodes"}, node.Name, node.IPv4.String(), node.IPv6.String()); err != nil {
		return err
	}
	credentials, err := c.authority.kubeconfig(user, "", serverURL)
	if err != nil {
		return err
	}
	config := c.file("machines", node.Name, "kubelet.yaml")
	content := fmt.Appendf(nil, kubeletConfig, c.authority.dir, node.Name)
	if err := write(config, content); err != nil {
		return err
	}
	node.Kubelet = node.process(c.file("logs", node.Name+"-kubelet.log"), nil, c.Assets["kubelet"], "--config="+config,
		"--kubeconfig="+credentials, "--node-ip="+node.IPv4.String()+","+node.IPv6.String())
	return node.Kubelet.launch()
}

func (c *Cluster) startProxy(m *Machine, as string) error {
	m.Proxy = m.process(c.file("logs", m.Name+"-kube-proxy.log"), nil, c.Assets["kube-proxy"],
		"--kubeconfig="+c.authority.file("system:kube-proxy.kubeconfig"), "--proxy-mode="+m.cluster.proxyMode(), "--conntrack-max-per-core=0",
		"--cluster-cidr="+podRange4+","+podRange6, "--hostname-override="+as)
	return m.Proxy.launch()
}

// waitNode waits until a node is ready and writes down which pod addresses are its own, as a controller of a cloud would.
func (c *Cluster) waitNode(ctx context.Context, m *Machine) error {
	v4, v6 := m.podRanges()
	patch := fmt.Appendf(nil, `{"spec":{"podCIDR":%q,"podCIDRs":[%[1]q,%q]}}`, v4, v6)
	var err error
	for end := time.Now().Add(120 * time.Second); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		var node *corev1.Node
		if node, err = c.Client.CoreV1().Nodes().Get(ctx, m.Name, metav1.GetOptions{}); err != nil {
			continue
		}
		if len(node.Spec.PodCIDRs) == 0 {
			if _, err = c.Client.CoreV1().Nodes().Patch(ctx, m.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
				continue
			}
		}
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
				return nil
			}
			err = fmt.Errorf("%s: %s", condition.Reason, condition.Message)
		}
	}
	return fmt.Errorf("%s is not ready: %w\nkubelet:\n%s\ncontainerd:\n%s", m.Name, err, m.Kubelet.tail(), m.Containerd.tail())
}
