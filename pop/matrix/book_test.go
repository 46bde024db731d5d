package matrix

import (
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
)

func uint8ToLevel(l int) shed.Level { return shed.Level(l) }

var (
	t0     = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	ladder = Ladder{{Name: "normal"}, {Name: "one", Prepend: 1}, {Name: "three", Prepend: 3}}
	weight = map[policy.POPID]float64{"LON": 2, "FRA": 1, "AMS": 1}
)

func seeds() Seeds {
	return Seeds{POP: "LON", Weight: weight, Ladders: map[policy.ServiceID]Ladder{"web": ladder}}
}

func part(k shed.Known, p policy.POPID) shed.Part {
	for _, t := range k.To {
		if t.POP == p {
			return t
		}
	}
	return shed.Part{}
}

// TestSeeds: by size, then what the operator names, then what was measured.
func TestSeeds(t *testing.T) {
	s := seeds()
	withdraw := shed.Level(3)
	k := s.matrix(ladder).Lookup("LON", withdraw, t0)
	if k.Leave.Mean != 1 || k.Leave.SD() > 0.02 || math.Abs(part(k, "FRA").Mean-0.5) > 1e-9 {
		t.Errorf("by size: %+v", k)
	}
	if k := s.matrix(ladder).Lookup("LON", 1, t0); k.Leave.SD() < 0.3 {
		t.Errorf("nobody knows what a rung moves: %+v", k.Leave)
	}
	wide := part(k, "FRA").SD
	s.Receivers = []Receivers{{Of: "LON", Part: map[policy.POPID]float64{"FRA": 3, "AMS": 1}}, {Of: "ZRH", Part: map[policy.POPID]float64{"LON": 1}}}
	k = s.matrix(ladder).Lookup("LON", withdraw, t0)
	if f := part(k, "FRA"); math.Abs(f.Mean-0.725) > 1e-9 || f.SD >= wide {
		t.Errorf("receivers named: %+v, by size ±%v", f, wide)
	}
	c, err := Read(strings.NewReader("configuration;LON;FRA;AMS;ZRH\nnormal;50;25;25;10\nLON=one;40;34;26;10\nLON=withdraw;0;70;30;10\nLON=prepend:3+FRA=one;20;5;75;3\nLON=nope;30;40;30;10\n"), "c")
	if err != nil {
		t.Fatal(err)
	}
	c.Measured = t0
	s.Catchments = c
	m := s.matrix(ladder)
	if k := m.Lookup("LON", 1, t0); math.Abs(k.Leave.Mean-0.2) > 1e-9 || math.Abs(part(k, "FRA").Mean-0.18) > 0.001 {
		t.Errorf("measured rung: %+v", k)
	}
	if k := m.Lookup("LON", withdraw, t0); k.Leave.Mean != 1 || math.Abs(part(k, "FRA").Mean-0.9) > 0.001 {
		t.Errorf("measured withdraw: %+v", k)
	}
	if k := m.Lookup("LON", 2, t0); math.Abs(k.Leave.Mean-0.2) > 1e-9 || k.Leave.SD() < 0.2 {
		t.Errorf("a rung beside a measured one: %+v", k.Leave)
	}
	old, fresh := m.Lookup("LON", 1, t0.AddDate(0, 2, 0)), m.Lookup("LON", 1, t0)
	if old.Leave.Var <= fresh.Leave.Var || old.Age != t0.AddDate(0, 2, 0).Sub(t0) {
		t.Errorf("it does not age: %+v, %+v", old, fresh)
	}
	if len(m.Plays) != 1 || m.Plays[0].Level["LON"] != 2 || m.Plays[0].Level["FRA"] != 1 {
		t.Errorf("plays %+v", m.Plays)
	}
	said := strings.Join(s.Remarks(), "\n")
	if !strings.Contains(said, "does not name; their clients are left out: ZRH") || !strings.Contains(said, `c:6: no ladder has a rung "nope"`) {
		t.Errorf("remarks: %s", said)
	}
}

