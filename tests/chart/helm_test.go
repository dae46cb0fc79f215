package chart_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The oldest and the newest Kubernetes that the chart is for.
const (
	oldest = "1.31.0"
	newest = "1.37.0"
)

// helms are the programs to try: HELM3 and HELM4, which scripts/chart sets.
func helms(t testing.TB) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, name := range []string{"HELM3", "HELM4"} {
		path := os.Getenv(name)
		if path == "" {
			t.Fatalf("%s does not say where Helm is: run scripts/chart", name)
		}
		found[name] = path
	}
	return found
}

// helm runs Helm with nothing of the user's own.
func helm(t testing.TB, program string, args ...string) (out, complaint string, err error) {
	t.Helper()
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+home+"/none", "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	return stdout.String(), stderr.String(), err
}

func template(kubernetes string, values ...string) []string {
	return append([]string{"template", "metallb", chart, "--namespace=metallb-system", "--kube-version=" + kubernetes}, values...)
}

// render is what Helm makes of the chart.
func render(t testing.TB, values ...string) string {
	t.Helper()
	out, complaint, err := helm(t, helms(t)["HELM3"], template(newest, values...)...)
	if err != nil {
		t.Fatalf("%v: %s", err, complaint)
	}
	return out
}

// refused is why Helm renders nothing.
func refused(t testing.TB, values ...string) string {
	t.Helper()
	out, complaint, err := helm(t, helms(t)["HELM3"], template(newest, values...)...)
	if err == nil || out != "" {
		t.Fatalf("%v should be refused, but rendered %d bytes", values, len(out))
	}
	return complaint
}

type object map[string]any

func objects(t testing.TB, text string) []object {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(text))
	var all []object
	for {
		var one object
		err := decoder.Decode(&one)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if one != nil {
			all = append(all, one)
		}
	}
}

// at is what an object has at a path; nil where it has nothing there.
func at(from any, path ...any) any {
	for _, step := range path {
		switch key := step.(type) {
		case string:
			switch fields := from.(type) {
			case object:
				from = fields[key]
			case map[string]any:
				from = fields[key]
			default:
				return nil
			}
		case int:
			list, _ := from.([]any)
			if key >= len(list) {
				return nil
			}
			from = list[key]
		}
	}
	return from
}

func (o object) title() string { return fmt.Sprintf("%v/%v", o["kind"], at(o, "metadata", "name")) }

func find(t testing.TB, all []object, title string) object {
	t.Helper()
	for _, one := range all {
		if one.title() == title {
			return one
		}
	}
	t.Fatalf("there is no %s", title)
	return nil
}

// container is the first container of a workload.
func container(t testing.TB, all []object, title string) any {
	t.Helper()
	return at(find(t, all, title), "spec", "template", "spec", "containers", 0)
}

// strings in a list.
func words(list any) []string {
	var all []string
	entries, _ := list.([]any)
	for _, entry := range entries {
		all = append(all, fmt.Sprint(entry))
	}
	return all
}

// valuesOf are what a manifest of a GitOps tool says: an Application of Argo CD, a HelmRelease of Flux, a HelmChart of k3s.
func valuesOf(t testing.TB, manifest string) string {
	t.Helper()
	text, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	values := ""
	for _, one := range objects(t, string(text)) {
		switch one["kind"] {
		case "Application":
			values, _ = at(one, "spec", "source", "helm", "values").(string)
		case "HelmChart":
			values, _ = at(one, "spec", "valuesContent").(string)
		case "HelmRelease":
			text, err := yaml.Marshal(at(one, "spec", "values"))
			if err != nil {
				t.Fatal(err)
			}
			values = string(text)
		}
	}
	path := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(path, []byte(values), 0o600); err != nil || values == "" {
		t.Fatalf("%s has no values: %v", manifest, err)
	}
	return path
}

const (
	examples         = root + "examples/gitops/"
	usersApplication = examples + "apps/workloads/metallb/app.yaml"
)

// every is each set of values that is tried: nothing, MetalLB's own defaults, the first user's, and each documented example.
func every(t testing.TB) map[string][]string {
	t.Helper()
	all := map[string][]string{
		"defaults":         nil,
		"the first user's": {"--values=" + valuesOf(t, usersApplication)},
		"Flux":             {"--values=" + valuesOf(t, examples+"../variants/flux/metallb.yaml")},
		"k3s":              {"--values=" + valuesOf(t, examples+"../variants/k3s/metallb.yaml")},
	}
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d files of values: %v", len(files), err)
	}
	for _, file := range files {
		all[strings.TrimSuffix(filepath.Base(file), ".yaml")] = []string{"--values=" + file}
	}
	return all
}
