package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ferrolb.io/tools/image"
)

// Image is a container image on an empty base; the release is made by the same code.
type Image = image.Image

// BinaryImage is an image of one static program.
func BinaryImage(binary, user string, names ...string) Image {
	return image.OfBinary(binary, user, names...)
}

// LoadImage puts an image on every node, as a pull would.
func (c *Cluster) LoadImage(ctx context.Context, one Image) error {
	archive, err := os.CreateTemp(c.dir, "image-*.tar")
	if err != nil {
		return err
	}
	defer os.Remove(archive.Name())
	defer archive.Close()
	if err := one.Write(archive); err != nil {
		return fmt.Errorf("image %s: %w", strings.Join(one.Names, ", "), err)
	}
	return c.onNodes(func(node *Machine) error {
		_, err := node.Output(ctx, "ctr", "-n", "k8s.io", "images", "import", archive.Name())
		return err
	})
}

// The images that every cluster has.
const (
	pauseImage = "docker.io/library/pause:test"
	// WebImage answers HTTP on port 8080, or on the address that is its argument, with "POD sees CLIENT", and sends back what comes there by UDP.
	WebImage = "docker.io/library/web:test"
)

// ownImages builds the programs of our own images, or takes them from the cache.
func ownImages(ctx context.Context) ([]Image, error) {
	var images []Image
	for name, called := range map[string]string{"pause": pauseImage, "web": WebImage} {
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
		images = append(images, BinaryImage(binary, "65534:65534", called))
	}
	return images, nil
}
