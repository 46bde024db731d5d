package core

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestGrowFromOne: a core that began alone becomes one of three, with what it knows.
func TestGrowFromOne(t *testing.T) {
	t.Parallel()
	f := newTrio(t, 23000)
	ctx := deadline(t)
	f.address("a")
	cfg := f.config("a", nil, false)
	cfg.Peers = nil
	c, err := NewEmbedded(cfg, Options{Limits: wide, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	stop := start(t, c)
	waitReady(t, c)
	if _, err := c.Put(ctx, ann, intent("old"), raw(`1`), Absent); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Admit(ctx, ann, "b", "127.0.0.1:1"); !errors.Is(err, Invalid) || !strings.Contains(err.Error(), "listens nowhere") {
		t.Errorf("admit to one that listens nowhere: %v", err)
	}
	stop()
	waitReady(t, f.up("a", nil, false))
	for _, n := range []string{"b", "c"} {
		first, err := f.cores["a"].Admit(ctx, ann, n, f.address(n))
		if err != nil {
			t.Fatal(err)
		}
		waitReady(t, f.up(n, first, true))
	}
	for _, n := range []string{"a", "b", "c"} {
		if o, err := f.cores[n].Get(ctx, intent("old")); err != nil || o.Write != ann {
			t.Errorf("%s: %v", n, err)
		}
	}
	list, err := f.cores["c"].Voters(ctx)
	if err != nil || len(list) != 3 || fmt.Sprint(list[0].Learner, list[1].Learner, list[2].Learner) != "false false false" {
		t.Errorf("members %+v, %v", list, err)
	}
}

// TestRestoreFleet: the backup of one becomes a core of three, over IPv6.
func TestRestoreFleet(t *testing.T) {
	t.Parallel()
	ctx, path := deadline(t), filepath.Join(t.TempDir(), "backup.db")
	kept := backup(t, path, func(*Core) {})
	f := newTrio(t, 24000)
	f.host = "::1"
	f.begin(func(name string) {
		if err := Restore(f.config(name, f.first, false), path, logTo(t)); err != nil {
			t.Fatal(err)
		}
	})
	for n := range f.first {
		if o, err := f.cores[n].Get(ctx, intent("kept")); err != nil || o.Revision != kept.Revision {
			t.Errorf("%s: %+v, %v", n, o, err)
		}
		if o := f.write(n, "from "+n); o.Revision <= kept.Revision {
			t.Errorf("%s writes at %d", n, o.Revision)
		}
	}
}

// TestAloneAmongSeveral: the directory of a member of several is not run as one
// that is alone, and the error says what to do.
func TestAloneAmongSeveral(t *testing.T) {
	t.Parallel()
	f := newTrio(t, 25000)
	f.begin(func(string) {})
	f.stops["a"]()
	cfg := f.config("a", nil, false)
	cfg.Peers = nil
	c, err := NewEmbedded(cfg, Options{Limits: wide})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(deadline(t)); !Final(err) || !strings.Contains(err.Error(), "(a, b, c)") || !strings.Contains(err.Error(), "move the directory away") {
		t.Errorf("Run: %v", err)
	}
}

// TestOldLog: a directory whose log has etcd's own large segments opens, and
// what it holds is there.
func TestOldLog(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), deadline(t)
	c := alone(t, dir, Options{})
	stop := start(t, c)
	waitReady(t, c)
	if _, err := c.Put(ctx, ann, intent("old"), raw(`1`), Absent); err != nil {
		t.Fatal(err)
	}
	stop()
	logs, err := filepath.Glob(filepath.Join(dir, "etcd/member/wal/*.wal"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("%q, %v", logs, err)
	}
	if err := os.Truncate(logs[0], 64*1000*1000); err != nil { // as etcd allocates it
		t.Fatal(err)
	}
	c = alone(t, dir, Options{})
	start(t, c)
	waitReady(t, c)
	big := raw(`"` + strings.Repeat("x", 200<<10) + `"`)
	for i := range 2*segment/len(big) + 2 { // past where it is cut
		if _, err := c.Put(ctx, ann, intent("new"), big, Any); err != nil {
			t.Fatalf("write %d: %v", i, err)
		}
	}
	if _, err := c.Get(ctx, intent("old")); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(logs[0]); err == nil && info.Size() > 2*segment {
		t.Errorf("the old segment still takes %d bytes", info.Size())
	}
}
