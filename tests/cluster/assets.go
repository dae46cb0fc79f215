package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// Kubernetes is the version that tests/cluster/kube builds.
const Kubernetes = "v1.36.3"

var (
	apiPrograms  = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kubectl"}
	nodePrograms = append([]string{"kube-scheduler", "kubelet", "kube-proxy"}, apiPrograms...)
)

// Assets says where the programs of Kubernetes are.
type Assets map[string]string

// FindAssets looks in KUBEBUILDER_ASSETS, then in PATH, and takes a place only if it has all that is needed; else it builds them, once.
// Progress that takes minutes is said through say.
func FindAssets(ctx context.Context, pods bool, say func(format string, args ...any)) (Assets, error) {
	programs := apiPrograms
	if pods {
		programs = nodePrograms
	}
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		assets, missing := assetsIn(programs, func(name string) (string, error) {
			path := filepath.Join(dir, name)
			_, err := os.Stat(path)
			return path, err
		})
		if missing == nil {
			return assets, nil
		}
		say("KUBEBUILDER_ASSETS=%s lacks %s; looking elsewhere", dir, strings.Join(missing, ", "))
	}
	if assets, missing := assetsIn(programs, exec.LookPath); missing == nil {
		return assets, nil
	}
	dir, err := buildAssets(ctx, say)
	if err != nil {
		return nil, fmt.Errorf("building Kubernetes: %w", err)
	}
	assets, _ := assetsIn(programs, func(name string) (string, error) { return filepath.Join(dir, name), nil })
	return assets, nil
}

func assetsIn(programs []string, find func(string) (string, error)) (assets Assets, missing []string) {
	assets = Assets{}
	for _, name := range programs {
		path, err := find(name)
		if err != nil {
			missing = append(missing, name)
		}
		assets[name] = path
	}
	return assets, missing
}

// source is a folder of this module. The module is always built where its sources are.
func source(name string) (string, error) {
	_, file, _, _ := runtime.Caller(0)
	path := filepath.Join(filepath.Dir(file), name)
	if _, err := os.Stat(path); err != nil {
		return "", errors.New("the sources of the test cluster are not where they were when it was compiled (compile it without -trimpath)")
	}
	return path, nil
}

// cacheDir is outside the repository, so that `cargo clean` or a second checkout does not cost the build again.
func cacheDir(what string, sources ...string) (string, error) {
	hash := sha256.New()
	for _, path := range sources {
		content, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		hash.Write(content)
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, "ferrolb", what+"-"+hex.EncodeToString(hash.Sum(nil))[:12])
	return dir, os.MkdirAll(dir, 0o755)
}

func buildAssets(ctx context.Context, say func(string, ...any)) (string, error) {
	return buildOnce(ctx, "kube", "kubernetes", nodePrograms, stamp(), func() { say("building Kubernetes %s: once, 4 to 15 minutes", Kubernetes) })
}

// buildOnce builds one of the modules that are several programs in one, or finds it built, as this file, and returns the folder where they are by their names.
func buildOnce(ctx context.Context, name, as string, programs []string, ldflags string, warn func()) (string, error) {
	module, err := source(name)
	if err != nil {
		return "", err
	}
	dir, err := cacheDir(name, filepath.Join(module, "go.sum"), filepath.Join(module, "main.go"))
	if err != nil {
		return "", err
	}
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	binary := filepath.Join(dir, as)
	if _, err := os.Stat(binary); err == nil {
		return dir, nil
	}
	warn()
	return dir, goBuild(ctx, module, binary, ldflags, programs...)
}

// stamp tells the programs which version they are; kubectl cannot talk to a server that does not know.
func stamp() string {
	flags := "-s -w"
	for _, in := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags += fmt.Sprintf(" -X %s.gitVersion=%s -X %[1]s.gitMajor=1 -X %[1]s.gitMinor=36 -X %[1]s.gitTreeState=clean", in, Kubernetes)
	}
	return flags
}

// goBuild builds a static program. The names that it acts by are made before it appears, so that it never stands there half done.
func goBuild(ctx context.Context, module, binary, ldflags string, names ...string) error {
	goTool, err := exec.LookPath("go")
	if err != nil {
		return errors.New("Go is missing; install Go 1.26 or newer from https://go.dev/dl")
	}
	half := binary + ".half"
	cmd := exec.CommandContext(ctx, goTool, "build", "-trimpath", "-ldflags", ldflags, "-o", half, ".")
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build in %s: %w\n%s", module, err, out)
	}
	for _, name := range names {
		link := filepath.Join(filepath.Dir(binary), name)
		_ = os.Remove(link)
		if err := os.Symlink(filepath.Base(binary), link); err != nil {
			return err
		}
	}
	return os.Rename(half, binary)
}

// lock waits until no other process has the lock. The kernel gives it back if its owner dies.
func lock(path string) (unlock func(), err error) {
	for {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
			file.Close()
			return nil, err
		}
		// While we waited, the file may have been removed: then others lock another one of that name.
		ours, err := file.Stat()
		if named, now := os.Stat(path); err == nil && now == nil && os.SameFile(ours, named) {
			return func() { file.Close() }, nil
		}
		file.Close()
	}
}
