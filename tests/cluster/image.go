package cluster

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Image is a container image on an empty base. The same files give the same archive, byte by byte.
type Image struct {
	// Names are full names: docker.io/library/NAME:TAG.
	Names []string
	// Files are what is in it: places in the image, and the files of this host that come there.
	Files map[string]string
	// Links are further places, and what each points to.
	Links      map[string]string
	Entrypoint []string
	// User is who runs it, by number: 65534, or 65534:65534. Empty is root.
	User string
}

// BinaryImage is an image of one static program.
func BinaryImage(binary, user string, names ...string) Image {
	place := "/" + filepath.Base(binary)
	return Image{Names: names, Files: map[string]string{place: binary}, Entrypoint: []string{place}, User: user}
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Write writes the image as an archive in the OCI layout, which containerd, Podman and Docker load.
func (i Image) Write(to io.Writer) error {
	archive := tar.NewWriter(to)
	if err := addFile(archive, "oci-layout", 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
		return err
	}
	blob := func(kind string, content []byte) (descriptor, error) {
		sum := sha256.Sum256(content)
		digest := hex.EncodeToString(sum[:])
		d := descriptor{MediaType: "application/vnd.oci.image." + kind, Digest: "sha256:" + digest, Size: len(content)}
		return d, addFile(archive, "blobs/sha256/"+digest, 0o644, content)
	}
	files, err := i.layer()
	if err != nil {
		return err
	}
	layer, err := blob("layer.v1.tar", files)
	if err != nil {
		return err
	}
	config, err := blob("config.v1+json", encodeJSON(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": i.Entrypoint, "User": i.User, "WorkingDir": "/"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{layer.Digest}},
	}))
	if err != nil {
		return err
	}
	manifest, err := blob("manifest.v1+json", encodeJSON(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": []descriptor{layer},
	}))
	if err != nil {
		return err
	}
	var named []descriptor
	for _, name := range i.Names {
		one := manifest
		// The first is containerd's own, with the whole name; the second is the standard's.
		one.Annotations = map[string]string{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name[strings.LastIndexByte(name, ':')+1:]}
		named = append(named, one)
	}
	if err := addFile(archive, "index.json", 0o644, encodeJSON(map[string]any{"schemaVersion": 2, "manifests": named})); err != nil {
		return err
	}
	return archive.Close()
}

// layer has the files and the folders above them, and an empty /tmp for whoever runs it.
func (i Image) layer() ([]byte, error) {
	var layer bytes.Buffer
	archive := tar.NewWriter(&layer)
	folders := map[string]int64{"tmp": 0o1777}
	var places []string
	for place := range i.Files {
		places = append(places, strings.TrimPrefix(place, "/"))
		for above := path.Dir(places[len(places)-1]); above != "."; above = path.Dir(above) {
			folders[above] = 0o755
		}
	}
	for _, folder := range sortedKeys(folders) {
		if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: folder + "/", Mode: folders[folder]}); err != nil {
			return nil, err
		}
	}
	slices.Sort(places)
	for _, place := range places {
		content, err := os.ReadFile(i.Files["/"+place])
		if err != nil {
			return nil, err
		}
		if err := addFile(archive, place, 0o755, content); err != nil {
			return nil, err
		}
	}
	for _, place := range sortedKeys(i.Links) {
		header := &tar.Header{Typeflag: tar.TypeSymlink, Name: strings.TrimPrefix(place, "/"), Linkname: i.Links[place], Mode: 0o777}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
	}
	return layer.Bytes(), archive.Close()
}

func addFile(archive *tar.Writer, name string, mode int64, content []byte) error {
	if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}); err != nil {
		return err
	}
	_, err := archive.Write(content)
	return err
}

func encodeJSON(value any) []byte {
	content, err := json.Marshal(value)
	if err != nil {
		panic(err) // maps and strings
	}
	return content
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// LoadImage puts an image on every node, as a pull would.
func (c *Cluster) LoadImage(ctx context.Context, image Image) error {
	archive, err := os.CreateTemp(c.dir, "image-*.tar")
	if err != nil {
		return err
	}
	defer os.Remove(archive.Name())
	defer archive.Close()
	if err := image.Write(archive); err != nil {
		return fmt.Errorf("image %s: %w", strings.Join(image.Names, ", "), err)
	}
	return c.onNodes(func(node *Machine) error {
		_, err := node.Output(ctx, "ctr", "-n", "k8s.io", "images", "import", archive.Name())
		return err
	})
}

// The images that every cluster has.
const (
	pauseImage = "docker.io/library/pause:test"
	// WebImage answers HTTP on port 8080, or on the address that is its argument, with "POD sees CLIENT".
	WebImage = "docker.io/library/web:test"
)

// ownImages builds the programs of our own images, or takes them from the cache.
func ownImages(ctx context.Context) ([]Image, error) {
	var images []Image
	for name, image := range map[string]string{"pause": pauseImage, "web": WebImage} {
		module, err := source(filepath.Join("images", name))
		if err != nil {
			return nil, err
		}
		dir, err := cacheDir("image-"+name, filepath.Join(module, "main.go"))
		if err != nil {
			return nil, err
		}
		binary := filepath.Join(dir, name)
		if _, err := os.Stat(binary); err != nil {
			if err := goBuild(ctx, module, binary, "-s -w"); err != nil {
				return nil, err
			}
		}
		images = append(images, BinaryImage(binary, "65534:65534", image))
	}
	return images, nil
}
