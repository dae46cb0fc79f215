package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// waitServiceAccount waits until a pod could be made: without its service account it is refused.
func (c *Cluster) waitServiceAccount(ctx context.Context) error {
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, err := c.Client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || time.Now().After(end) {
			return fmt.Errorf("no default service account: %w\nkube-controller-manager:\n%s", err, c.ControllerManager.tail())
		}
	}
}

// declareNodes makes the Node objects of the API level, which no kubelet makes.
func (c *Cluster) declareNodes(ctx context.Context) error {
	for _, m := range c.nodes {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: m.Name, Labels: map[string]string{
			"kubernetes.io/hostname": m.Name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
		}}}
		node, err := c.Client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		node.Status.Addresses = []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: m.IPv4.String()},
			{Type: corev1.NodeInternalIP, Address: m.IPv6.String()},
			{Type: corev1.NodeHostName, Address: m.Name},
		}
		node.Status.Conditions = []corev1.NodeCondition{{
			Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", Message: "declared ready by the test cluster",
			LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now(),
		}}
		if _, err := c.Client.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// Pod is a pod that a test declares to run, at the API level where none does. What makes EndpointSlices of pods believes it.
type Pod struct {
	Namespace, Name string
	Labels          map[string]string
	Node            string
	// Args are what its container is said to be started with.
	Args []string
	// IP is an address that the pod answers at; that of its node if empty, as with hostNetwork.
	IP       string
	NotReady bool
}

// DeclarePod makes a pod object and says that it runs. Without a kubelet it is deleted only with --grace-period=0 --force.
func (c *Cluster) DeclarePod(t testing.TB, pod Pod) {
	t.Helper()
	if c.Options.Pods {
		t.Fatal("at the node level pods run by themselves")
	}
	node := c.Node(pod.Node)
	if pod.IP == "" {
		pod.IP = node.IPv4.String()
	}
	pods := c.Client.CoreV1().Pods(pod.Namespace)
	object, err := pods.Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Labels: pod.Labels},
		Spec:       corev1.PodSpec{NodeName: pod.Node, Containers: []corev1.Container{{Name: "declared", Image: "declared", Args: pod.Args}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ready := corev1.ConditionTrue
	if pod.NotReady {
		ready = corev1.ConditionFalse
	}
	object.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: pod.IP, PodIPs: []corev1.PodIP{{IP: pod.IP}},
		HostIP: node.IPv4.String(), HostIPs: []corev1.HostIP{{IP: node.IPv4.String()}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready, LastTransitionTime: metav1.Now()}},
	}
	if _, err := pods.UpdateStatus(t.Context(), object, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}
