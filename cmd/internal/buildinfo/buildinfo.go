// Package buildinfo names the version of the program it is linked into. It
// knows how the program was built, and nothing of what it does.
package buildinfo

import (
	"runtime/debug"
	"strings"
)

// linked is set by the linker, as `make build` does:
// -X github.com/catchment/catchment/cmd/internal/buildinfo.linked=v1.2.3
var linked string

// Version is what the linker was told, or else what `go build` and `go install`
// leave in the program: the module's version and, unless that names it, the
// commit. Never empty.
func Version() string {
	if linked != "" {
		return linked
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return version(info)
}

// version is without a commit where the module came from a proxy: a release's
// version stands for it, and a pseudo-version names it.
func version(info *debug.BuildInfo) string {
	v := info.Main.Version
	if v == "" {
		v = "(devel)"
	}
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	commit := set["vcs.revision"]
	if len(commit) < 12 || strings.Contains(v, commit[:12]) {
		return v
	}
	v += " " + commit[:12]
	if set["vcs.modified"] == "true" {
		v += "-dirty"
	}
	return v
}
