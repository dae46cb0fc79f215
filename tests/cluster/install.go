package cluster

import (
	"context"
	"os"
	"regexp"
	"slices"

	"ferrolb.io/tools/image"
)

// FerroLBImage is always among the names of FerroLB's image.
const FerroLBImage = "docker.io/library/ferrolb:dev"

// Install brings FerroLB into the cluster: its image onto every node, under each name by which the manifests call it, then the manifests.
func (c *Cluster) Install(ctx context.Context, binary string, manifests ...string) error {
	if c.Options.Pods {
		if err := c.LoadFerroLB(ctx, binary, manifests...); err != nil {
			return err
		}
	} else {
		c.Options.Say("FerroLB's manifests are applied, but at the API level nothing runs pods: run its programs yourself")
	}
	for _, manifest := range manifests {
		if _, err := c.kubectl(ctx, "", "apply", "-f", absolute(manifest)); err != nil {
			return err
		}
	}
	return nil
}

// LoadFerroLB brings FerroLB's image onto every node, under each name by which the manifests call it, and applies nothing.
func (c *Cluster) LoadFerroLB(ctx context.Context, binary string, manifests ...string) error {
	names, err := ferrolbImages(manifests)
	if err != nil {
		return err
	}
	made, err := image.FerroLB(map[string]string{"": binary}, names...)
	if err != nil {
		return err
	}
	return c.LoadImage(ctx, made)
}

var imageLine = regexp.MustCompile(`(?m)^\s*(?:- )?image:\s*["']?([^\s"']*ferrolb[^\s"']*)`)

// ferrolbImages are the names of our image in manifests, whole: without a registry it is Docker's that is meant.
func ferrolbImages(manifests []string) ([]string, error) {
	names := []string{FerroLBImage}
	for _, path := range manifests {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for _, match := range imageLine.FindAllSubmatch(content, -1) {
			if name := wholeName(string(match[1])); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

var registry = regexp.MustCompile(`^([^/]*[.:][^/]*|localhost)/`)

func wholeName(name string) string {
	if !registry.MatchString(name) {
		if !regexp.MustCompile(`/`).MatchString(name) {
			name = "library/" + name
		}
		name = "docker.io/" + name
	}
	if !regexp.MustCompile(`:[^/]*$`).MatchString(name) {
		name += ":latest"
	}
	return name
}
