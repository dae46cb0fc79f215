// Package chart_test tries the chart with real Helm, and keeps what is made from it up to date: the values schema, the README's table, the manifests in
// deploy/. UPDATE_SNAPSHOTS=1 writes those files anew.
package chart_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const (
	root  = "../../"
	chart = root + "charts/metallb"
)

// value is an entry of values.yaml: what it is by default, what is said of it, and what is in it.
type value struct {
	path, about string
	// kind is a type of JSON schema, or several, separated by |; open values are objects in which anything may be.
	kind       string
	open, null bool
	choice     []string
	// most is the largest number, 0 for any; of is what is in a list or an open object; empty values of other types are taken too.
	least, most int
	of          string
	empty       bool
	standard    any
	inside      []value
}

var (
	said   = regexp.MustCompile(`(?m)^# -- (?:\(([\w|]+)\) )?(.*)$`)
	choice = regexp.MustCompile(`(?m)^# @enum (.*)$`)
	limits = regexp.MustCompile(`(?m)^# @range (\d+) (\d+)$`)
	inner  = regexp.MustCompile(`(?m)^# @of (\w+)$`)
	orNone = regexp.MustCompile(`(?m)^# @or empty$`)
)

func readValues(t testing.TB) []value {
	t.Helper()
	text, err := os.ReadFile(chart + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	return valuesIn(t, "", document.Content[0])
}

func valuesIn(t testing.TB, prefix string, node *yaml.Node) []value {
	t.Helper()
	var found []value
	for i := 0; i < len(node.Content); i += 2 {
		key, content := node.Content[i], node.Content[i+1]
		v := value{path: strings.TrimPrefix(prefix+"."+key.Value, ".")}
		asked := ""
		if match := said.FindStringSubmatch(key.HeadComment); match != nil {
			asked, v.about = match[1], match[2]
		}
		if match := choice.FindStringSubmatch(key.HeadComment); match != nil {
			v.choice = strings.Split(match[1], ", ")
		}
		if match := limits.FindStringSubmatch(key.HeadComment); match != nil {
			v.least, _ = strconv.Atoi(match[1])
			v.most, _ = strconv.Atoi(match[2])
		}
		if match := inner.FindStringSubmatch(key.HeadComment); match != nil {
			v.of = match[1]
		}
		v.empty = orNone.MatchString(key.HeadComment)
		if err := content.Decode(&v.standard); err != nil {
			t.Fatal(err)
		}
		v.kind = map[string]string{"!!bool": "boolean", "!!int": "integer", "!!str": "string", "!!seq": "array", "!!map": "object"}[content.Tag]
		v.null = content.Tag == "!!null"
		if asked != "" {
			v.kind = asked
		}
		if v.kind == "" {
			t.Errorf("%s: of what type is it? write # -- (string) or the like", v.path)
		}
		v.open = v.kind == "object" && (asked != "" || len(content.Content) == 0)
		if v.kind == "object" && !v.open {
			v.inside = valuesIn(t, v.path, content)
		} else if v.about == "" {
			t.Errorf("%s: nothing is said of it", v.path)
		}
		found = append(found, v)
	}
	return found
}

func (v value) name() string { return v.path[strings.LastIndex(v.path, ".")+1:] }

// within is the schema of what is in lists and open objects.
var within = map[string]any{
	"text":   map[string]any{"type": []string{"string", "boolean", "number", "null"}},
	"string": map[string]any{"type": "string"},
	"object": map[string]any{"type": "object"},
	"threshold": map[string]any{
		"type": "object", "required": []string{"percent"},
		"properties": map[string]any{
			"percent": map[string]any{"type": "integer", "minimum": 0, "maximum": 100},
			"labels":  map[string]any{"type": "object", "additionalProperties": map[string]any{"type": []string{"string", "boolean", "number", "null"}}},
		},
	},
}

// schema is the type of a value: what would be refused later, by the API server, is refused here, with its name. Unknown values are not refused, because
// whoever comes from MetalLB's chart brings some.
func (v value) schema() map[string]any {
	kinds := strings.Split(v.kind, "|")
	if v.null {
		kinds = append(kinds, "null")
	}
	s := map[string]any{"type": kinds}
	if len(kinds) == 1 {
		s["type"] = v.kind
	}
	if v.about != "" {
		s["description"] = v.about
	}
	if v.choice != nil {
		choice := []any{}
		for _, one := range v.choice {
			choice = append(choice, one)
		}
		if v.null {
			choice = append(choice, nil)
		}
		s["enum"] = choice
	}
	if v.most > 0 {
		s["minimum"], s["maximum"] = v.least, v.most
		if slices.Contains(kinds, "string") {
			s["pattern"] = "^[0-9]+$"
		}
	}
	if contents := within[v.of]; contents != nil && v.kind == "array" {
		s["items"] = contents
	} else if contents != nil {
		s["additionalProperties"] = contents
	}
	if v.inside != nil {
		s["properties"] = properties(v.inside)
	}
	if !v.empty {
		return s
	}
	full := map[string]any{"type": []string{v.kind, "null"}}
	if contents := s["additionalProperties"]; contents != nil {
		full["additionalProperties"] = contents
	}
	return map[string]any{"description": v.about, "anyOf": []any{full, map[string]any{"enum": []any{"", false, []any{}}}}}
}

func properties(values []value) map[string]any {
	all := map[string]any{}
	for _, v := range values {
		all[v.name()] = v.schema()
	}
	return all
}

// known are all paths, for the chart itself to compare with; in those that end in .* anything may be.
func known(values []value) []string {
	var all []string
	for _, v := range values {
		if v.open {
			all = append(all, v.path+".*")
		} else {
			all = append(all, v.path)
		}
		all = append(all, known(v.inside)...)
	}
	return all
}

func table(values []value, to *strings.Builder) {
	for _, v := range values {
		if v.inside != nil {
			table(v.inside, to)
			continue
		}
		standard, _ := json.Marshal(v.standard)
		fmt.Fprintf(to, "| `%s` | %s | `%s` | %s |\n", v.path, strings.ReplaceAll(v.kind, "|", " or "), standard, strings.ReplaceAll(v.about, "|", "\\|"))
	}
}

// same compares a file with what it should be, or writes it.
func same(t testing.TB, path, wanted string) {
	t.Helper()
	if os.Getenv("UPDATE_SNAPSHOTS") != "" {
		if err := os.WriteFile(path, []byte(wanted), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	found, _ := os.ReadFile(path)
	if string(found) != wanted {
		t.Errorf("%s is not up to date: run UPDATE_SNAPSHOTS=1 scripts/chart and look at the difference", strings.TrimPrefix(path, root))
	}
}

func TestTheSchemaIsMadeFromTheValues(t *testing.T) {
	schema := map[string]any{
		"$schema":    "http://json-schema.org/draft-07/schema#",
		"title":      "Values of FerroLB's chart",
		"type":       "object",
		"properties": properties(readValues(t)),
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(schema); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text.String(), `"additionalProperties": false`) {
		t.Error("the schema would refuse values that people have")
	}
	same(t, chart+"/values.schema.json", text.String())
}

func TestTheChartKnowsItsValues(t *testing.T) {
	text := `{{/* All values, made from values.yaml. */}}` + "\n" + `{{- define "metallb.known" -}}` + "\n" +
		strings.Join(known(readValues(t)), "\n") + "\n{{- end }}\n"
	file, err := os.ReadFile(chart + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var bare strings.Builder
	for _, line := range strings.Split(string(file), "\n") {
		if trimmed := strings.TrimSpace(line); trimmed != "" && !strings.HasPrefix(trimmed, "#") {
			bare.WriteString(line + "\n")
		}
	}
	text += "\n{{/* What they are by default, made from values.yaml. */}}\n" + `{{- define "metallb.defaults" -}}` + "\n" + bare.String() + "{{- end }}\n"
	same(t, chart+"/templates/_known.tpl", text)
}

// `ferrolb lint` reads values without the chart, from a list of its own.
func TestLintKnowsEveryValueOfTheChart(t *testing.T) {
	text, err := os.ReadFile(root + "crates/ferrolb-rules/src/values/known.rs")
	if err != nil {
		t.Fatal(err)
	}
	lint := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^    "([^"]+)",$`).FindAllStringSubmatch(string(text), -1) {
		lint[match[1]] = true
	}
	for _, path := range known(readValues(t)) {
		if strings.HasSuffix(path, ".*") && (path == "frrk8s.*" || path == "speaker.frr.*") {
			// Their parts are listed one by one there.
			continue
		}
		path = strings.TrimSuffix(path, ".*")
		covered := false
		for at := path; at != ""; at = at[:max(0, strings.LastIndexByte(at, '.'))] {
			covered = covered || lint[at]
		}
		for one := range lint {
			covered = covered || strings.HasPrefix(one, path+".")
		}
		if !covered {
			t.Errorf("known.rs does not have %s", path)
		}
	}
}

func TestTheReadmeListsEveryValue(t *testing.T) {
	const begin, end = "<!-- values -->\n", "<!-- end of values -->\n"
	text, err := os.ReadFile(chart + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(text), begin)
	_, after, ok := strings.Cut(rest, end)
	if !ok {
		t.Fatal("README.md has no place for the table")
	}
	var rows strings.Builder
	table(readValues(t), &rows)
	same(t, chart+"/README.md", before+begin+"\n| value | type | default | what it does |\n|---|---|---|---|\n"+rows.String()+"\n"+end+after)
}

func TestTheDefinitionsInTheChartAreThoseInDeploy(t *testing.T) {
	text, err := os.ReadFile(root + "deploy/crds.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const inDeploy, inChart = "namespace: metallb-system", "namespace: {{ .Values.namespace | default .Release.Namespace }}"
	if count := strings.Count(string(text), inDeploy); count != 1 {
		t.Errorf("the namespace of the webhook stands there %d times", count)
	}
	if strings.Contains(string(text), "{{") {
		t.Error("deploy/crds.yaml has what a template would read")
	}
	same(t, chart+"/charts/crds/templates/crds.yaml", strings.Replace(string(text), inDeploy, inChart, 1))
}
