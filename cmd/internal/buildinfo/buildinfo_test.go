package buildinfo

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	if got := Version(); got == "" {
		t.Error("a test has no version at all")
	}
	const commit = "0123456789abcdef0123456789abcdef01234567"
	for _, c := range []struct{ main, commit, modified, want string }{
		{"v1.2.3", "", "", "v1.2.3"},                       // go install MODULE@v1.2.3
		{"v1.2.3", commit, "false", "v1.2.3 0123456789ab"}, // go build of a tagged commit
		{"v1.2.4-0.20260102030405-0123456789ab", commit, "false", "v1.2.4-0.20260102030405-0123456789ab"},
		{"v1.2.4-0.20260102030405-0123456789ab+dirty", commit, "true", "v1.2.4-0.20260102030405-0123456789ab+dirty"},
		{"(devel)", commit, "true", "(devel) 0123456789ab-dirty"}, // an older Go
		{"", "", "", "(devel)"},
	} {
		info := debug.BuildInfo{Main: debug.Module{Version: c.main}}
		if c.commit != "" {
			info.Settings = []debug.BuildSetting{{Key: "vcs.revision", Value: c.commit}, {Key: "vcs.modified", Value: c.modified}}
		}
		if got := version(&info); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// TestGoInstall builds both programs as `go install` does, in a repository of
// their own: --version names the commit.
func TestGoInstall(t *testing.T) {
	commit, err := exec.Command("git", "rev-parse", "HEAD").Output()
	if err != nil {
		t.Skip("this is no git checkout")
	}
	dir := t.TempDir()
	cmd := exec.Command("go", "install", "-buildvcs=true", "./cmd/catchmentd", "./cmd/catchment")
	cmd.Dir = "../../.."
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, p := range []string{"catchment", "catchmentd"} {
		out, err := exec.Command(filepath.Join(dir, p), "--version").Output()
		if err != nil || !strings.HasPrefix(string(out), p+" ") || !strings.Contains(string(out), string(commit[:12])) {
			t.Errorf("%s --version: %q, %v; the commit is %s", p, out, err, commit[:12])
		}
	}
}
