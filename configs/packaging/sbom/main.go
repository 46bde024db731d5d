// Command sbom writes the list of what a Go program is made of, as CycloneDX
// JSON, from the build information in the program itself: it lists what was
// linked, not what a go.mod asks for, with the licences that lie beside each
// part's text.
//
//	sbom -version v1.2.3 PROGRAM >PROGRAM.cdx.json
//	sbom -notices PROGRAM >PROGRAM.licences
//
// The same program gives the same bytes; SOURCE_DATE_EPOCH is its time.
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"
)

func main() {
	version := flag.String("version", "", "of the program")
	notices := flag.Bool("notices", false, "write the texts of the licences instead")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: sbom [-version V | -notices] PROGRAM")
		os.Exit(2)
	}
	var err error
	if *notices {
		err = writeNotices(os.Stdout, flag.Arg(0))
	} else {
		err = write(os.Stdout, flag.Arg(0), *version)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func write(w io.Writer, program, version string) error {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	bom := cyclonedx.NewBOM()
	bom.SerialNumber = uuid.NewSHA1(uuid.NameSpaceURL, sum[:]).URN()
	self := cyclonedx.Component{
		BOMRef: purl(info.Main.Path, version), Type: cyclonedx.ComponentTypeApplication,
		Name: filepath.Base(program), Version: version, PackageURL: purl(info.Main.Path, version),
		Hashes:   &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
		Licenses: &cyclonedx.Licenses{{License: &cyclonedx.License{ID: "Apache-2.0"}}},
	}
	bom.Metadata = &cyclonedx.Metadata{Timestamp: timestamp(), Component: &self}
	parts, err := components(info)
	if err != nil {
		return err
	}
	needs := make([]string, 0, len(parts))
	dependencies := []cyclonedx.Dependency{{Ref: self.BOMRef, Dependencies: &needs}}
	for _, c := range parts {
		needs = append(needs, c.BOMRef)
		dependencies = append(dependencies, cyclonedx.Dependency{Ref: c.BOMRef})
	}
	bom.Components, bom.Dependencies = &parts, &dependencies
	return cyclonedx.NewBOMEncoder(w, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
}

// components are the linked modules, sorted as the linker has them, and the
// standard library.
func components(info *debug.BuildInfo) ([]cyclonedx.Component, error) {
	from, err := findSources()
	if err != nil {
		return nil, err
	}
	all := []cyclonedx.Component{component("std", strings.TrimPrefix(info.GoVersion, "go"))}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		all = append(all, component(m.Path, m.Version))
	}
	for i := range all {
		if all[i].Licenses, err = from.licences(all[i].Name, all[i].Version); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func component(path, version string) cyclonedx.Component {
	p := purl(path, version)
	return cyclonedx.Component{
		BOMRef: p, Type: cyclonedx.ComponentTypeLibrary, Name: path, Version: version,
		Scope: cyclonedx.ScopeRequired, PackageURL: p,
	}
}

// purl names a module (github.com/package-url/purl-spec, type golang).
func purl(path, version string) string {
	p := "pkg:golang/" + strings.ToLower(path)
	if version != "" {
		p += "@" + strings.ReplaceAll(version, "+", "%2B")
	}
	return p
}

// timestamp is that of the source, or empty.
func timestamp() string {
	n, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return ""
	}
	return time.Unix(n, 0).UTC().Format(time.RFC3339)
}
