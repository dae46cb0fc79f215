package chart_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var metric = regexp.MustCompile(`\b(?:metallb|ferrolb)_[a-z0-9_]+`)

// measured are the families of the whole text that the program's own tests compare its metrics with.
func measured(t testing.TB) []string {
	t.Helper()
	text, err := os.ReadFile(root + "crates/ferrolb/src/metrics/golden.txt")
	if err != nil {
		t.Fatal(err)
	}
	var families []string
	for _, match := range regexp.MustCompile(`(?m)^# TYPE (\S+) `).FindAllStringSubmatch(string(text), -1) {
		families = append(families, match[1])
	}
	if len(families) < 10 {
		t.Fatalf("%d families", len(families))
	}
	return families
}

func rules(t testing.TB) object {
	t.Helper()
	return find(t, objects(t, render(t, "--values=testdata/everything.yaml")), "PrometheusRule/metallb")
}

func TestPrometheusAcceptsTheRules(t *testing.T) {
	spec, err := yaml.Marshal(rules(t)["spec"])
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(path, spec, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "promtool", "check", "rules", "--lint-fatal", path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "SUCCESS: 12 rules found") {
		t.Errorf("%v: %s", err, out)
	}
}

// The alerts of ours, fed with series as the program writes them.
func TestTheAlertsFireWhenTheyShould(t *testing.T) {
	directory := t.TempDir()
	spec, _ := yaml.Marshal(rules(t)["spec"])
	if err := os.WriteFile(directory+"/rules.yaml", spec, 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/alerts/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(directory+"/alerts.yaml", text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "promtool", "test", "rules", directory+"/alerts.yaml").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "SUCCESS") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestRulesAndDashboardUseOnlyWhatIsMeasured(t *testing.T) {
	spec, _ := yaml.Marshal(rules(t)["spec"])
	dashboard, err := os.ReadFile(chart + "/files/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	families := measured(t)
	for name, text := range map[string]string{"rules": string(spec), "dashboard": string(dashboard)} {
		used := map[string]bool{}
		for _, one := range metric.FindAllString(text, -1) {
			used[one] = true
		}
		if len(used) < 4 {
			t.Errorf("%s: only %d metrics", name, len(used))
		}
		for _, one := range slices.Sorted(maps.Keys(used)) {
			if !slices.Contains(families, one) {
				t.Errorf("%s: nothing writes %s", name, one)
			}
		}
	}
}

func TestTheBooksPageOfMetricsHasThemAll(t *testing.T) {
	text, err := os.ReadFile(book + "metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	named := metric.FindAllString(string(text), -1)
	for _, family := range measured(t) {
		if !slices.Contains(named, family) {
			t.Errorf("%s is not on the page", family)
		}
	}
	for _, one := range named {
		if !slices.Contains(measured(t), one) {
			t.Errorf("nothing writes %s", one)
		}
	}
}

func TestTheDashboardIsWhatGrafanaReads(t *testing.T) {
	text, err := os.ReadFile(chart + "/files/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard map[string]any
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	seen := map[any]bool{}
	panels, _ := dashboard["panels"].([]any)
	for _, panel := range panels {
		if seen[at(panel, "id")] || at(panel, "title") == "" || at(panel, "datasource", "uid") != "${datasource}" {
			t.Errorf("panel %v %v", at(panel, "id"), at(panel, "title"))
		}
		seen[at(panel, "id")] = true
		for _, target := range at(panel, "targets").([]any) {
			expression := fmt.Sprint(at(target, "expr"))
			// Parsed as a rule: Grafana's own words stand in for nothing.
			expression = strings.NewReplacer("$__rate_interval", "5m", "$job", "metallb").Replace(expression)
			rule := fmt.Sprintf("groups: [{name: one, rules: [{record: one, expr: %q}]}]\n", expression)
			path := filepath.Join(t.TempDir(), "rule.yaml")
			if err := os.WriteFile(path, []byte(rule), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.CommandContext(t.Context(), "promtool", "check", "rules", path).CombinedOutput(); err != nil {
				t.Errorf("%v: %s: %s", at(panel, "title"), expression, out)
			}
		}
	}
	if len(panels) < 24 {
		t.Errorf("%d panels", len(panels))
	}
	for _, family := range []string{"metallb_bgp_session_up", "metallb_bgp_announced_prefixes_total", "metallb_bfd_session_up", "metallb_layer2_takeovers_total"} {
		if !strings.Contains(string(text), family) {
			t.Errorf("no panel shows %s", family)
		}
	}
	// What Helm puts into the ConfigMap is the file.
	config := find(t, objects(t, render(t, "--values=testdata/everything.yaml")), "ConfigMap/metallb-dashboard")
	if got, _ := at(config, "data", "metallb.json").(string); strings.TrimSpace(got) != strings.TrimSpace(string(text)) {
		t.Error("the ConfigMap has something else")
	}
}

// Kubernetes' own schemas, the oldest supported version, the first user's, and the newest that there are schemas of.
func TestObjectsFitKubernetesSchemas(t *testing.T) {
	validate := os.Getenv("KUBERNETES_VALIDATE")
	if validate == "" {
		t.Fatal("KUBERNETES_VALIDATE does not say where kubernetes-validate is: run scripts/chart")
	}
	for _, version := range []string{oldest, "1.32.0", newest} {
		directory := t.TempDir()
		args := []string{"--kubernetes-version=" + strings.TrimSuffix(version, ".0"), "--strict"}
		wanted := 0
		for name, values := range every(t) {
			out, complaint, err := helm(t, helms(t)["HELM3"], template(version, values...)...)
			if err != nil {
				t.Fatal(complaint)
			}
			for _, one := range objects(t, out) {
				if !strings.HasPrefix(fmt.Sprint(one["apiVersion"]), "monitoring.coreos.com/") {
					wanted++
				}
			}
			path := filepath.Join(directory, strings.ReplaceAll(name, " ", "-")+".yaml")
			if err := os.WriteFile(path, []byte(out), 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, path)
		}
		out, err := exec.CommandContext(t.Context(), validate, args...).CombinedOutput()
		passed := strings.Count(string(out), " passed for resource ")
		if err != nil || strings.Contains(string(out), "ERROR") || passed != wanted {
			t.Errorf("Kubernetes %s: %v: %d of %d objects passed:\n%s", version, err, passed, wanted, out)
		}
	}
}
