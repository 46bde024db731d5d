package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestRecorderWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, start := newRecorder(), time.Now()
		at := func(d time.Duration) time.Time { return start.Add(d).Round(0) }
		r.add(event{at(-time.Second), gone, "frr"}) // before since
		r.add(event{at(time.Second), gone, "bird"}) // elsewhere
		r.add(event{at(time.Second), installed, "frr"})
		go func() {
			time.Sleep(time.Minute)
			r.add(event{at(5 * time.Second), gone, "frr"}) // reported late
			r.add(event{at(4 * time.Second), gone, "frr"})
		}()
		e, err := r.wait(context.Background(), gone, "frr", start, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited != time.Minute {
			t.Errorf("waited %v", waited)
		}
		synctest.Wait()
		if e, _ = r.find(gone, "frr", start); !e.at.Equal(at(4 * time.Second)) {
			t.Errorf("the first is at %v", e.at.Sub(start))
		}
		if n := r.count(gone); n != 4 {
			t.Errorf("%d events", n)
		}
	})
}

func TestRecorderGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		_, err := r.wait(context.Background(), gone, "frr", time.Now(), time.Minute)
		if want := "no route gone from the kernel (frr) within 1m0s"; err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		ctx, cancel := context.WithCancelCause(context.Background())
		why := errors.New("the daemon has ended")
		cancel(why)
		if _, err := r.wait(ctx, gone, "frr", time.Now(), time.Minute); !errors.Is(err, why) {
			t.Errorf("%v, want %v", err, why)
		}
	})
}

func TestDaemonLog(t *testing.T) {
	r := newRecorder()
	l := &daemonLog{rec: r, routers: map[netip.Addr]string{netip.MustParseAddr("10.0.1.2"): "frr"}}
	const line = `{"time":"2026-01-02T03:04:05.123456789Z","level":"INFO","msg":"health: verdict","verdict":"down"}` + "\n"
	for _, part := range []string{"not JSON\n", line[:20], line[20:], `{"msg":"other","verdict":"down"}` + "\n", line[:30]} {
		if n, err := l.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("wrote %d of %d: %v", n, len(part), err)
		}
	}
	for _, state := range []string{"down", "init", "up"} {
		fmt.Fprintf(l, "\n{\"time\":\"2026-01-02T03:04:05Z\",\"msg\":\"bfd: session\",\"neighbor\":\"10.0.1.2\",\"state\":%q}\n", state)
	}
	if _, ok := r.find(watched, "frr", time.Time{}); !ok || r.count(watched) != 1 {
		t.Errorf("%d BFD sessions came up at FRR, want 1", r.count(watched))
	}
	e, ok := r.find(verdictDown, "", time.Time{})
	if want := time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC); !ok || !e.at.Equal(want) || r.count(verdictDown) != 1 {
		t.Errorf("%v, %d events", e, r.count(verdictDown))
	}
}
