package ferrolb_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"

	cluster "ferrolb.io/tests/cluster"
)

// schema is what a definition says about a value.
type schema struct {
	Type        string
	Format      string
	Description string
	Properties  map[string]schema
	Items       *schema
	Required    []string
	Default     any
	Minimum     *float64
	Maximum     *float64
	Pattern     string
	Enum        []any
	MinLength   *int
	MaxLength   *int
	MaxItems    *int
	Rules       []struct{ Message string } `json:"x-kubernetes-validations"`
}

type column struct{ Name, JSONPath, Type string }

// definition is one version of a kind.
type definition struct {
	Kind, Plural, Singular, Version string
	schema                          schema
	columns                         []column
}

func (d definition) resource() string { return d.Plural + "." + d.Version + ".metallb.io" }

func documents(t testing.TB, path string) []map[string]any {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	var all []map[string]any
	for {
		var one map[string]any
		switch err := decoder.Decode(&one); {
		case err == io.EOF:
			return all
		case err != nil:
			t.Fatalf("%s: %v", path, err)
		case one != nil:
			all = append(all, one)
		}
	}
}

func definitions(t testing.TB) []definition {
	t.Helper()
	var all []definition
	for _, document := range documents(t, root+"deploy/crds.yaml") {
		content, _ := json.Marshal(document["spec"])
		var spec struct {
			Names    struct{ Kind, Plural, Singular string }
			Versions []struct {
				Name    string
				Schema  struct{ OpenAPIV3Schema schema }
				Columns []column `json:"additionalPrinterColumns"`
			}
		}
		if err := json.Unmarshal(content, &spec); err != nil {
			t.Fatal(err)
		}
		for _, version := range spec.Versions {
			all = append(all, definition{spec.Names.Kind, spec.Names.Plural, spec.Names.Singular, version.Name, version.Schema.OpenAPIV3Schema, version.Columns})
		}
	}
	return all
}

// visit calls for every schema below this one, with its path: spec.peers[].
func (s schema) visit(path string, with func(path string, s schema)) {
	with(path, s)
	for _, name := range slices.Sorted(keys(s.Properties)) {
		below := strings.TrimPrefix(path+"."+name, ".")
		if below == "apiVersion" || below == "kind" || below == "metadata" {
			continue
		}
		s.Properties[name].visit(below, with)
	}
	if s.Items != nil {
		s.Items.visit(path+"[]", with)
	}
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for key := range m {
			if !yield(key) {
				return
			}
		}
	}
}

// put copies an object and puts a value at a path, in the first element of lists; nil takes away what is there. It says whether the path exists.
func put(object any, path string, value any) (any, bool) {
	content, _ := json.Marshal(object)
	var copied map[string]any
	_ = json.Unmarshal(content, &copied)
	var place any = copied
	steps := strings.Split(strings.ReplaceAll(path, "[]", ".[]"), ".")
	for number, step := range steps {
		last := number == len(steps)-1
		switch here := place.(type) {
		case map[string]any:
			if _, there := here[step]; !there {
				return nil, false
			}
			if last && value == nil {
				delete(here, step)
			} else if last {
				here[step] = value
			}
			place = here[step]
		case []any:
			if len(here) == 0 {
				return nil, false
			}
			if last {
				here[0] = value
			}
			place = here[0]
		default:
			return nil, false
		}
	}
	return copied, true
}

// breaches are values that a schema refuses, and what its refusal contains.
func (s schema) breaches() map[string]any {
	all := map[string]any{}
	switch s.Type {
	case "string":
		all["must be of type "+cmp.Or(s.Format, "string")] = 7
	case "integer", "boolean", "object", "array":
		all["must be of type "+s.Type] = "nonsense"
	}
	if s.Minimum != nil {
		all["greater than or equal to"] = *s.Minimum - 1
	}
	if s.Maximum != nil {
		all["less than or equal to"] = *s.Maximum + 1
	}
	if s.Enum != nil {
		all["Unsupported value"] = "nonsense"
	}
	if s.Pattern != "" {
		all["should match"] = "!"
	}
	if s.MaxLength != nil {
		all["Too long"] = strings.Repeat("x", *s.MaxLength+1)
	}
	if s.MaxItems != nil {
		all["Too many"] = slices.Repeat([]any{"10.0.0.0/24"}, *s.MaxItems+1)
	}
	return all
}

// api speaks to the API server without kubectl: hundreds of refusals take seconds.
type api struct {
	client *http.Client
	host   string
}

