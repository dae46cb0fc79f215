package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ArgoCD is a running Argo CD: its application controller, its repository server and the Redis between them, on the control plane's host.
type ArgoCD struct {
	Controller, RepoServer, Redis *Process
}

var argoPrograms = []string{"argocd-application-controller", "argocd-repo-server"}

const argoObjects = `
apiVersion: v1
kind: ConfigMap
metadata: {name: argocd-cmd-params-cm, namespace: argocd, labels: {app.kubernetes.io/part-of: argocd}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: argocd-rbac-cm, namespace: argocd, labels: {app.kubernetes.io/part-of: argocd}}
---
apiVersion: v1
kind: Secret
metadata: {name: argocd-secret, namespace: argocd, labels: {app.kubernetes.io/part-of: argocd}}
stringData: {server.secretkey: "only for a test"}
---
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: default, namespace: argocd}
spec: {sourceRepos: ["*"], destinations: [{namespace: "*", server: "*"}], clusterResourceWhitelist: [{group: "*", kind: "*"}]}
`

// StartArgoCD installs Argo CD and starts it until the test ends. The configuration is a manifest with the ConfigMap argocd-cm; helm is the Helm 3
// that renders charts.
func (c *Cluster) StartArgoCD(t testing.TB, configuration, helm string) *ArgoCD {
	t.Helper()
	dir, err := buildOnce(t.Context(), "argocd", "argocd", argoPrograms, "-s -w", func() { t.Log("building Argo CD: once, 2 to 10 minutes") })
	if err != nil {
		t.Fatal(err)
	}
	definitions, err := argoDefinitions(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	c.Kubectl(t, "create", "namespace", "argocd")
	for _, file := range definitions {
		// Too large for the annotation that apply writes.
		c.Kubectl(t, "create", "-f", file)
	}
	c.ApplyFile(t, configuration)
	Eventually(t, 30*time.Second, "Argo CD's kinds are served", func() bool {
		_, err := c.kubectl(t.Context(), argoObjects, "apply", "-f", "-")
		return err == nil
	})
	work := c.file("argocd")
	if err := os.MkdirAll(work, 0o755); err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=" + filepath.Dir(helm) + ":" + searchPath(), "TMPDIR=" + work, "HOME=" + work, "ARGOCD_GPG_ENABLED=false", "ARGOCD_FAKE_IN_CLUSTER=true", "KUBECONFIG=" + c.Kubeconfig()}
	host := c.ControlPlane()
	run := func(path string, args ...string) *Process {
		return host.Run(t, Program{Path: path, Args: args, Env: env})
	}
	const redis, repositories = "127.0.0.1:6379", "127.0.0.1:8081"
	argo := &ArgoCD{Redis: run(command("redis-server").Path, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")}
	argo.RepoServer = run(filepath.Join(dir, argoPrograms[1]), "--redis", redis, "--disable-tls")
	Eventually(t, time.Minute, "Argo CD's repository server listens", func() bool {
		conn, err := host.Dial(t.Context(), "tcp", repositories)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	argo.Controller = run(filepath.Join(dir, argoPrograms[0]), "--redis", redis, "--repo-server", repositories, "--repo-server-plaintext",
		"--namespace", "argocd", "--app-resync", "10", "--kubeconfig", c.Kubeconfig())
	return argo
}

// argoDefinitions are the definitions of Argo CD's kinds, which its module has beside the code.
func argoDefinitions(ctx context.Context, dir string) ([]string, error) {
	var files []string
	for _, kind := range []string{"application", "appproject"} {
		files = append(files, filepath.Join(dir, kind+"-crd.yaml"))
	}
	if _, err := os.Stat(files[len(files)-1]); err == nil {
		return files, nil
	}
	module, err := source("argocd")
	if err != nil {
		return nil, err
	}
	const name = "github.com/argoproj/argo-cd/v3"
	where := ""
	for _, args := range [][]string{{"mod", "download", name}, {"list", "-m", "-f", "{{.Dir}}", name}} {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir = module
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
		}
		where = strings.TrimSpace(string(out))
	}
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(where, "manifests", "crds", filepath.Base(file)))
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// Serve serves a folder by HTTP on the machine's own loopback until the test ends, and returns the address.
func (m *Machine) Serve(t testing.TB, folder string) string {
	t.Helper()
	var listener net.Listener
	if err := m.InNetwork(func() (err error) {
		listener, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.FileServer(http.Dir(folder)), ReadHeaderTimeout: time.Second}
	t.Cleanup(func() { _ = server.Close() })
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			t.Log(err)
		}
	}()
	return "http://" + listener.Addr().String()
}
