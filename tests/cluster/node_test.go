package cluster_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	cluster "ferrolb.io/tests/cluster"
)

const web = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: ` + cluster.WebImage + `
        imagePullPolicy: Never
        readinessProbe: {httpGet: {port: 8080, path: /}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: LoadBalancer, ipFamilyPolicy: RequireDualStack, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
`

var addresses = []string{"192.168.1.201", "fd00:1::201"}

// One cluster for all of it, which starts, works and goes away in this order.
func TestThreeRealNodesRunPodsThatTheLaptopReachesByALoadBalancerAddress(t *testing.T) {
	before := lookAtHost(t)
	c := cluster.StartNodes(t, cluster.Options{Nodes: 3})
	if out := c.Kubectl(t, "get", "nodes", "--no-headers"); strings.Count(out, " Ready ") != 3 {
		t.Errorf("kubectl get nodes:\n%s", out)
	}
	c.Apply(t, web)
	c.Kubectl(t, "rollout", "status", "deployment/web", "--timeout=90s")
	setAddresses(t, c, "web")
	t.Run("every node translates the address, over both families", func(t *testing.T) { everyNodeTranslates(t, c) })
	t.Run("with the local policy the pod sees the laptop itself", func(t *testing.T) { localPolicy(t, c) })
	t.Run("a pod talks to the API server by its Service", func(t *testing.T) { podReachesAPIServer(t, c) })
	t.Run("the control plane reaches pods by their Service, as for a webhook", func(t *testing.T) { controlPlaneReachesPods(t, c) })
	t.Run("kubectl gets logs out of a pod", func(t *testing.T) {
		if out := c.Kubectl(t, "logs", "deployment/web"); !strings.Contains(out, "listening on :8080") {
			t.Errorf("the pod's log: %q", out)
		}
	})
	t.Run("an image of one static program runs as any image does", func(t *testing.T) { ownImageRuns(t, c) })

	var sum int64
	for _, use := range c.Memory() {
		sum += use.Bytes
	}
	t.Logf("the cluster takes %d MB", sum>>20)
	stopAndLook(t, c, before)
}

// setAddresses does what a load balancer's controller would.
func setAddresses(t *testing.T, c *cluster.Cluster, name string) {
	t.Helper()
	services := c.Client.CoreV1().Services("default")
	service, err := services.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range addresses {
		service.Status.LoadBalancer.Ingress = append(service.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: address})
	}
	if _, err := services.UpdateStatus(t.Context(), service, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// lead makes the laptop send what is for the addresses to a node, as a load balancer's announcement would.
func lead(t *testing.T, c *cluster.Cluster, node *cluster.Machine) {
	t.Helper()
	for _, address := range addresses {
		c.Laptop().Exec(t, "ip", "neigh", "replace", address, "lladdr", node.MAC.String(), "dev", "eth0", "nud", "permanent")
	}
}

func everyNodeTranslates(t *testing.T, c *cluster.Cluster) {
	for _, node := range c.Nodes() {
		lead(t, c, node)
		for _, address := range addresses {
			url := "http://" + net.JoinHostPort(address, "80")
			answer := ""
			cluster.Eventually(t, 20*time.Second, url+" answers by way of "+node.Name, func() bool {
				var err error
				answer, err = c.Laptop().Get(t.Context(), url)
				return err == nil
			})
			if !strings.HasPrefix(answer, "web-") {
				t.Errorf("%s by way of %s: %q", url, node.Name, answer)
			}
		}
	}
	if answers := c.Laptop().ARP(t, addresses[0]); len(answers) != 0 {
		t.Errorf("nothing announces the address, but %v answer", answers)
	}
}

func localPolicy(t *testing.T, c *cluster.Cluster) {
	c.Kubectl(t, "patch", "service", "web", "-p", `{"spec":{"externalTrafficPolicy":"Local"}}`)
	pod := strings.Fields(c.Kubectl(t, "get", "pods", "-l", "app=web", "--no-headers", "-o", "custom-columns=NAME:.metadata.name,NODE:.spec.nodeName"))
	lead(t, c, c.Node(pod[1]))
	answer := ""
	cluster.Eventually(t, 20*time.Second, "the pod sees the laptop's address", func() bool {
		answer, _ = c.Laptop().Get(t.Context(), "http://"+addresses[0])
		return strings.Contains(answer, " sees 192.168.1.50:")
	})
	if !strings.HasPrefix(answer, pod[0]) {
		t.Errorf("another pod than that of the node answers: %q, not %q", answer, pod)
	}
}

func podReachesAPIServer(t *testing.T, c *cluster.Cluster) {
	answer, err := c.Laptop().Get(t.Context(), "http://"+addresses[0]+"/fetch?url=https://10.96.0.1/version")
	if err != nil || !strings.Contains(answer, `"gitVersion"`) {
		t.Errorf("%q, %v", answer, err)
	}
	// Its service account has no rights, and the API server knows who it is.
	_, err = c.Laptop().Get(t.Context(), "http://"+addresses[0]+"/fetch?url=https://10.96.0.1/api/v1/secrets")
	if err == nil || !strings.Contains(err.Error(), "system:serviceaccount:default:default") {
		t.Errorf("secrets for everybody: %v", err)
	}
}

func controlPlaneReachesPods(t *testing.T, c *cluster.Cluster) {
	service, err := c.Client.CoreV1().Services("default").Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range service.Spec.ClusterIPs {
		if answer, err := c.ControlPlane().Get(t.Context(), "http://"+net.JoinHostPort(address, "80")); err != nil || !strings.HasPrefix(answer, "web-") {
			t.Errorf("%s: %q, %v", address, answer, err)
		}
	}
}

func ownImageRuns(t *testing.T, c *cluster.Cluster) {
	const name = "docker.io/library/kubectl:test"
	if err := c.LoadImage(t.Context(), cluster.BinaryImage(c.Assets["kubectl"], "65534:65534", name)); err != nil {
		t.Fatal(err)
	}
	c.Apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: version}
spec:
  restartPolicy: Never
  containers:
  - {name: kubectl, image: %q, imagePullPolicy: Never, args: [version], securityContext: {runAsNonRoot: true, readOnlyRootFilesystem: true}}
`, name))
	c.Kubectl(t, "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/version", "--timeout=60s")
	if out := c.Kubectl(t, "logs", "version"); !strings.Contains(out, "Server Version: v1.") {
		t.Errorf("kubectl version in a pod says %q", out)
	}
}
