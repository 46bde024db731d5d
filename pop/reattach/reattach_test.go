package reattach

import (
	"testing"
	"time"
)

func TestTimes(t *testing.T) {
	now := time.Now()
	after := func(d time.Duration) time.Time { return now.Add(d) }
	lon, waw := New(), New()
	m := lon.Send("WAW", now)
	if x := lon.Times("WAW", now); x != (Times{}) {
		t.Errorf("%+v before anybody came", x)
	}
	waw.Come("LON", m, after(700*time.Millisecond))
	seen := waw.Tell(after(2 * time.Second))
	if len(seen) != 1 || seen[0] != (Seen{"LON", m, 1300 * time.Millisecond}) {
		t.Fatalf("%+v", seen)
	}
	lon.Hear("FRA", seen, after(2*time.Second))
	if x := lon.Times("WAW", now); x.Measured != 0 {
		t.Errorf("%+v by the word of another POP", x)
	}
	lon.Hear("WAW", seen, after(2*time.Second))
	lon.Hear("WAW", seen, after(3*time.Second)) // told again
	lon.Hear("WAW", []Seen{{"LON", "MADEUP", 0}}, after(3*time.Second))
	if x := lon.Times("WAW", after(3*time.Second)); x != (Times{Worst: 700 * time.Millisecond, Measured: 1}) {
		t.Errorf("%+v", x)
	}
	if seen := waw.Tell(after(time.Minute)); seen != nil {
		t.Errorf("told for ever: %+v", seen)
	}
	second := lon.Send("WAW", after(40*time.Minute))
	lon.Hear("WAW", []Seen{{"LON", second, time.Second}}, after(40*time.Minute+1200*time.Millisecond))
	if x := lon.Times("WAW", after(50*time.Minute)); x.Worst != 700*time.Millisecond {
		t.Errorf("after 50 minutes: %+v", x)
	}
	if x := lon.Times("WAW", after(90*time.Minute)); x.Worst != 200*time.Millisecond {
		t.Errorf("the worst of more than an hour ago counts: %+v", x)
	}
	lon.Send("WAW", after(91*time.Minute))
	lon.Hear("WAW", nil, after(92*time.Minute))
	if x := lon.Times("WAW", after(5*time.Hour)); x.Lost != 1 || x.Worst != 0 {
		t.Errorf("%+v", x)
	}
}

func TestBounded(t *testing.T) {
	b, now := New(), time.Now()
	for range 3 * given {
		if b.Send("WAW", now) == "" {
			t.Fatal("no mark")
		}
		b.Come("LON", "M", now)
	}
	if len(b.sent) != given || len(b.here) != told {
		t.Errorf("%d given, %d to tell", len(b.sent), len(b.here))
	}
	b.Send("WAW", now.Add(time.Minute))
	if x := b.Times("WAW", now); len(b.sent) != 1 || x.Lost != given {
		t.Errorf("%d given, %+v", len(b.sent), x)
	}
}
