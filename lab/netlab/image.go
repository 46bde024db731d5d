package netlab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// image is what netlab takes from a Dockerfile.
type image struct {
	env        map[string]string
	files      []bind // what COPY brings, host path to node path
	entrypoint []string
	cmd        []string
}

// bind is a host file or folder seen in a node.
type bind struct {
	Host, Node string
	ReadOnly   bool
	Copy       bool // a copy the node may change, not the thing itself
}

// imageDir is the folder of an image name: "catchment/frr:lab" is "frr".
func imageDir(images, name string) string {
	base := path.Base(name)
	base, _, _ = strings.Cut(base, ":")
	return filepath.Join(images, base)
}

// readImage reads the folder of an image. bin is where programs that COPY
// names but the folder lacks are found before PATH.
func readImage(images, name, bin string) (*image, error) {
	if name == "" {
		return nil, errors.New("has no image")
	}
	dir := imageDir(images, name)
	raw, err := os.ReadFile(filepath.Join(dir, "Dockerfile"))
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", name, err)
	}
	img := &image{env: map[string]string{}}
	text := strings.ReplaceAll(string(raw), "\\\n", " ")
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := img.instruction(line, dir, bin); err != nil {
			return nil, fmt.Errorf("image %s: Dockerfile instruction %d: %w", name, i+1, err)
		}
	}
	return img, nil
}

func (img *image) instruction(line, dir, bin string) error {
	word, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	switch strings.ToUpper(word) {
	case "FROM", "RUN", "LABEL", "EXPOSE", "STOPSIGNAL", "VOLUME":
		return nil
	case "ENV":
		for _, pair := range strings.Fields(rest) {
			k, v, ok := strings.Cut(pair, "=")
			if !ok {
				return fmt.Errorf("ENV %s: want NAME=value", pair)
			}
			img.env[k] = strings.Trim(v, `"`)
		}
		return nil
	case "COPY":
		return img.copy(rest, dir, bin)
	case "ENTRYPOINT":
		img.entrypoint = argv(rest)
		return nil
	case "CMD":
		img.cmd = argv(rest)
		return nil
	}
	return fmt.Errorf("%s is not known to netlab", word)
}

// copy notes what COPY brings; a program that is not in the folder comes from
// bin or from PATH, as CI puts it into the build context.
func (img *image) copy(rest, dir, bin string) error {
	var args []string
	for _, f := range strings.Fields(rest) {
		if !strings.HasPrefix(f, "--") {
			args = append(args, f)
		}
	}
	if len(args) < 2 {
		return errors.New("COPY wants a source and a destination")
	}
	dst := args[len(args)-1]
	for _, src := range args[:len(args)-1] {
		host := filepath.Join(dir, src)
		if _, err := os.Stat(host); errors.Is(err, fs.ErrNotExist) {
			if host, err = program(bin, src); err != nil {
				return err
			}
		}
		node := dst
		if strings.HasSuffix(dst, "/") || len(args) > 2 {
			node = path.Join(dst, path.Base(src))
		}
		img.files = append(img.files, bind{Host: host, Node: node, Copy: true})
	}
	return nil
}

func program(bin, name string) (string, error) {
	if bin != "" {
		if p := filepath.Join(bin, name); isFile(p) {
			return p, nil
		}
	}
	p, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("COPY %s: neither in the image folder nor in %q nor in PATH", name, bin)
	}
	return p, nil
}

func isFile(p string) bool {
	st, err := os.Stat(p)
	return err == nil && st.Mode().IsRegular()
}

// argv reads the two forms of ENTRYPOINT and CMD: a JSON list, or words for
// the shell.
func argv(s string) []string {
	var list []string
	if json.Unmarshal([]byte(s), &list) == nil {
		return list
	}
	return []string{"/bin/sh", "-c", s}
}

// parseBind reads HOST:NODE[:ro]; a relative host path starts at dir.
func parseBind(s, dir string) (bind, error) {
	parts := strings.Split(s, ":")
	if len(parts) < 2 || len(parts) > 3 || !path.IsAbs(parts[1]) {
		return bind{}, fmt.Errorf("bind %q: want host-path:/node/path[:ro]", s)
	}
	b := bind{Host: parts[0], Node: path.Clean(parts[1])}
	if !filepath.IsAbs(b.Host) {
		b.Host = filepath.Join(dir, b.Host)
	}
	if len(parts) == 3 {
		b.ReadOnly = strings.Contains(parts[2], "ro")
	}
	if _, err := os.Stat(b.Host); err != nil {
		return bind{}, fmt.Errorf("bind %q: %w", s, err)
	}
	return b, nil
}
