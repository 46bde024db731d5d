package bench

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/lab/serve"
	"github.com/catchment/catchment/pop/config"
)

func TestMain(m *testing.M) { netlab.Main(m, serve.Tools()...) }

// TestConfigs fills in the configs of every row; the daemon and
// BIRD must take theirs.
func TestConfigs(t *testing.T) {
	all := map[string]values{}
	for _, s := range subjects() {
		all[s.name] = s.values()
	}
	for _, l := range loads() {
		all[l.title] = l.values()
	}
	for name, v := range all {
		w := &world{val: v, dir: t.TempDir()}
		if err := w.writeConfigs(); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := config.Load(filepath.Join(w.dir, "catchmentd.yaml"), config.Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, c := range []string{"bird.conf", "checker.conf"} {
			if out, err := exec.Command("bird", "-p", "-c", filepath.Join(w.dir, c)).CombinedOutput(); err != nil {
				t.Errorf("%s: %s: %v: %s", name, c, err, out)
			}
		}
		if _, err := netlab.Load(filepath.Join(w.dir, "bench.clab.yml"), nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnknownRow(t *testing.T) {
	err := Failover(context.Background(), Options{Only: []string{"exabpg"}})
	if err == nil || !strings.Contains(err.Error(), `no row is named "exabpg"`) {
		t.Errorf("%v", err)
	}
}

func TestMissingDaemon(t *testing.T) {
	err := Failover(context.Background(), Options{Only: []string{"hang"}, Bin: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "build it first") {
		t.Errorf("%v", err)
	}
}

// programs returns a folder with catchmentd.
func programs(t *testing.T) string {
	if dir := os.Getenv("CATCHMENT_BIN"); dir != "" {
		return dir
	}
	dir := t.TempDir()
	out, err := exec.Command("go", "build", "-o", dir+"/", "github.com/catchment/catchment/cmd/catchmentd").CombinedOutput()
	if err != nil {
		t.Fatalf("build catchmentd: %v\n%s", err, out)
	}
	return dir
}

// TestFailover runs the harness for real, without judging what it measures:
// rows with the daemon and with the tool that needs nothing but BIRD.
func TestFailover(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	var out strings.Builder
	opt := Options{Out: &out, Bin: programs(t), Kills: 1, Only: []string{"assist-1s", "checker", "hang"}}
	if err := Failover(ctx, opt); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Catchment, kernel-assisted, interval 1 s\n", "BIRD, shell loop and birdc", "The service hangs",
		"goal kill-frr-p99-ms ", "goal kill-bird-p99-ms ", "goal verdict-to-update-p99-ms ", "goal hang-timeouts ",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in the report", want)
		}
	}
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, "not-measured") || strings.Contains(line, "NaN") {
			t.Error(line)
		}
	}
	t.Log(out.String())
}
