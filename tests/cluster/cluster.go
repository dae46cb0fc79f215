// Package cluster is a real Kubernetes for tests: etcd, kube-apiserver and the rest in network namespaces of one machine that needs no container engine.
//
// There are two levels. At the API level the API server is real and nodes are network namespaces with Node objects: what a pod would do is done by
// running the program on a node, as its service account ([Machine.Run]). At the node level nodes run kubelet, containerd and kube-proxy, and pods are pods.
//
//	c := cluster.StartAPI(t, cluster.Options{Nodes: 3})
//	c.ApplyFile(t, "deploy/metallb.yaml")
//	speaker := c.Node("node-a").Run(t, cluster.Program{ServiceAccount: "metallb-system/speaker", Path: binary, Args: args})
//	answers := c.Laptop().ARP(t, "192.168.1.201")
//	speaker.Kill(t)
//
// The LAN is 192.168.1.0/24 and fd00:1::/64: nodes node-a, node-b, … at .11, .12, …, the laptop at .50, the control plane at .10.
// Whatever ends the test, even SIGKILL, ends the cluster. Several clusters can be up at the same time. README.md has the measured times, and the traps.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Options say what is to be started.
type Options struct {
	// Nodes is how many nodes there are; 3 if zero.
	Nodes int
	// Pods asks for the node level.
	Pods bool
	// ProxyMode is kube-proxy's, at the node level: nftables if empty, or iptables, which takes the program of that name.
	ProxyMode string
	// NodeLifecycle lets the API level judge nodes by their heartbeat; tests must then send it.
	NodeLifecycle bool
	// APIServerFlags are further flags of the API server.
	APIServerFlags []string
	// Detached clusters outlive the process that starts them, under this name.
	Detached string
	// Say is told what takes long; standard error if nil.
	Say func(format string, args ...any) `json:"-"`
}

// Cluster is a running cluster.
type Cluster struct {
	Options Options
	Assets  Assets
	// Admin and the clients may do everything; Client is typed, Dynamic is for custom resources.
	Admin   *rest.Config
	Client  *kubernetes.Clientset
	Dynamic *dynamic.DynamicClient
	// The servers can be killed and started again. A cluster that another process started has none.
	Etcd, APIServer, ControllerManager, Scheduler *Process

	dir          string
	record       record
	authority    *authority
	lan          *Machine
	controlPlane *Machine
	laptop       *Machine
	nodes        []*Machine
	runs         atomic.Int64
}

var clusters atomic.Int64

// Start starts a cluster. If it fails, nothing is left of it.
func Start(ctx context.Context, options Options) (c *Cluster, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("the test cluster makes network namespaces: run it as root")
	}
	if options.Nodes == 0 {
		options.Nodes = 3
	}
	if options.Nodes < 0 || options.Nodes > mostNodes {
		return nil, fmt.Errorf("%d nodes? 1 to %d", options.Nodes, mostNodes)
	}
	if options.Say == nil {
		options.Say = func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	}
	if err := requirePrograms(options.Pods); err != nil {
		return nil, err
	}
	c = &Cluster{Options: options}
	if c.Assets, err = FindAssets(ctx, options.Pods, options.Say); err != nil {
		return nil, err
	}
	c.record = record{Options: options, Assets: c.Assets}
	name := options.Detached
	if name == "" {
		owner := processOf(os.Getpid())
		c.record.Owner = &owner
		name = fmt.Sprintf("test-%d-%d", os.Getpid(), clusters.Add(1))
	}
	if c.dir, err = claim(name, c.record); err != nil {
		return nil, err
	}
	if c.record.Owner != nil {
		c.stopOnSignal()
	}
	if err := c.assemble(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *Cluster) assemble(ctx context.Context) (err error) {
	if c.authority, err = newAuthority(c.file("pki")); err != nil {
		return err
	}
	if err := c.issueCertificates(); err != nil {
		return err
	}
	if err := c.bootMachines(ctx); err != nil {
		return err
	}
	if err := c.startControlPlane(ctx); err != nil {
		return err
	}
	if c.Options.Pods {
		if err := c.startNodes(ctx); err != nil {
			return err
		}
	} else if err := c.declareNodes(ctx); err != nil {
		return err
	}
	return c.waitServiceAccount(ctx)
}

