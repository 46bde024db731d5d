// Package lab_test plays the stories of testdata, each in all its variants.
// They need Debian's frr, bird2 and openbgpd; make deps installs them.
package lab_test

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/lab/serve"
	"github.com/catchment/catchment/lab/story"
)

// labs is how many labs are up at a time, unless -parallel says otherwise: they
// do not see each other, and wait nine tenths of the time.
const labs = "6"

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", labs); err != nil {
		panic(err)
	}
	netlab.Main(m, serve.Tools()...)
}

// needed are the programs of the Debian packages the labs run.
var needed = map[string]string{
	"/usr/lib/frr/bgpd": "frr", "/usr/sbin/bird": "bird2", "/usr/sbin/bgpctl": "openbgpd", "/usr/sbin/ip": "iproute2",
}

// programs builds what the nodes run beside Debian's, or takes CATCHMENT_BIN.
func programs(t *testing.T) string {
	t.Helper()
	for file, pkg := range needed {
		if _, err := os.Stat(file); err != nil {
			t.Fatalf("%s is missing: apt-get install %s", file, pkg)
		}
	}
	if bin := os.Getenv("CATCHMENT_BIN"); bin != "" {
		return bin
	}
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin, "github.com/catchment/catchment/cmd/catchmentd",
		"github.com/catchment/catchment/cmd/catchment",
		"github.com/osrg/gobgp/v3/cmd/gobgpd", "github.com/osrg/gobgp/v3/cmd/gobgp")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the nodes' programs: %v\n%s", err, out)
	}
	return bin
}

func TestStories(t *testing.T) {
	if testing.Short() {
		t.Skip("stories take minutes; run without -short")
	}
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	opt := story.Options{Make: story.InNetlab(netlab.Options{Bin: programs(t)})}
	t.Parallel() // from here on: what is built is built before any lab is up
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { tell(t, file, opt) })
	}
}

// tell plays a story in all its variants.
func tell(t *testing.T, file string, opt story.Options) {
	t.Parallel()
	script, err := story.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range script.Variants {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			play(t, script, v, opt)
		})
	}
}

// play tells a story, and once more if it fails: a machine that stands still
// for some hundred milliseconds while six worlds run on it loses packets and
// BFD sessions that no router would. What fails twice is no accident.
func play(t *testing.T, script *story.Script, v story.Variant, opt story.Options) {
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	opt.Say = t.Logf
	err := script.Run(ctx, v, opt)
	if err == nil {
		return
	}
	t.Logf("TOLD AGAIN: the first time failed: %v", err)
	if err := script.Run(ctx, v, opt); err != nil {
		t.Fatal(err)
	}
}
