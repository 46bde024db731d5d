package main

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/google/licensecheck"
)

// sources is where the Go command keeps the text of what it links.
type sources struct{ modules, root string }

func findSources() (sources, error) {
	out, err := exec.Command("go", "env", "GOMODCACHE", "GOROOT").Output()
	lines := strings.Fields(string(out))
	if err != nil || len(lines) != 2 {
		return sources{}, fmt.Errorf("go env: %q, %w", out, err)
	}
	return sources{lines[0], lines[1]}, nil
}

// folder of a module's text: in the cache a capital letter is ! and the small
// one (golang.org/ref/mod#module-cache).
func (s sources) folder(path, version string) string {
	if path == "std" {
		return s.root
	}
	escaped := regexp.MustCompile(`[A-Z]`).ReplaceAllStringFunc(path+"@"+version, func(c string) string { return "!" + strings.ToLower(c) })
	return filepath.Join(s.modules, escaped)
}

var notice = regexp.MustCompile(`(?i)^(licen[sc]e|copying|unlicense|notice)([.-].*)?$`)

var licenceFile = regexp.MustCompile(`(?i)^(licen[sc]e|copying|unlicense)([.-].*)?$`)

// texts are a module's licence files and notices.
func (s sources) texts(path, version string, which *regexp.Regexp) ([][]byte, error) {
	dir := s.folder(path, version)
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("licence of %s: %w", path, err)
	}
	var texts [][]byte
	for _, f := range files {
		if f.IsDir() || !which.MatchString(f.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, fmt.Errorf("licence of %s: %w", path, err)
		}
		texts = append(texts, text)
	}
	return texts, nil
}

// licences are the SPDX names of what a module's own licence files say. A text
// that is none of the known ones is an error: somebody must read it.
func (s sources) licences(path, version string) (*cyclonedx.Licenses, error) {
	texts, err := s.texts(path, version, licenceFile)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, text := range texts {
		for _, m := range licensecheck.Scan(text).Match {
			if !m.IsURL {
				names = append(names, m.ID)
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 {
		return nil, fmt.Errorf("licence of %s: none that is known in %s", path, s.folder(path, version))
	}
	out := make(cyclonedx.Licenses, 0, len(names))
	for _, n := range names {
		out = append(out, cyclonedx.LicenseChoice{License: &cyclonedx.License{ID: n}})
	}
	return &out, nil
}

// writeNotices writes the texts themselves, which most of the licences want
// wherever the program goes.
func writeNotices(w io.Writer, program string) error {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return err
	}
	from, err := findSources()
	if err != nil {
		return err
	}
	parts, err := components(info)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s is made of these parts, each under its own licence.\n", filepath.Base(program))
	for _, c := range parts {
		texts, err := from.texts(c.Name, c.Version, notice)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "\n==== %s %s\n", c.Name, c.Version)
		for _, text := range texts {
			fmt.Fprintf(w, "\n%s\n", bytes.TrimSpace(text))
		}
	}
	return nil
}
