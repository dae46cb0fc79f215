// Package image makes a container image of static programs without a container engine: files in, an archive in the OCI layout out. The release and the
// cluster tests have the same code, so that what is tried is what is published.
//
// The same files give the same archive, byte by byte: entries are sorted, belong to nobody in particular and carry the time that the caller names, never
// the clock's. The base is empty: no shell, no C library, no certificate authorities, nothing to patch but the program.
package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Image is a container image for one or more platforms.
type Image struct {
	// Names are full names: docker.io/library/NAME:TAG.
	Names []string
	// Platforms has the variants, in the order of the index.
	Platforms []Platform
	// Labels are in the configuration of each variant, and annotations of its manifest.
	Labels     map[string]string
	Entrypoint []string
	// User is who runs it, by number: 65534, or 65534:65534. Empty is root.
	User string
	// Created is the time of everything in it. Zero is 1970.
	Created time.Time
	// Compress is for what travels over networks; tests load an image faster without.
	Compress bool
}

// Platform is what one kind of machine gets.
type Platform struct {
	// Name is as registries write it: amd64, arm64, arm/v7. Empty is this machine's.
	Name string
	// Files are what is in it: places in the image, and the files of this host that come there.
	Files map[string]string
	// Links are further places, and what each points to.
	Links map[string]string
}

// OfBinary is an image of one static program for this machine.
func OfBinary(binary, user string, names ...string) Image {
	place := "/" + filepath.Base(binary)
	return Image{Names: names, Platforms: []Platform{{Files: map[string]string{place: binary}}}, Entrypoint: []string{place}, User: user}
}

// FerroLB is the image of FerroLB, of a static program for each platform. It has the names by which MetalLB's start lines call the programs, so that manifests
// written for MetalLB run it with another `image:` and no other change. For the same reason it names no user: the speaker needs root for its one
// capability, the controller's pod says itself that it is nobody.
func FerroLB(binaries map[string]string, names ...string) (Image, error) {
	made := Image{Names: names, Entrypoint: []string{"/ferrolb"}}
	for _, platform := range sortedKeys(binaries) {
		if err := static(binaries[platform], platform); err != nil {
			return Image{}, err
		}
		made.Platforms = append(made.Platforms, Platform{
			Name: platform, Files: map[string]string{"/ferrolb": binaries[platform]},
			Links: map[string]string{"/controller": "ferrolb", "/speaker": "ferrolb"},
		})
	}
	return made, nil
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    *ociPlatform      `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type ociPlatform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

func (p Platform) oci() ociPlatform {
	name, variant, _ := strings.Cut(p.Name, "/")
	if name == "" {
		name = runtime.GOARCH
	}
	return ociPlatform{Architecture: name, OS: "linux", Variant: variant}
}

// layout is the archive as it grows: content is named by its sum, and written once.
type layout struct {
	archive *tar.Writer
	created time.Time
	has     map[string]bool
}

func (l *layout) blob(kind string, content []byte) (descriptor, error) {
	sum := sha256.Sum256(content)
	digest := hex.EncodeToString(sum[:])
	d := descriptor{MediaType: "application/vnd.oci.image." + kind, Digest: "sha256:" + digest, Size: len(content)}
	if l.has[digest] {
		return d, nil
	}
	l.has[digest] = true
	return d, addFile(l.archive, "blobs/sha256/"+digest, 0o644, content, l.created)
}

// Write writes the image as an archive in the OCI layout, which containerd, Podman, Docker and registries' tools load. Under each of its names is an index
// of all its platforms.
func (i Image) Write(to io.Writer) error {
	i.Created = i.Created.UTC()
	if i.Created.IsZero() {
		i.Created = time.Unix(0, 0).UTC()
	}
	out := &layout{archive: tar.NewWriter(to), created: i.Created, has: map[string]bool{}}
	if err := addFile(out.archive, "oci-layout", 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`), i.Created); err != nil {
		return err
	}
	var variants []descriptor
	for _, platform := range i.Platforms {
		one, err := i.variant(out, platform)
		if err != nil {
			return err
		}
		variants = append(variants, one)
	}
	index, err := out.blob("index.v1+json", encodeJSON(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": variants, "annotations": i.labels(),
	}))
	if err != nil {
		return err
	}
	var named []descriptor
	for _, name := range i.Names {
		one := index
		// The first is containerd's own, with the whole name; the second is the standard's.
		one.Annotations = map[string]string{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name[strings.LastIndexByte(name, ':')+1:]}
		named = append(named, one)
	}
	if err := addFile(out.archive, "index.json", 0o644, encodeJSON(map[string]any{"schemaVersion": 2, "manifests": named}), i.Created); err != nil {
		return err
	}
	return out.archive.Close()
}