func (c *Cluster) bootMachines(ctx context.Context) (err error) {
	mortal := c.Options.Detached == ""
	if c.lan, err = bootLAN(ctx, c.file("machines", "switch"), mortal); err != nil {
		return err
	}
	c.remember(c.lan, 0)
	plug := func(name string, number int, group string) (*Machine, error) {
		m, err := boot(name, c.file("machines", name), group, mortal)
		if err != nil {
			return nil, err
		}
		c.remember(m, number)
		m.join(c, number)
		return m, m.connect(ctx)
	}
	if c.controlPlane, err = plug("control-plane", controlPlaneNumber, ""); err != nil {
		return err
	}
	if c.laptop, err = plug("laptop", laptopNumber, ""); err != nil {
		return err
	}
	for i := range c.Options.Nodes {
		name, group := fmt.Sprintf("node-%c", 'a'+i), ""
		if c.Options.Pods {
			group = controlGroup(c.name()) + "/" + name
			if err := makeControlGroup(group); err != nil {
				return err
			}
		}
		node, err := plug(name, firstNode+i, group)
		if err != nil {
			return err
		}
		c.nodes = append(c.nodes, node)
		if err := node.feed(ctx, "", "sh", "-c", nodeSettings); err != nil {
			return err
		}
	}
	return c.record.save(c.dir)
}

func (c *Cluster) remember(m *Machine, number int) {
	c.record.Machines = append(c.record.Machines, machineRecord{processOf(m.pid), m.Name, number})
	// If this file cannot be written the next one cannot either, and that is checked.
	_ = c.record.save(c.dir)
}

// Attach uses a detached cluster that another process has started.
func Attach(name string) (*Cluster, error) {
	dir := filepath.Join(stateRoot, name)
	r, err := loadRecord(dir)
	if err != nil || r.orphaned() {
		return nil, fmt.Errorf("no cluster named %q is up", name)
	}
	c := &Cluster{Options: r.Options, Assets: r.Assets, dir: dir, record: r}
	if c.authority, err = restoreAuthority(c.file("pki")); err != nil {
		return nil, err
	}
	for _, known := range r.Machines {
		m := &Machine{Name: known.Name, pid: known.PID, dir: c.file("machines", known.Name)}
		m.join(c, known.Number)
		switch known.Name {
		case "switch":
			c.lan = m
		case "control-plane":
			c.controlPlane = m
		case "laptop":
			c.laptop = m
		default:
			c.nodes = append(c.nodes, m)
		}
	}
	return c, c.connectAdmin()
}

// Stop removes the cluster and all that ran on it.
func (c *Cluster) Stop() error {
	unlock, err := lockState()
	if err != nil {
		return err
	}
	defer unlock()
	return c.record.destroy(c.dir)
}

// Remove removes a detached cluster, however little of it is left, and says whether there was one.
func Remove(name string) (bool, error) {
	unlock, err := lockState()
	if err != nil {
		return false, err
	}
	defer unlock()
	dir := filepath.Join(stateRoot, name)
	if _, err := os.Stat(dir); err != nil {
		return false, nil
	}
	r, _ := loadRecord(dir)
	return true, r.destroy(dir)
}

func (c *Cluster) makeClients() (err error) {
	if c.Client, err = kubernetes.NewForConfig(c.Admin); err != nil {
		return err
	}
	c.Dynamic, err = dynamic.NewForConfig(c.Admin)
	return err
}

// file is a path in the folder of this cluster.
func (c *Cluster) file(names ...string) string {
	return filepath.Join(append([]string{c.dir}, names...)...)
}

// Kubeconfig is the path of the administrator's credentials. They are of use where the LAN is: on the laptop, for one.
func (c *Cluster) Kubeconfig() string { return c.authority.file("admin.kubeconfig") }

// Node is a node by its name: node-a, node-b and so on.
func (c *Cluster) Node(name string) *Machine {
	for _, node := range c.nodes {
		if node.Name == name {
			return node
		}
	}
	panic(fmt.Sprintf("this cluster has no node %q but %d nodes from node-a", name, len(c.nodes)))
}

// Nodes are all nodes, in the order of their names.
func (c *Cluster) Nodes() []*Machine { return c.nodes }

// Laptop is the host on the LAN that is not part of the cluster.
func (c *Cluster) Laptop() *Machine { return c.laptop }

// ControlPlane is the host of etcd and the API server. It is no Node.
func (c *Cluster) ControlPlane() *Machine { return c.controlPlane }

func (c *Cluster) name() string { return filepath.Base(c.dir) }

// Logs is the folder with a log per server, and audit.log.
func (c *Cluster) Logs() string { return c.file("logs") }
