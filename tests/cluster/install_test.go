package cluster

import (
	"os"
	"path/filepath"
	"slices"
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
