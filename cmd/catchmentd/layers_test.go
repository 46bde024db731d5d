package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/catchment/catchment/"

// mayImport lists, for each top-level directory, which others it may import.
var mayImport = map[string][]string{
	"policy": {},
	"health": {"policy"},
	"bgp":    {"policy"},
	"server": {"policy"},
	"pop":    {"policy", "health", "bgp", "server"},
	"lab":    {"policy", "health", "bgp", "server", "pop"},
	"cmd":    {"policy", "health", "bgp", "server", "pop", "lab"},
}

// leaves are the exceptions, by name: packages that import nothing of ours and
// decide nothing, and which packages outside of their own folder may import
// them. The reader of the kernel's messages about sockets is one: health hears
// by it that a listener is gone, server follows flows by it, and a second parser
// of the same bytes would be worse than an arrow between two folders.
var leaves = map[string][]string{"server/sockdiag": {"health/socket"}}

// pure is all that policy may import: no clock is read, nothing is opened,
// nothing runs beside it.
var pure = []string{"cmp", "encoding/binary", "fmt", "iter", "maps", "math", "math/bits", "net/netip", "slices", "strings", "time"}

// TestImportsPointOneWay keeps the shape of the tree.
func TestImportsPointOneWay(t *testing.T) {
	files := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		files++
		rel, _ := filepath.Rel("../..", path)
		for _, imp := range importsOf(t, path) {
			if why := forbidden(rel, imp); why != "" {
				t.Errorf("%s imports %s: %s", rel, imp, why)
			}
		}
		return nil
	})
	if err != nil || files < 50 {
		t.Fatalf("read %d files: %v", files, err)
	}
}

func importsOf(t *testing.T, path string) []string {
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, i := range f.Imports {
		p, _ := strconv.Unquote(i.Path.Value)
		out = append(out, p)
	}
	return out
}

// forbidden says why a file may not import a package; empty: it may.
func forbidden(file, imp string) string {
	own, _, _ := strings.Cut(file, "/")
	inside, ours := strings.CutPrefix(imp, module)
	to, _, _ := strings.Cut(inside, "/")
	dir := filepath.ToSlash(filepath.Dir(file))
	switch {
	case own == "policy" && !ours && !slices.Contains(pure, imp):
		return "policy is pure"
	case strings.HasPrefix(imp, "github.com/osrg/gobgp/") && !strings.HasPrefix(file, "bgp/gobgp/") && !strings.HasPrefix(file, "bgp/bgptest/"):
		return "only bgp/gobgp speaks GoBGP's language"
	case strings.HasPrefix(imp, "go.etcd.io/") && !strings.HasPrefix(file, "pop/core/"):
		return "only pop/core speaks etcd's language"
	case ours && leaves[dir] != nil:
		return "a leaf imports nothing of ours"
	case ours && slices.Contains(leaves[inside], dir):
	case ours && to != own && !slices.Contains(mayImport[own], to):
		return "imports point one way: cmd -> pop -> policy, health, bgp, server"
	}
	return ""
}

func TestForbidden(t *testing.T) {
	for _, c := range []struct {
		file, imp string
		bad       bool
	}{
		{"policy/x.go", "os", true},
		{"policy/x.go", "time", false},
		{"policy/guard/x.go", module + "policy", false},
		{"policy/x.go", module + "pop", true},
		{"health/x.go", module + "bgp", true},
		{"health/x.go", module + "policy", false},
		{"health/socket/x.go", module + "server/sockdiag", false},
		{"health/x.go", module + "server/sockdiag", true},
		{"bgp/addr/x.go", module + "server/sockdiag", true},
		{"health/x.go", module + "server/resync/flow", true},
		{"policy/x.go", module + "server/sockdiag", true},
		{"server/sockdiag/x.go", module + "server/cache", true},
		{"pop/x.go", module + "lab/netlab", true},
		{"pop/x.go", "github.com/osrg/gobgp/v3/api", true},
		{"pop/x.go", "go.etcd.io/etcd/client/v3", true},
		{"pop/core/x.go", "go.etcd.io/etcd/client/v3", false},
		{"bgp/gobgp/x.go", "github.com/osrg/gobgp/v3/api", false},
		{"cmd/x/x.go", module + "lab/netlab", false},
	} {
		if got := forbidden(c.file, c.imp); (got != "") != c.bad {
			t.Errorf("%s imports %s: %q", c.file, c.imp, got)
		}
	}
}
