package cluster

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFerroLBsImageHasEveryNameByWhichTheManifestsCallIt(t *testing.T) {
	manifest := filepath.Join(t.TempDir(), "metallb.yaml")
	content := "  image: ghcr.io/x/ferrolb:v1\n  - image: \"ferrolb\"\n image: quay.io/metallb/controller:v0.16.1\n  image: registry:5000/a/ferrolb\n"
	if err := os.WriteFile(manifest, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	names, err := ferrolbImages([]string{manifest})
	want := []string{FerroLBImage, "ghcr.io/x/ferrolb:v1", "docker.io/library/ferrolb:latest", "registry:5000/a/ferrolb:latest"}
	if err != nil || !slices.Equal(names, want) {
		t.Errorf("%q, %v; not %q", names, err, want)
	}
}

func TestAProgramThatNeedsADynamicLinkerIsRefused(t *testing.T) {
	if err := static("/bin/sh"); err == nil || !strings.Contains(err.Error(), "dynamic linker") {
		t.Errorf("/bin/sh in an empty image: %v", err)
	}
}

func TestTheSameFilesGiveTheSameArchive(t *testing.T) {
	image := BinaryImage("/bin/sh", "65534", "docker.io/library/sh:1", "docker.io/library/sh:2")
	var first, second bytes.Buffer
	for _, archive := range []*bytes.Buffer{&first, &second} {
		if err := image.Write(archive); err != nil {
			t.Fatal(err)
		}
	}
	if first.Len() == 0 || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("%d and %d bytes differ", first.Len(), second.Len())
	}
}
