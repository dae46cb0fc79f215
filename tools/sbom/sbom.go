// Package sbom writes what a program is made of, in the format of CycloneDX, from what Cargo says: `cargo metadata` for what goes in, Cargo.lock for the sums.
//
// It is ours rather than a tool's because it must be the same each time: no serial number, and the time that the caller names. Only what is linked in
// counts. What the build and the tests need stays out.
package sbom

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

type metadata struct {
	Packages []struct {
		ID, Name, Version, License, Repository string
		Source                                 *string
	}
	Resolve struct {
		Nodes []struct {
			ID   string
			Deps []struct {
				Pkg      string
				DepKinds []struct{ Kind *string } `json:"dep_kinds"`
			}
		}
	}
}

type component struct {
	Type       string      `json:"type"`
	Ref        string      `json:"bom-ref"`
	Name       string      `json:"name"`
	Version    string      `json:"version"`
	Hashes     []hash      `json:"hashes,omitempty"`
	Licenses   []license   `json:"licenses,omitempty"`
	Purl       string      `json:"purl,omitempty"`
	References []reference `json:"externalReferences,omitempty"`
}

type hash struct {
	Alg     string `json:"alg"`
	Content string `json:"content"`
}

type license struct {
	Expression string `json:"expression"`
}

type reference struct {
	Type string `json:"type"`
	URL  string `json:"url"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

// OfCargo is what the package called root is made of. The metadata must be of one platform (`--filter-platform`), else other systems' parts are in it.
func OfCargo(cargoMetadata, cargoLock []byte, root string, created time.Time) ([]byte, error) {
	var from metadata
	if err := json.Unmarshal(cargoMetadata, &from); err != nil {
		return nil, fmt.Errorf("cargo metadata: %w", err)
	}
	sums := checksums(cargoLock)
	all, edges, start := map[string]component{}, map[string][]string{}, ""
	for _, one := range from.Packages {
		made := component{Type: "library", Ref: "pkg:cargo/" + one.Name + "@" + one.Version, Name: one.Name, Version: one.Version}
		made.Purl = made.Ref
		if sum := sums[one.Name+" "+one.Version]; sum != "" {
			made.Hashes = []hash{{"SHA-256", sum}}
		}
		if one.License != "" {
			// Older crates write MIT/Apache-2.0.
			made.Licenses = []license{{strings.ReplaceAll(one.License, "/", " OR ")}}
		}
		if one.Repository != "" {
			made.References = []reference{{"vcs", one.Repository}}
		}
		if one.Name == root && one.Source == nil {
			made.Type, start = "application", one.ID
		}
		all[one.ID] = made
	}
	if start == "" {
		return nil, fmt.Errorf("cargo metadata has no package %s of this repository", root)
	}
	for _, node := range from.Resolve.Nodes {
		for _, dep := range node.Deps {
			for _, kind := range dep.DepKinds {
				if kind.Kind == nil && !slices.Contains(edges[node.ID], dep.Pkg) {
					edges[node.ID] = append(edges[node.ID], dep.Pkg)
				}
			}
		}
	}
	return write(all, edges, start, created)
}

// write follows the edges from the program.
func write(all map[string]component, edges map[string][]string, start string, created time.Time) ([]byte, error) {
	reached, next := map[string]bool{start: true}, []string{start}
	var parts []component
	var dependencies []dependency
	for len(next) > 0 {
		id := next[0]
		next = next[1:]
		if id != start {
			parts = append(parts, all[id])
		}
		of := dependency{Ref: all[id].Ref}
		for _, to := range edges[id] {
			of.DependsOn = append(of.DependsOn, all[to].Ref)
			if !reached[to] {
				reached[to] = true
				next = append(next, to)
			}
		}
		slices.Sort(of.DependsOn)
		dependencies = append(dependencies, of)
	}
	slices.SortFunc(parts, func(a, b component) int { return strings.Compare(a.Ref, b.Ref) })
	slices.SortFunc(dependencies, func(a, b dependency) int { return strings.Compare(a.Ref, b.Ref) })
	return json.MarshalIndent(map[string]any{
		"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
		"metadata":   map[string]any{"timestamp": created.UTC().Format(time.RFC3339), "component": all[start]},
		"components": parts, "dependencies": dependencies,
	}, "", " ")
}

var locked = regexp.MustCompile(`(?m)^name = "([^"]+)"\nversion = "([^"]+)"\nsource = "[^"]+"\nchecksum = "([0-9a-f]{64})"$`)

func checksums(cargoLock []byte) map[string]string {
	sums := map[string]string{}
	for _, match := range locked.FindAllSubmatch(cargoLock, -1) {
		sums[string(match[1])+" "+string(match[2])] = string(match[3])
	}
	return sums
}
