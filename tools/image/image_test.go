package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAProgramThatCannotRunIsRefused(t *testing.T) {
	if err := static("/bin/sh", ""); err == nil || !strings.Contains(err.Error(), "dynamic linker") {
		t.Errorf("/bin/sh in an empty image: %v", err)
	}
	for platform, program := range map[string]string{"arm64": "/bin/sh", "amd64": program(t, "arm64", 183)} {
		if _, err := FerroLB(map[string]string{platform: program}); err == nil || !strings.Contains(err.Error(), "not for "+platform) {
			t.Errorf("a program of another machine for %s: %v", platform, err)
		}
	}
	if _, err := FerroLB(map[string]string{"sparc": "/bin/sh"}); err == nil || !strings.Contains(err.Error(), "no such platform") {
		t.Errorf("an unknown platform: %v", err)
	}
}

func TestTheSameFilesGiveTheSameArchive(t *testing.T) {
	image := OfBinary("/bin/sh", "65534", "docker.io/library/sh:1", "docker.io/library/sh:2")
	for _, image.Compress = range []bool{false, true} {
		first, second := write(t, image), write(t, image)
		if len(first) == 0 || !bytes.Equal(first, second) {
			t.Errorf("%d and %d bytes differ", len(first), len(second))
		}
	}
}

// What a reader finds who knows only the standard: by each name an index of all platforms, in it the program, its names, the labels and no clock's time.
func TestAReaderFindsEveryPlatform(t *testing.T) {
	image, err := FerroLB(map[string]string{"amd64": program(t, "amd64", 62), "arm64": program(t, "arm64", 183), "arm/v7": program(t, "armv7", 40)}, "registry/a:v1", "registry/a:latest")
	if err != nil {
		t.Fatal(err)
	}
	image.Labels = map[string]string{"org.opencontainers.image.version": "v1"}
	image.Created, image.Compress = time.Unix(1_700_000_000, 0), true
	blobs := entries(t, write(t, image), image.Created)
	index := read(t, blobs["index.json"])
	if len(index.Manifests) != 2 || index.Manifests[0].Digest != index.Manifests[1].Digest || index.Manifests[1].Annotations["org.opencontainers.image.ref.name"] != "latest" {
		t.Fatalf("%+v", index)
	}
	var platforms []string
	for _, variant := range read(t, blob(t, blobs, index.Manifests[0].Digest)).Manifests {
		platforms = append(platforms, variant.Platform.Architecture+"/"+variant.Platform.Variant)
		manifest := read(t, blob(t, blobs, variant.Digest))
		config := read(t, blob(t, blobs, manifest.Config.Digest))
		if config.Settings.Labels["org.opencontainers.image.version"] != "v1" || config.Architecture != variant.Platform.Architecture || config.Created != "2023-11-14T22:13:20Z" {
			t.Errorf("%+v", config)
		}
		// `kubectl exec … -- ferrolb status` looks the program up.
		if len(config.Settings.Env) != 1 || config.Settings.Env[0] != "PATH=/" {
			t.Errorf("environment: %q", config.Settings.Env)
		}
		packed, err := gzip.NewReader(bytes.NewReader(blob(t, blobs, manifest.Layers[0].Digest)))
		if err != nil {
			t.Fatal(err)
		}
		layer, err := io.ReadAll(packed)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(layer); config.Rootfs.DiffIDs[0] != "sha256:"+hex.EncodeToString(sum[:]) {
			t.Errorf("the layer is not the one that the configuration names: %v", config.Rootfs.DiffIDs)
		}
		files := entries(t, layer, image.Created)
		if string(files["controller"]) != "-> ferrolb" || string(files["speaker"]) != "-> ferrolb" || len(files["ferrolb"]) == 0 {
			t.Errorf("%s has %d files: %q", variant.Platform.Architecture, len(files), files["speaker"])
		}
	}
	if got := strings.Join(platforms, " "); got != "amd64/ arm/v7 arm64/" {
		t.Errorf("platforms: %s", got)
	}
}

type document struct {
	Manifests []struct {
		Digest      string
		Annotations map[string]string
		Platform    ociPlatform
	}
	Config       json.RawMessage
	Layers       []descriptor
	Architecture string
	Created      string
	Rootfs       struct {
		DiffIDs []string `json:"diff_ids"`
	}
}

type whole struct {
	document
	Config   descriptor
	Settings struct {
		Env    []string
		Labels map[string]string
	}
}

// A manifest's `config` is a descriptor, a configuration's is its settings.
func read(t *testing.T, content []byte) (w whole) {
	t.Helper()
	if err := json.Unmarshal(content, &w.document); err != nil {
		t.Fatal(err)
	}
	if len(w.document.Config) > 0 {
		if err := errors.Join(json.Unmarshal(w.document.Config, &w.Config), json.Unmarshal(w.document.Config, &w.Settings)); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// blob is a piece of content, which must be what its name says.
func blob(t *testing.T, blobs map[string][]byte, digest string) []byte {
	t.Helper()
	content := blobs["blobs/sha256/"+strings.TrimPrefix(digest, "sha256:")]
	if sum := sha256.Sum256(content); "sha256:"+hex.EncodeToString(sum[:]) != digest {
		t.Fatalf("%s has other content, %d bytes", digest, len(content))
	}
	return content
}

func entries(t *testing.T, archive []byte, created time.Time) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	for reader := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		if !header.ModTime.Equal(created) || header.Uid != 0 || header.Gid != 0 || header.Uname != "" {
			t.Errorf("%s has the marks of whoever built it: %+v", header.Name, header)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		if header.Linkname != "" {
			content = []byte("-> " + header.Linkname)
		}
		found[header.Name] = content
	}
}

func write(t *testing.T, image Image) []byte {
	t.Helper()
	var archive bytes.Buffer
	if err := image.Write(&archive); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

// program is the smallest thing that says which machine it is for.
func program(t *testing.T, name string, machine byte) string {
	t.Helper()
	header := make([]byte, 64)
	copy(header, "\x7fELF\x02\x01\x01")
	header[16], header[18], header[20], header[52] = 2, machine, 1, 64
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, header, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
