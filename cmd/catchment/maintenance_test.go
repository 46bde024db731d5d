package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

// TestMaintenance: planned, listed, shown in the status, and removed.
func TestMaintenance(t *testing.T) {
	b := apitest.World()
	socket := start(t, b)
	run := func(want int, args ...string) string {
		t.Helper()
		status, out, errs := catchment(context.Background(), socket, args...)
		if status != want {
			t.Fatalf("%v: %d, %s", args, status, errs)
		}
		return out + errs
	}
	if out := run(0, "maintenance"); out != "No maintenance window is planned.\n" {
		t.Errorf("%q", out)
	}
	run(0, "maintenance", "add", "power", "2031-03-03 14:00 Europe/London", "--for", "2h", "--service", "web", "--why", "the feed", "--lead", "5m")
	if w := b.POP.Maintenance[0]; w.For != api.Duration(2*time.Hour) || w.Lead != api.Duration(5*time.Minute) || w.Service != "web" || w.Why != "the feed" || !strings.HasPrefix(w.By, "uid ") {
		t.Errorf("%+v", w)
	}
	b.Touch(func(b *apitest.Backend) {
		w := &b.POP.Maintenance[0]
		w.Drains, w.Start, w.End = apitest.Now.Add(49*time.Hour), apitest.Now.Add(50*time.Hour), apitest.Now.Add(52*time.Hour)
	})
	for _, args := range [][]string{{"maintenance"}, {"maintenance", "list"}, {"status"}} {
		if out := run(0, args...); !strings.Contains(out, "power        web  ") || !strings.Contains(out, "in 2d2h") || !strings.Contains(out, "drains in 2d1h") {
			t.Errorf("%v:\n%s", args, out)
		}
	}
	if out := run(2, "maintenance", "add", "power", "daily 02:00 UTC"); !strings.Contains(out, "--for") {
		t.Errorf("%s", out)
	}
	if out := run(1, "maintenance", "add", "lunch", "12:00", "--for", "1h"); !strings.Contains(out, "Europe/London") {
		t.Errorf("%s", out)
	}
	run(0, "maintenance", "remove", "power")
	if out := run(1, "maintenance", "remove", "power"); !strings.Contains(out, `no window "power"`) {
		t.Errorf("%s", out)
	}
}