func (a api) send(t testing.TB, method, path, kind string, object any) (int, string) {
	t.Helper()
	body, _ := json.Marshal(object)
	request, err := http.NewRequestWithContext(t.Context(), method, a.host+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", kind)
	response, err := a.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(answer)
}

func (d definition) path() string {
	return "/apis/metallb.io/" + d.Version + "/namespaces/" + namespace + "/" + d.Plural
}

// Every field is stored and read back, every default, limit and rule is met, every column shows what it is of: by a walk through deploy/crds.yaml, so
// that nothing in it can go untried.
func TestEveryFieldRuleAndColumnOfTheDefinitions(t *testing.T) {
	s := prepare(t, cluster.StartAPI(t, cluster.Options{Nodes: 1}))
	// A controller that serves webhooks where its Service leads: peers have two versions, and somebody has to convert.
	s.DeclarePod(t, cluster.Pod{Namespace: namespace, Name: "controller", Labels: map[string]string{"app.kubernetes.io/name": "metallb", "app.kubernetes.io/instance": "metallb", "app.kubernetes.io/component": "controller"}, Node: "node-a"})
	s.controllerOn(t, s.Node("node-a"), "--webhook-mode=onlywebhook")
	s.awaitWebhook(t)
	client, err := rest.HTTPClientFor(s.Admin)
	if err != nil {
		t.Fatal(err)
	}
	a := api{client, s.Admin.Host}
	objects := documents(t, "../testdata/fields/objects.yaml")
	said := strings.Join(s.refusals(t, a), "\n")
	for _, d := range definitions(t) {
		var own []map[string]any
		for _, object := range objects {
			if object["kind"] == d.Kind && object["apiVersion"] == "metallb.io/"+d.Version {
				own = append(own, object)
			}
		}
		t.Run(d.Kind+" "+d.Version, func(t *testing.T) {
			for _, object := range own {
				s.roundTrip(t, d, object)
			}
			d.covered(t, own)
			s.defaults(t, d)
			for _, object := range own {
				d.refused(t, a, object)
			}
			said := said + d.transitions(t, a)
			for _, object := range own {
				s.Kubectl(t, "delete", d.resource(), at(object, "metadata", "name").(string), "-n", namespace)
			}
			d.schema.visit("", func(path string, schema schema) {
				for _, rule := range schema.Rules {
					if !strings.Contains(said, strings.ReplaceAll(rule.Message, `"`, `\"`)) {
						t.Errorf("%s: no case of testdata meets the rule %q", path, rule.Message)
					}
				}
			})
			out := ""
			// What is explained is published a while after the definition.
			cluster.Eventually(t, 20*time.Second, "kubectl explain knows the kind", func() bool {
				explain := []string{s.Assets["kubectl"], "--kubeconfig=" + s.Kubeconfig(), "explain", d.Plural, "--api-version=metallb.io/" + d.Version, "--recursive"}
				out, err = s.Laptop().Output(t.Context(), explain...)
				return err == nil
			})
			d.schema.visit("", func(path string, schema schema) {
				name := strings.TrimSuffix(path[strings.LastIndex(path, ".")+1:], "[]")
				if path != "" && !strings.Contains(out, name+"\t<") {
					t.Errorf("kubectl explain knows no %s", path)
				}
				if path != "" && !strings.HasSuffix(path, "[]") && schema.Description == "" {
					t.Errorf("%s is not described", path)
				}
			})
		})
	}
	t.Run("a peer that visits the other version loses nothing", func(t *testing.T) { s.visits(t, objects) })
}

// refusals are what the API server says to the bad objects of testdata, and to those of testdata/fields.
func (s *system) refusals(t testing.TB, a api) []string {
	t.Helper()
	files, _ := filepath.Glob("../testdata/bad-crd-*.yaml")
	more, _ := filepath.Glob("../testdata/fields/bad-*.yaml")
	var said []string
	for _, file := range append(files, more...) {
		for _, object := range documents(t, file) {
			_, version, _ := strings.Cut(object["apiVersion"].(string), "/")
			for _, d := range definitions(t) {
				if d.Kind != object["kind"] || d.Version != version {
					continue
				}
				code, answer := a.send(t, http.MethodPost, d.path()+"?dryRun=All", "application/json", object)
				if code != http.StatusUnprocessableEntity {
					t.Errorf("%s: not refused by its definition: %d %s", file, code, answer)
				}
				said = append(said, answer)
			}
		}
	}
	return said
}

// covered says which fields none of the objects has.
func (d definition) covered(t testing.TB, objects []map[string]any) {
	t.Helper()
	d.schema.visit("", func(path string, schema schema) {
		if (path == "status" || path == "spec") && len(schema.Properties) == 0 {
			return // nothing can be in it
		}
		there := func(object map[string]any) bool { _, there := put(object, path, "x"); return there }
		if path != "" && !slices.ContainsFunc(objects, there) {
			t.Errorf("no object of testdata/fields has %s", path)
		}
	})
}

// roundTrip creates an object, writes its status, and reads back what was written; its columns show it.
func (s *system) roundTrip(t testing.TB, d definition, object map[string]any) {
	t.Helper()
	name := at(object, "metadata", "name").(string)
	file := filepath.Join(t.TempDir(), "object.json")
	content, _ := json.Marshal(object)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	s.Kubectl(t, "create", "-f", file)
	if status, has := object["status"]; has {
		patch, _ := json.Marshal(map[string]any{"status": status})
		args := []string{"patch", d.resource(), name, "-n", namespace, "--type=merge", "-p", string(patch)}
		s.Kubectl(t, args...)
		if before := s.object(t, d.resource(), name, "-n", namespace); before["status"] != nil {
			t.Errorf("%s: the status is written by who writes the object: %v", name, before["status"])
		}
		s.Kubectl(t, append(args, "--subresource=status")...)
	}
	read := s.object(t, d.resource(), name, "-n", namespace)
	for _, part := range []string{"spec", "status"} {
		want, _ := object[part].(map[string]any)
		got, _ := read[part].(map[string]any)
		for field, value := range want {
			if !reflect.DeepEqual(plain(got[field]), plain(value)) {
				t.Errorf("%s: %s.%s: written %v, read %v", name, part, field, value, got[field])
			}
		}
	}
	out := s.Kubectl(t, "get", d.resource(), name, "-n", namespace, "-o", "wide")
	header, row, _ := strings.Cut(out, "\n")
	for _, column := range d.columns {
		if !strings.Contains(header, strings.ToUpper(column.Name)) {
			t.Errorf("no column %s in %s", column.Name, header)
		}
		var path []any
		for _, step := range strings.Split(strings.TrimPrefix(column.JSONPath, "."), ".") {
			path = append(path, step)
		}
		shown := ""
		switch value := at(read, path...).(type) {
		case nil:
			continue
		case string:
			shown = value
		default:
			text, _ := json.Marshal(value)
			shown = string(text)
		}
		if column.Type != "date" && !strings.Contains(row, shown) {
			t.Errorf("column %s does not show %s: %s", column.Name, shown, row)
		}
	}
	for _, by := range []string{d.Plural, d.Singular, d.Kind} {
		if out := s.Kubectl(t, "get", by, name, "-n", namespace, "-o", "name"); !strings.Contains(out, name) {
			t.Errorf("kubectl get %s: %s", by, out)
		}
	}
}

// plain is a value as JSON has it: every number is a float.
func plain(value any) any {
	content, _ := json.Marshal(value)
	var out any
	_ = json.Unmarshal(content, &out)
	return out
}

// least is what an object has to say at least.
var least = map[string]map[string]any{
	"BGPPeer":       {"myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1"},
	"IPAddressPool": {"addresses": []any{"10.30.0.0/24"}},
}

// defaults are there where nothing is said.
func (s *system) defaults(t testing.TB, d definition) {
	t.Helper()
	if _, has := d.schema.Properties["spec"]; !has {
		return
	}
	spec := least[d.Kind]
	if spec == nil {
		spec = map[string]any{}
	}
	object := map[string]any{"apiVersion": "metallb.io/" + d.Version, "kind": d.Kind, "metadata": map[string]any{"name": "least", "namespace": namespace}, "spec": spec}
	content, _ := json.Marshal(object)
	s.Apply(t, string(content))
	read := s.object(t, d.resource(), "least", "-n", namespace)
	d.schema.visit("", func(path string, schema schema) {
		if schema.Default == nil {
			return
		}
		var steps []any
		for _, step := range strings.Split(path, ".") {
			steps = append(steps, step)
		}
		if got := at(read, steps...); !reflect.DeepEqual(plain(got), plain(schema.Default)) {
			t.Errorf("%s: the default is %v, and there is %v", path, schema.Default, got)
		}
	})
	s.Kubectl(t, "delete", d.resource(), "least", "-n", namespace)
}

// refused breaks every limit of every field that an object has, one at a time.
func (d definition) refused(t testing.TB, a api, object map[string]any) {
	t.Helper()
	tried := 0
	d.schema.visit("", func(path string, schema schema) {
		if path == "" {
			return
		}
		breaches := schema.breaches()
		for said, value := range breaches {
			broken, there := put(object, path, value)
			if !there {
				return
			}
			tried++
			d.isRefused(t, a, broken, path, said)
		}
		for _, field := range schema.Required {
			if broken, there := put(object, path+"."+field, nil); there {
				tried++
				d.isRefused(t, a, broken, path, "Required value")
			}
		}
	})
	if tried == 0 {
		t.Errorf("%s: nothing to refuse", d.Kind)
	}
}

func (d definition) isRefused(t testing.TB, a api, broken any, path, said string) {
	t.Helper()
	code, answer := a.send(t, http.MethodPost, d.path()+"?dryRun=All", "application/json", broken)
	if strings.HasPrefix(path, "status") {
		name := at(broken, "metadata", "name").(string)
		code, answer = a.send(t, http.MethodPatch, d.path()+"/"+name+"/status?dryRun=All", "application/json-patch+json",
			[]any{map[string]any{"op": "add", "path": "/status", "value": at(broken, "status")}})
	}
	if code != http.StatusUnprocessableEntity || !strings.Contains(answer, said) {
		t.Errorf("%s broken: expected %q, but %d %s", path, said, code, answer)
	}
}

// transitions are what is said to changes of what cannot be changed.
func (d definition) transitions(t testing.TB, a api) string {
	t.Helper()
	said := ""
	for _, one := range []struct {
		kind, part, field string
		value             any
	}{
		{"ServiceL2Status", "status", "node", "node-b"}, {"ServiceL2Status", "status", "serviceName", "other"}, {"ServiceL2Status", "status", "serviceNamespace", "other"},
		{"ServiceBGPStatus", "status", "node", "node-b"}, {"ServiceBGPStatus", "status", "serviceName", "other"}, {"ServiceBGPStatus", "status", "serviceNamespace", "other"},
		{"BGPPeer", "spec", "enableGracefulRestart", false},
	} {
		if one.kind != d.Kind || d.Version == "v1beta1" && d.Kind == "BGPPeer" {
			continue
		}
		path := d.path() + "/whole"
		if one.part == "status" {
			path += "/status"
		}
		code, answer := a.send(t, http.MethodPatch, path+"?dryRun=All", "application/merge-patch+json", map[string]any{one.part: map[string]any{one.field: one.value}})
		if code != http.StatusUnprocessableEntity || !strings.Contains(answer, one.field) {
			t.Errorf("%s.%s changes: %d %s", one.part, one.field, code, answer)
		}
		said += answer
	}
	return said
}

// visits reads a peer in its other version, writes it back as it was read, and compares.
func (s *system) visits(t *testing.T, objects []map[string]any) {
	for _, object := range objects {
		if object["kind"] != "BGPPeer" {
			continue
		}
		name := at(object, "metadata", "name").(string)
		version, other := "v1beta1", "v1beta2"
		if object["apiVersion"] == "metallb.io/v1beta2" {
			version, other = other, version
		}
		content, _ := json.Marshal(object)
		s.Apply(t, string(content))
		own, foreign := "bgppeers."+version+".metallb.io", "bgppeers."+other+".metallb.io"
		before := s.object(t, own, name, "-n", namespace)
		visitor := s.object(t, foreign, name, "-n", namespace)
		if at(visitor, "apiVersion") != "metallb.io/"+other || at(visitor, "spec", "myASN") != 64512.0 {
			t.Errorf("%s as %s: %v", name, other, visitor)
		}
		for field, value := range at(before, "spec").(map[string]any) {
			if there := at(visitor, "spec", field); there != nil && !reflect.DeepEqual(there, value) {
				t.Errorf("%s.spec.%s: %v as %s, %v as %s", name, field, value, version, there, other)
			}
		}
		written, _ := json.Marshal(visitor)
		s.replace(t, written)
		after := s.object(t, own, name, "-n", namespace)
		if !reflect.DeepEqual(before["spec"], after["spec"]) {
			t.Errorf("%s after its visit to %s:\nbefore %v\nafter  %v", name, other, before["spec"], after["spec"])
		}
	}
}
