package resync

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/catchment/catchment/lab/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m, Tools()...) }

// world is one of catchmentd in both POPs, as it is built here.
func world(t *testing.T) (context.Context, *lab) {
	t.Helper()
	t.Parallel() // they wait more than they work
	if testing.Short() {
		t.Skip("a world of namespaces; run without -short")
	}
	for file, pkg := range map[string]string{"/usr/lib/frr/bgpd": "frr", "/usr/sbin/nginx": "nginx-light", "/usr/sbin/ip": "iproute2", "/usr/bin/curl": "curl"} {
		if _, err := os.Stat(file); err != nil {
			t.Fatalf("%s is missing: apt-get install %s", file, pkg)
		}
	}
	bin := os.Getenv("CATCHMENT_BIN")
	if bin == "" {
		bin = t.TempDir()
		build := exec.Command("go", "build", "-o", bin, "github.com/catchment/catchment/cmd/catchmentd", "github.com/catchment/catchment/cmd/catchment")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build the nodes' programs: %v\n%s", err, out)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	w, err := raise(ctx, Options{Topology: "../resync.clab.yml", Bin: bin}, withCatchment, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.down)
	return ctx, w
}

// TestDeath: the most telling story in short. LON's host is gone without a
// word; clients that only wait are woken by FRA, and all of them end with every
// byte right. make lab-resync tells the others.
func TestDeath(t *testing.T) {
	ctx, w := world(t)
	if err := w.file(ctx, "f", storySize/2); err != nil {
		t.Fatal(err)
	}
	seen, err := w.survive(ctx, []program{catchmentGet, curlLoop}, plain, func(context.Context) error { return w.Crash("lon") })
	if err != nil {
		t.Fatalf("%v\n%s", err, w.logs())
	}
	t.Log(seen)
}
