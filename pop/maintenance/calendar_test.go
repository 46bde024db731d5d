package maintenance

import (
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
)

func utc(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02 15:04", s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// TestNext: what comes next, over the changes of clocks both ways, north and
// south, by an hour, by half of one and by a day.
func TestNext(t *testing.T) {
	for _, c := range []struct{ when, after, want string }{
		{"2026-12-01 02:00 Europe/London", "2026-01-01 00:00", "2026-12-01 02:00"},
		{"2026-07-01 02:00 Europe/London", "2026-01-01 00:00", "2026-07-01 01:00"},
		{"2026-12-01 02:00 Europe/London", "2026-12-01 02:00", ""},
		{"2026-12-01 02:00 UTC", "2026-12-01 01:59", "2026-12-01 02:00"},

		// London goes from 01:00 to 02:00 on 29 March 2026, and from 02:00 back to 01:00 on 25 October.
		{"2026-03-29 00:59 Europe/London", "2026-01-01 00:00", "2026-03-29 00:59"},
		{"2026-03-29 01:00 Europe/London", "2026-01-01 00:00", "2026-03-29 01:00"}, // is not on the clock: 02:00
		{"2026-03-29 01:30 Europe/London", "2026-01-01 00:00", "2026-03-29 01:30"}, // is not on the clock: 02:30
		{"2026-03-29 02:00 Europe/London", "2026-01-01 00:00", "2026-03-29 01:00"},
		{"2026-10-25 00:30 Europe/London", "2026-01-01 00:00", "2026-10-24 23:30"},
		{"2026-10-25 01:30 Europe/London", "2026-01-01 00:00", "2026-10-25 00:30"}, // twice: the first
		{"2026-10-25 02:00 Europe/London", "2026-01-01 00:00", "2026-10-25 02:00"},
		// New York: 8 March and 1 November.
		{"2026-03-08 02:30 America/New_York", "2026-01-01 00:00", "2026-03-08 07:30"},
		{"2026-11-01 01:30 America/New_York", "2026-01-01 00:00", "2026-11-01 05:30"},
		{"2026-11-01 02:30 America/New_York", "2026-01-01 00:00", "2026-11-01 07:30"},
		// Auckland: forward on 27 September, back on 5 April.
		{"2026-09-27 02:30 Pacific/Auckland", "2026-01-01 00:00", "2026-09-26 14:30"},
		{"2026-04-05 02:30 Pacific/Auckland", "2026-01-01 00:00", "2026-04-04 13:30"},
		// Lord Howe changes by half an hour.
		{"2026-10-04 02:15 Australia/Lord_Howe", "2026-01-01 00:00", "2026-10-03 15:45"},
		{"2026-04-05 01:45 Australia/Lord_Howe", "2026-01-01 00:00", "2026-04-04 14:45"},
		// Samoa had no 30 December 2011.
		{"2011-12-30 12:00 Pacific/Apia", "2011-01-01 00:00", "2011-12-30 22:00"},
		{"2026-06-01 00:00 Asia/Kathmandu", "2026-01-01 00:00", "2026-05-31 18:15"},

		{"daily 02:00 Europe/London", "2026-03-28 02:00", "2026-03-29 01:00"},
		{"daily 01:30 Europe/London", "2026-03-28 02:00", "2026-03-29 01:30"},
		{"daily 01:30 Europe/London", "2026-03-29 01:30", "2026-03-30 00:30"},
		{"daily 01:30 Europe/London", "2026-10-25 00:30", "2026-10-26 01:30"}, // not a second time on the same day
		{"daily 00:10 Pacific/Kiritimati", "2026-05-01 10:10", "2026-05-02 10:10"},
		{"daily 23:50 Pacific/Pago_Pago", "2026-05-01 10:49", "2026-05-01 10:50"},
		{"Sun 02:00 Europe/London", "2026-03-23 00:00", "2026-03-29 01:00"},
		{"Sun 02:00 Europe/London", "2026-03-29 01:00", "2026-04-05 01:00"},
		{"sun 02:00 Europe/London", "2026-10-24 00:00", "2026-10-25 02:00"},
		{"Mon 00:30 Pacific/Auckland", "2026-06-01 00:00", "2026-06-07 12:30"},
	} {
		w, err := Parse(c.when)
		if err != nil {
			t.Errorf("%s: %v", c.when, err)
			continue
		}
		got, ok := w.Next(utc(t, c.after))
		if ok != (c.want != "") || ok && !got.Equal(utc(t, c.want)) {
			t.Errorf("%s after %s: %v (%v), want %s", c.when, c.after, got.UTC(), ok, c.want)
		}
		if again, err := Parse(w.String()); err != nil || again.String() != w.String() {
			t.Errorf("%s is written as %q: %v", c.when, w, err)
		}
	}
}

// TestNextGoesOn: those that repeat come once in each period, through years of
// changing clocks.
func TestNextGoesOn(t *testing.T) {
	for _, c := range []struct {
		when  string
		n     int
		least time.Duration
	}{
		{"daily 01:30 Europe/London", 3653, 23 * time.Hour}, {"daily 02:15 Australia/Lord_Howe", 3653, 23 * time.Hour},
		{"daily 00:00 America/Sao_Paulo", 3653, 23 * time.Hour}, {"Sun 01:30 America/New_York", 522, 7*24*time.Hour - time.Hour},
	} {
		w, _ := Parse(c.when)
		from, to := utc(t, "2020-01-01 12:00"), utc(t, "2030-01-01 12:00")
		n, last := 0, time.Time{}
		for at, ok := w.Next(from); ok && at.Before(to); at, ok = w.Next(at) {
			if d := at.Sub(last); n > 0 && (d < c.least || d > c.least+2*time.Hour) {
				t.Fatalf("%s: %v after %v", c.when, d, last)
			}
			n, last = n+1, at
		}
		if n != c.n {
			t.Errorf("%s: %d in ten years, want %d", c.when, n, c.n)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, s := range []string{
		"", "2026-12-01 02:00", "2026-13-01 02:00 UTC", "2026-02-30 02:00 UTC", "2026-12-01 24:00 UTC", "2026-12-01 02:00 Europe/Lonodn",
		"2026-12-01 02:00 Local", "someday 02:00 UTC", "2026-12-01 02:00 UTC extra", "daily 2am UTC",
	} {
		if w, err := Parse(s); err == nil || !strings.Contains(err.Error(), "Europe/London") {
			t.Errorf("%q: %v, %v", s, w, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("Sun 02:00 Europe/London", int64(1_800_000_000))
	f.Add("2026-10-25 01:30 Europe/London", int64(0))
	f.Fuzz(func(t *testing.T, s string, after int64) {
		w, err := Parse(s)
		if err != nil {
			return
		}
		if again, err := Parse(w.String()); err != nil || again.String() != w.String() {
			t.Fatalf("%q is written as %q: %v", s, w, err)
		}
		now := time.Unix(after%4_000_000_000, 0)
		if at, ok := w.Next(now); ok && !at.After(now) || !ok && w.Repeats() {
			t.Fatalf("%q after %v: %v, %v", s, now, at, ok)
		}
	})
}

// TestAround: the occurrence that counts at each time.
func TestAround(t *testing.T) {
	w := plan(t, Window{Name: "power", At: "Sun 02:00 Europe/London", For: 2 * time.Hour, Service: "web", By: "ann"})
	for _, c := range []struct {
		now, start string
		under      bool
	}{
		{"2026-06-01 00:00", "2026-06-07 01:00", false},
		{"2026-06-07 00:49", "2026-06-07 01:00", false},
		{"2026-06-07 00:50", "2026-06-07 01:00", true},
		{"2026-06-07 02:59", "2026-06-07 01:00", true},
		{"2026-06-07 03:00", "2026-06-14 01:00", false},
	} {
		o, ok := w.Around(utc(t, c.now), 10*time.Minute)
		if !ok || !o.Start.Equal(utc(t, c.start)) || o.Under(utc(t, c.now)) != c.under || o.End.Sub(o.Start) != w.For {
			t.Errorf("%s: %+v, %v", c.now, o, ok)
		}
	}
	w.Lead = time.Hour
	if o, _ := w.Around(utc(t, "2026-06-07 00:30"), time.Minute); !o.Under(utc(t, "2026-06-07 00:30")) {
		t.Errorf("its own lead: %+v", o)
	}
	o, _ := w.Around(utc(t, "2026-06-07 02:00"), 0)
	if in := w.Intent(o); in.Kind != policy.IntentDrain || in.Window != "power" || in.Service != "web" || !in.Until.Equal(o.End) || in.By != "maintenance power" {
		t.Errorf("%+v", in)
	}
	// Three hours are three hours, whatever the clocks do meanwhile.
	night := plan(t, Window{Name: "x", At: "2026-03-28 23:00 Europe/London", For: 4 * time.Hour})
	if o, _ := night.Around(utc(t, "2026-03-28 23:30"), 0); !o.End.Equal(utc(t, "2026-03-29 03:00")) || o.End.Hour() != 4 {
		t.Errorf("%+v", o)
	}
}

func TestCheck(t *testing.T) {
	good := Window{Name: "power", At: "daily 02:00 UTC", For: time.Hour}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Window){
		"name":                 func(w *Window) { w.Name = "a b" },
		"name \"\"":            func(w *Window) { w.Name = "" },
		"zone":                 func(w *Window) { w.At = "daily 02:00 Mars" },
		"for 1s":               func(w *Window) { w.For = time.Second },
		"for 1000h":            func(w *Window) { w.For = 1000 * time.Hour },
		"lead":                 func(w *Window) { w.Lead = -1 },
		"it would not be over": func(w *Window) { w.For = 23 * time.Hour },
		"why":                  func(w *Window) { w.Why = "a\nb" },
	} {
		w := good
		change(&w)
		if err := w.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", w, err, want)
		}
	}
}

func plan(t *testing.T, w Window) Planned {
	t.Helper()
	p, err := Plan(w)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
