// Command release makes the parts of a release that must come out the same each time: the image, the list of what is in the program, the chart's package.
// scripts/image and scripts/release call it.
package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"ferrolb.io/tools/image"
	"ferrolb.io/tools/sbom"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("usage: release image | sbom | repack; -h of each says more")
	}
	flags := flag.NewFlagSet(args[0], flag.ExitOnError)
	created := flags.Int64("created", 0, "the `time` of everything that is made, in seconds since 1970: the commit's")
	out := flags.String("out", "", "the `file` to write")
	var do func(to io.Writer, created time.Time) error
	switch args[0] {
	case "image":
		do = imageFlags(flags)
	case "sbom":
		do = sbomFlags(flags)
	case "repack":
		in := flags.String("in", "", "the `package`, as Helm made it")
		do = func(to io.Writer, created time.Time) error { return repack(*in, to, created) }
	default:
		return fmt.Errorf("release knows image, sbom and repack, not %s", args[0])
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if flags.NArg() > 0 || *out == "" {
		return fmt.Errorf("--out is needed, and words without a flag are not: %q", flags.Args())
	}
	file, err := os.Create(*out)
	if err != nil {
		return err
	}
	if err := do(file, time.Unix(*created, 0).UTC()); err != nil {
		return errors.Join(err, file.Close(), os.Remove(*out))
	}
	return file.Close()
}

// several is a flag that is given more than once, as KEY=VALUE.
func several(flags *flag.FlagSet, name, usage string) map[string]string {
	all := map[string]string{}
	flags.Func(name, usage, func(text string) error {
		key, value, is := strings.Cut(text, "=")
		if !is || key == "" || value == "" {
			return errors.New("it is KEY=VALUE")
		}
		all[key] = value
		return nil
	})
	return all
}

func imageFlags(flags *flag.FlagSet) func(io.Writer, time.Time) error {
	binaries := several(flags, "binary", "a static program for a platform: amd64=`FILE`, also arm64, arm/v7")
	labels := several(flags, "label", "a `label=text`")
	limit := flags.Int64("limit", 20_000_000, "how many `bytes` a platform may take, compressed")
	var names []string
	flags.Func("name", "a full `name` of the image", func(name string) error { names = append(names, name); return nil })
	return func(to io.Writer, created time.Time) error {
		made, err := image.FerroLB(binaries, names...)
		if err != nil {
			return err
		}
		made.Labels, made.Created, made.Compress = labels, created, true
		for _, platform := range made.Platforms {
			one, size := made, counter(0)
			one.Platforms = []image.Platform{platform}
			if err := one.Write(&size); err != nil {
				return err
			}
			if fmt.Fprintf(os.Stderr, "%s: %.1f MB\n", platform.Name, float64(size)/1e6); int64(size) > *limit {
				return fmt.Errorf("%s takes %d bytes, which is more than %d", platform.Name, size, *limit)
			}
		}
		if len(made.Platforms) == 0 || len(names) == 0 {
			return errors.New("an image needs at least one --binary and one --name")
		}
		return made.Write(to)
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

func sbomFlags(flags *flag.FlagSet) func(io.Writer, time.Time) error {
	metadata := flags.String("metadata", "", "the `file` with what cargo metadata said")
	lock := flags.String("lock", "Cargo.lock", "Cargo's `file` of versions")
	root := flags.String("root", "ferrolb", "the `package` of the program")
	return func(to io.Writer, created time.Time) error {
		from, err := os.ReadFile(*metadata)
		if err != nil {
			return err
		}
		locked, err := os.ReadFile(*lock)
		if err != nil {
			return err
		}
		made, err := sbom.OfCargo(from, locked, *root, created)
		if err == nil {
			_, err = to.Write(append(made, '\n'))
		}
		return err
	}
}

// repack writes a chart's package anew without the clock's time, which Helm puts into it. Order and content stay Helm's.
func repack(in string, to io.Writer, created time.Time) error {
	file, err := os.Open(in)
	if err != nil {
		return err
	}
	defer file.Close()
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	packed, err := gzip.NewWriterLevel(to, gzip.BestCompression)
	if err != nil {
		return err
	}
	// Helm's own mark, by which it tells its packages.
	packed.Extra, packed.Comment = unpacked.Extra, unpacked.Comment
	archive := tar.NewWriter(packed)
	for reader := tar.NewReader(unpacked); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return errors.Join(archive.Close(), packed.Close())
		}
		if err != nil {
			return err
		}
		clean := &tar.Header{Typeflag: header.Typeflag, Name: header.Name, Mode: header.Mode, Size: header.Size, ModTime: created}
		if err := archive.WriteHeader(clean); err != nil {
			return err
		}
		if _, err := io.Copy(archive, reader); err != nil {
			return err
		}
	}
}