// TestBook: what was observed counts above all, outlives the daemon, and is
// applied to what the configuration says now.
func TestBook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "matrix.json")
	log := slog.New(slog.DiscardHandler)
	b := NewBook(path, log)
	b.Set(seeds())
	if k := b.Known("web", "LON", 3); k.To != BySize || k.Amount != Certain || !k.At.IsZero() {
		t.Errorf("of nothing is known %+v", k)
	}
	e := Event{Service: "web", POP: "LON", From: "normal", To: Withdraw, At: t0,
		Before: map[policy.POPID]float64{"LON": 50, "FRA": 25, "AMS": 25}, After: map[policy.POPID]float64{"LON": 0, "FRA": 70, "AMS": 30}}
	if err := b.Observe(e); err != nil {
		t.Fatal(err)
	}
	learned := func(b *Book) float64 { return part(b.Matrix("web").Lookup("LON", 3, t0), "FRA").Mean }
	if f := learned(b); math.Abs(f-0.9) > 0.02 {
		t.Errorf("FRA gets %v of it, want about 0.9", f)
	}
	if k := b.Known("web", "LON", 1); k.To != Observed || k.Amount != BySize || !k.At.Equal(t0) {
		t.Errorf("of another rung is known %+v", k)
	}
	again := NewBook(path, log)
	again.Set(seeds())
	if learned(again) != learned(b) {
		t.Errorf("after a restart %v, before %v", learned(again), learned(b))
	}
	other := NewBook(filepath.Join(t.TempDir(), "matrix.json"), log)
	other.Set(seeds())
	for i, want := range []int{1, 0} {
		if n, err := other.Merge(b.Events()); n != want || err != nil {
			t.Errorf("merge %d: %d news, %v", i, n, err)
		}
	}
	if learned(other) != learned(b) {
		t.Error("another POP learns otherwise from the same event")
	}
	short := seeds() // the ladder has lost its rungs, the withdraw is level 1 now
	short.Ladders = map[policy.ServiceID]Ladder{"web": {{Name: "normal"}}}
	b.Set(short)
	if f := part(b.Matrix("web").Lookup("LON", 1, t0), "FRA").Mean; math.Abs(f-0.9) > 0.02 {
		t.Errorf("with another ladder FRA gets %v", f)
	}
}

func TestBookRefuses(t *testing.T) {
	b := NewBook(filepath.Join(t.TempDir(), "matrix.json"), slog.New(slog.DiscardHandler))
	b.Set(seeds())
	good := Event{Service: "web", POP: "LON", From: "normal", To: "one", At: t0, Before: map[policy.POPID]float64{"LON": 2, "FRA": 1}, After: map[policy.POPID]float64{"LON": 1, "FRA": 2}}
	for want, change := range map[string]func(*Event){
		"incomplete":           func(e *Event) { e.To = e.From },
		"no such service":      func(e *Event) { e.Service = "dns" },
		"has no such rungs":    func(e *Event) { e.To = "seven" },
		"load NaN":             func(e *Event) { e.After = map[policy.POPID]float64{"LON": math.NaN()} },
		"loads of 0 POPs":      func(e *Event) { e.After = nil },
		"no load or no change": func(e *Event) { e.Before = map[policy.POPID]float64{"LON": 0} },
		"not in the matrix":    func(e *Event) { e.POP = "ZRH" },
	} {
		e := good
		change(&e)
		if err := b.Observe(e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := b.Observe(good); err != nil {
		t.Error(err)
	}
	for i := range 3 * keptEach {
		e := good
		e.At = t0.Add(time.Duration(i) * time.Minute)
		if err := b.Observe(e); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.Events()); n != keptEach {
		t.Errorf("%d events are kept, want %d", n, keptEach)
	}
}

// TestBookDamaged: a file that cannot be read costs what was learned and
// nothing else, and a person can look at it.
func TestBookDamaged(t *testing.T) {
	for _, text := range []string{"{", `{"events":[{"service":"web"}]}`} {
		path := filepath.Join(t.TempDir(), "matrix.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		b := NewBook(path, slog.New(slog.DiscardHandler))
		b.Set(seeds())
		if kept, err := os.ReadFile(path + ".bad"); err != nil || string(kept) != text || b.Matrix("web") == nil {
			t.Errorf("%q is kept as %q: %v", text, kept, err)
		}
	}
}
