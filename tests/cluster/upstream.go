package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Upstream is a release of MetalLB, built here from its own sources.
type Upstream struct {
	Version string
	// Manifest installs it in native mode, as its documentation says.
	Manifest string
	// Chart is the folder of its own chart.
	Chart    string
	programs string
}

// upstreamPrograms are the two that native mode runs. Each has an image of its own.
var upstreamPrograms = []string{"controller", "speaker"}

// UpstreamMetalLB builds a release ("v0.14.8"), once, or finds it built.
func UpstreamMetalLB(ctx context.Context, version string, say func(format string, args ...any)) (Upstream, error) {
	sources, err := moduleSources(ctx, "go.universe.tf/metallb@"+version)
	if err != nil {
		return Upstream{}, err
	}
	dir, err := cacheDir("metallb-" + version)
	if err != nil {
		return Upstream{}, err
	}
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return Upstream{}, err
	}
	defer unlock()
	made := Upstream{
		Version: version, Manifest: filepath.Join(sources, "config", "manifests", "metallb-native.yaml"),
		Chart: filepath.Join(sources, "charts", "metallb"), programs: dir,
	}
	for _, program := range upstreamPrograms {
		binary := filepath.Join(dir, program)
		if _, err := os.Stat(binary); err == nil {
			continue
		}
		say("building MetalLB %s's %s: once, a minute or two", version, program)
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary+".half", "./"+program)
		cmd.Dir = sources
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
		if out, err := cmd.CombinedOutput(); err != nil {
			return Upstream{}, fmt.Errorf("building MetalLB %s's %s: %w\n%s", version, program, err, out)
		}
		if err := os.Rename(binary+".half", binary); err != nil {
			return Upstream{}, err
		}
	}
	return made, nil
}

// moduleSources is where the Go tool keeps the sources of a module.
func moduleSources(ctx context.Context, module string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "mod", "download", "-json", module).Output()
	var answer struct{ Dir, Error string }
	if parsed := json.Unmarshal(out, &answer); parsed != nil {
		return "", fmt.Errorf("go mod download %s: %w", module, errors.Join(err, parsed))
	}
	if answer.Error != "" {
		return "", fmt.Errorf("go mod download %s: %s", module, answer.Error)
	}
	return answer.Dir, nil
}

// LoadUpstream puts its images on every node, under the names by which its manifest calls them.
func (c *Cluster) LoadUpstream(ctx context.Context, upstream Upstream) error {
	for _, program := range upstreamPrograms {
		name := fmt.Sprintf("quay.io/metallb/%s:%s", program, upstream.Version)
		if err := c.LoadImage(ctx, BinaryImage(filepath.Join(upstream.programs, program), "", name)); err != nil {
			return err
		}
	}
	return nil
}