// variant writes what one platform gets: its files, how to run them, and the manifest that has both.
func (i Image) variant(out *layout, platform Platform) (descriptor, error) {
	files, err := platform.layer(i.Created)
	if err != nil {
		return descriptor{}, err
	}
	sum := sha256.Sum256(files)
	kind := "layer.v1.tar"
	if i.Compress {
		kind += "+gzip"
		if files, err = compress(files); err != nil {
			return descriptor{}, err
		}
	}
	layer, err := out.blob(kind, files)
	if err != nil {
		return descriptor{}, err
	}
	is := platform.oci()
	of := map[string]any{
		"architecture": is.Architecture, "os": is.OS, "created": i.Created.Format(time.RFC3339),
		"config": map[string]any{"Entrypoint": i.Entrypoint, "User": i.User, "WorkingDir": "/", "Env": []string{"PATH=/"}, "Labels": i.labels()},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}},
	}
	if is.Variant != "" {
		of["variant"] = is.Variant
	}
	config, err := out.blob("config.v1+json", encodeJSON(of))
	if err != nil {
		return descriptor{}, err
	}
	manifest, err := out.blob("manifest.v1+json", encodeJSON(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": []descriptor{layer},
		"annotations": i.labels(),
	}))
	manifest.Platform = &is
	return manifest, err
}

// labels are never null, which some readers refuse.
func (i Image) labels() map[string]string {
	if i.Labels == nil {
		return map[string]string{}
	}
	return i.Labels
}

func compress(content []byte) ([]byte, error) {
	var out bytes.Buffer
	// No name and no time in the header.
	to, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := to.Write(content); err != nil {
		return nil, err
	}
	if err := to.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// layer has the files and the folders above them, and an empty /tmp for whoever runs it.
func (p Platform) layer(created time.Time) ([]byte, error) {
	var layer bytes.Buffer
	archive := tar.NewWriter(&layer)
	folders := map[string]int64{"tmp": 0o1777}
	var places []string
	for place := range p.Files {
		places = append(places, strings.TrimPrefix(place, "/"))
		for above := path.Dir(places[len(places)-1]); above != "."; above = path.Dir(above) {
			folders[above] = 0o755
		}
	}
	for _, folder := range sortedKeys(folders) {
		if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: folder + "/", Mode: folders[folder], ModTime: created}); err != nil {
			return nil, err
		}
	}
	slices.Sort(places)
	for _, place := range places {
		content, err := os.ReadFile(p.Files["/"+place])
		if err != nil {
			return nil, err
		}
		if err := addFile(archive, place, 0o755, content, created); err != nil {
			return nil, err
		}
	}
	for _, place := range sortedKeys(p.Links) {
		header := &tar.Header{Typeflag: tar.TypeSymlink, Name: strings.TrimPrefix(place, "/"), Linkname: p.Links[place], Mode: 0o777, ModTime: created}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
	}
	return layer.Bytes(), archive.Close()
}

func addFile(archive *tar.Writer, name string, mode int64, content []byte, created time.Time) error {
	if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content)), ModTime: created}); err != nil {
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

var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "arm/v7": elf.EM_ARM}

// static refuses a program that an empty image cannot run: it would end with "no such file" or "exec format error", and nobody would guess which.
func static(binary, platform string) error {
	file, err := elf.Open(binary)
	if err != nil {
		return fmt.Errorf("%s: %w", binary, err)
	}
	defer file.Close()
	if platform == "" {
		platform = runtime.GOARCH
	}
	if want, known := machines[platform]; !known {
		return fmt.Errorf("%s: no such platform; there are amd64, arm64 and arm/v7", platform)
	} else if file.Machine != want {
		return fmt.Errorf("%s is for %s, not for %s", binary, file.Machine, platform)
	}
	for _, part := range file.Progs {
		if part.Type == elf.PT_INTERP {
			return errors.New(binary + " needs a dynamic linker, which the image does not have; build it for x86_64-unknown-linux-musl")
		}
	}
	return nil
}
