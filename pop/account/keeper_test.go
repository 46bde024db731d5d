package account

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/cost"
	"github.com/catchment/catchment/pop/journal"
)

// meter is what a POP of a test measures.
type meter struct {
	mu        sync.Mutex
	rates     []Rate
	answers   []Answers
	redirects []Redirected
	harm      *Harm
}

func (m *meter) Rates() []Rate           { m.mu.Lock(); defer m.mu.Unlock(); return m.rates }
func (m *meter) Redirects() []Redirected { m.mu.Lock(); defer m.mu.Unlock(); return m.redirects }
func (m *meter) Harm() *Harm             { m.mu.Lock(); defer m.mu.Unlock(); return m.harm }
func (m *meter) Answers() []Answers {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Answers(nil), m.answers...)
}

func (m *meter) set(f func()) { m.mu.Lock(); defer m.mu.Unlock(); f() }

// count adds answers twice a minute until ctx ends.
func (m *meter) count(ctx context.Context, kinds ...Answers) {
	for i := range kinds {
		k := kinds[i]
		k.N = 0
		m.set(func() { m.answers = append(m.answers, k) })
	}
	t := time.NewTicker(30 * time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			m.set(func() {
				for i := range kinds {
					m.answers[i].N += kinds[i].N
				}
			})
		}
	}
}

type entries struct {
	mu   sync.Mutex
	list []string
}

func (e *entries) Append(x journal.Entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, string(x.Kind)+": "+x.Text)
}

func (e *entries) all() string { e.mu.Lock(); defer e.mu.Unlock(); return strings.Join(e.list, "\n") }

func config() Config {
	return Config{
		Currency: "EUR", Slot: 5 * time.Minute, Day: 1, Keep: 62,
		POPs: []POP{
			{ID: "LON", Links: []Link{{Name: "eth0", Price: cost.Price{PerGB: 2}}, {Name: "eth1", In: true, Price: cost.Price{PerGB: 1}}}, Distance: map[policy.POPID]time.Duration{"CHP": 10 * time.Millisecond}},
			{ID: "CHP", Links: []Link{{Price: cost.Price{PerGB: 1}}}},
		},
		Ceiling: Ceiling{Latency: 50 * time.Millisecond, Least: 100, Window: 15 * time.Minute, Calm: time.Hour},
	}
}

// fleet is POPs that tell each other of their slots at once.
type fleet struct {
	mu       sync.Mutex
	keepers  map[policy.POPID]*Keeper
	journals map[policy.POPID]*entries
	alarms   map[policy.POPID][]bool
}

func (f *fleet) start(t *testing.T, ctx context.Context, c Config, id policy.POPID, m Meter, dir string) *Keeper {
	f.mu.Lock()
	if f.keepers == nil {
		f.keepers, f.journals, f.alarms = map[policy.POPID]*Keeper{}, map[policy.POPID]*entries{}, map[policy.POPID][]bool{}
	}
	j := &entries{}
	f.journals[id] = j
	f.mu.Unlock()
	k := New(Options{
		POP: id, Config: c, Meter: m, Journal: j, Dir: dir, Logger: slog.New(slog.DiscardHandler),
		Alarm: func(_ context.Context, on bool, _ string) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.alarms[id] = append(f.alarms[id], on)
		},
		Peers: func() (out []Told) {
			f.mu.Lock()
			defer f.mu.Unlock()
			for id, k := range f.keepers {
				out = append(out, Told{id, k.Message()})
			}
			return out
		},
	})
	f.mu.Lock()
	f.keepers[id] = k
	f.mu.Unlock()
	go func() {
		if err := k.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	return k
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 0.02*math.Abs(want)+1e-9 {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestBooksOfTwoPOPs: both POPs show the same books: what was carried, what
// half of the answers of one of them moved, by day and month, after a restart
// and under other prices too.
func TestBooksOfTwoPOPs(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		// LON sends 10 Gbit/s by eth0 and gets 1 Gbit/s by eth1; CHP sends 8 Gbit/s, of whose answers a quarter is of LON's clients.
		lon := &meter{rates: []Rate{{"eth0", 0, 10e9}, {"eth1", 1e9, 7e9}, {"", 1e9, 17e9}}}
		chp := &meter{rates: []Rate{{"", 0, 8e9}}}
		f := fleet{}
		f.start(t, ctx, config(), "LON", lon, dir)
		f.start(t, ctx, config(), "CHP", chp, "")
		go lon.count(ctx, Answers{"LON", "LON", "", 50}, Answers{"LON", "CHP", "slow", 50})
		go chp.count(ctx, Answers{"CHP", "CHP", "", 150})
		time.Sleep(24*time.Hour + 12*time.Minute)
		check := func(k *Keeper, price float64) {
			t.Helper()
			r := k.Report(time.Now(), 3)
			row := map[policy.POPID]cost.Saving{}
			for _, x := range r.Month.Rows {
				row[x.POP] = x.Saving
			}
			gb := 24.0 * 3600 / 8 // of 1 Gbit/s
			near(t, "LON sent", row["LON"].Sent, 11*gb)
			near(t, "LON's bill", row["LON"].Cost, 10*gb*price+gb)
			near(t, "moved away", row["LON"].Moved, 2*gb)
			near(t, "sent for others", row["CHP"].Moved, -2*gb)
			near(t, "CHP saves less than nothing", row["CHP"].Saved(), -2*gb)
			near(t, "LON's bill without", row["LON"].Would, 10*gb*price*13/11+gb*13/11)
			near(t, "later", row["LON"].Quality.Later(), 10.0*2/13)
			sum := r.Month.Sum()
			near(t, "later in the mean", sum.Quality.Later(), 10.0*2/19)
			near(t, "all that was moved", sum.Moved, 2*gb)
			if len(r.Days) != 2 || r.Before != nil || r.Currency != "EUR" || r.NoDistance != 1 || r.Stalls {
				t.Errorf("%d days, %+v", len(r.Days), r)
			}
			near(t, "the first day", r.Days[1].Rows[0].Sent, 11*gb)
			if n := row["LON"].Slots; n < 288 || n > 291 {
				t.Errorf("%d slots", n)
			}
		}
		for _, k := range f.keepers {
			check(k, 2)
		}
		cancel()
		synctest.Wait()

		ctx, cancel = context.WithCancel(t.Context())
		defer cancel()
		k := f.start(t, ctx, config(), "LON", lon, dir)
		check(k, 2)
		other := config()
		other.POPs[0].Links[0].Price.PerGB = 3
		k.Set(other)
		time.Sleep(time.Second)
		synctest.Wait()
		check(k, 3)
		k.Set(Config{})
		time.Sleep(time.Minute)
		if m := k.Message(); m != nil {
			t.Errorf("without prices it says %s", m)
		}
		if r := k.Report(time.Now(), 3); len(r.Month.Rows) != 0 {
			t.Errorf("%+v", r)
		}
	})
}

// TestCeilingStops: harm stops the steering by itself at all POPs, outlives a
// restart, and is over after the calm; each is said once.
func TestCeilingStops(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		lon, chp := &meter{rates: []Rate{{"eth0", 0, 1e9}}}, &meter{rates: []Rate{{"", 0, 1e9}}, harm: &Harm{}}
		f := fleet{}
		f.start(t, ctx, config(), "LON", lon, dir)
		f.start(t, ctx, config(), "CHP", chp, "")
		time.Sleep(20 * time.Minute)
		chp.set(func() { chp.harm = &Harm{Moved: 1000, Left: 1000, MovedStalls: 5, LeftStalls: 5} })
		time.Sleep(11 * time.Minute)
		for id, k := range f.keepers {
			if stop, _ := k.Stopped(); stop {
				t.Fatalf("%s has stopped without harm: %s", id, f.journals[id].all())
			}
			if r := k.Report(time.Now(), 0); !r.Stalls {
				t.Errorf("%s does not know of stalls", id)
			}
		}
		chp.set(func() { chp.harm = &Harm{Moved: 2000, Left: 2000, MovedStalls: 45, LeftStalls: 10} })
		time.Sleep(time.Minute)
		for id, k := range f.keepers {
			if stop, why := k.Stopped(); !stop || why != "stalls" {
				t.Fatalf("%s goes on: %v %q", id, stop, why)
			}
			if all := f.journals[id].all(); strings.Count(all, "\n") != 0 || !strings.Contains(all, "cost: steering by cost and slowness is stopped: 0.0175 more stalls") {
				t.Errorf("%s: %s", id, all)
			}
		}
		cancel()
		synctest.Wait()
		ctx, cancel = context.WithCancel(t.Context())
		defer cancel()
		k := f.start(t, ctx, config(), "LON", lon, dir)
		if stop, why := k.Stopped(); !stop || why != "stalls" {
			t.Fatalf("a restart has forgotten the stop: %v %q", stop, why)
		}
		time.Sleep(30 * time.Minute)
		if stop, _ := k.Stopped(); !stop {
			t.Error("it went on before the calm was over")
		}
		if r := k.Report(time.Now(), 0); r.Stopped == nil || r.Stopped.Why != "stalls" {
			t.Errorf("%+v", r.Stopped)
		}
		time.Sleep(time.Hour)
		if stop, _ := k.Stopped(); stop {
			t.Error("it did not go on after the calm")
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if a := f.alarms["LON"]; len(a) < 3 || !a[0] || a[len(a)-1] {
			t.Errorf("alarms %v", a)
		}
		if _, err := os.Stat(filepath.Join(dir, "stopped.json")); !os.IsNotExist(err) {
			t.Error(err)
		}
	})
}

// TestLatencyStops: what is estimated of delay is judged as well, without a
// word from players.
func TestLatencyStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c := config()
		c.Ceiling.Latency = 3 * time.Millisecond
		lon, chp := &meter{rates: []Rate{{"eth0", 0, 1e9}}}, &meter{rates: []Rate{{"", 0, 1e9}}}
		f := fleet{}
		k := f.start(t, ctx, c, "LON", lon, "")
		f.start(t, ctx, c, "CHP", chp, "")
		go lon.count(ctx, Answers{"LON", "CHP", "slow", 10})
		time.Sleep(10 * time.Minute)
		if stop, why := k.Stopped(); !stop || why != "latency" || !strings.Contains(f.journals["LON"].all(), "5.00 ms later in the mean") {
			t.Errorf("%v %q: %s", stop, why, f.journals["LON"].all())
		}
	})
}

// TestMissing: slots in which a POP was not heard of are missing and not zero,
// what cannot be used is said and changes nothing, and old days go.
func TestMissing(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "1990-01-01.jsonl")
	for name, text := range map[string]string{
		old:                                    `{"slot":1,"every":300,"links":{"LON/eth0":[1,1]}}`,
		filepath.Join(dir, "1999-12-31.jsonl"): `{"slot":3155610,"every":300,"links":{"LON/eth0":[8e9,16e9],"gone/x":[1,1]},"quality":{"LON":{"Moved":7}}}` + "\n{broken\n" + `{"slot":3155609,"every":60,"links":{}}` + "\n" + `{"slot":31`,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) { // begins at midnight of 2000-01-01
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var mu sync.Mutex
		var told json.RawMessage
		say := func(s string) { mu.Lock(); defer mu.Unlock(); told = json.RawMessage(s) }
		k := New(Options{
			POP: "LON", Config: config(), Meter: &meter{rates: []Rate{{"eth0", 0, 8e9}}}, Journal: &entries{}, Dir: dir, Logger: slog.New(slog.DiscardHandler),
			Peers: func() []Told { mu.Lock(); defer mu.Unlock(); return []Told{{"CHP", told}, {"XXX", told}, {"YYY", nil}} },
		})
		done := make(chan struct{})
		go func() { k.Run(ctx); close(done) }()
		for _, bad := range []string{`{`, `[{"slot":3155761,"every":60,"links":[]}]`, `[{"slot":3155761,"every":300,"seconds":-1}]`} {
			say(bad)
			time.Sleep(time.Minute)
			if r := k.Report(time.Now(), 0); len(r.Bad) != 2 {
				t.Errorf("%s: %v", bad, r.Bad)
			}
		}
		say(`[{"slot":9999999,"every":300,"seconds":300,"links":[{"out":8e9}]},{"slot":3,"every":300,"seconds":300}]`) // of another time
		time.Sleep(20 * time.Minute)
		r := k.Report(time.Now(), 2)
		if len(r.Bad) != 0 || r.Month.Rows[0].Slots != 0 || r.Month.Rows[1].Slots != 0 || r.Month.Slots != 3 {
			t.Errorf("%+v", r) // eth1 of LON is not measured: none of its slots is whole
		}
		near(t, "LON's eth0", r.Month.Rows[0].Sent, 3*300)
		if r.Before == nil || r.Before.Rows[0].Quality.Moved != 7 || len(r.Days) != 2 {
			t.Errorf("%+v", r)
		}
		near(t, "the month before", r.Before.Rows[0].Cost, 2*300)
		near(t, "without", r.Before.Rows[0].Would, 4*300)
		if _, err := os.Stat(old); !os.IsNotExist(err) {
			t.Errorf("1990 is still there: %v", err)
		}
		cancel()
		<-done
	})
	b, err := os.ReadFile(filepath.Join(dir, "2000-01-01.jsonl"))
	if err != nil || strings.Count(string(b), "\n") != 3 {
		t.Errorf("%s %v", b, err)
	}
}

// TestSlotsOfOnePOP: what is measured of a slot is its mean, counts are those
// of the slot alone, and counters that begin anew add nothing.
func TestSlotsOfOnePOP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &meter{
			rates: []Rate{{"eth0", 0, 1e9}}, answers: []Answers{{"LON", "CHP", "slow", 1000}}, redirects: []Redirected{{"CHP", 10, 1e6}}, harm: &Harm{Moved: 5},
		}
		k := New(Options{POP: "LON", Config: config(), Meter: m, Peers: func() []Told { return nil }, Journal: &entries{}, Logger: slog.New(slog.DiscardHandler)})
		tick := func() { time.Sleep(100 * time.Second); k.round(t.Context(), time.Now()) }
		k.round(t.Context(), time.Now())
		m.rates[0].Out, m.answers[0].N, m.redirects[0], m.harm = 4e9, 1010, Redirected{"CHP", 12, 3e6}, &Harm{Moved: 6, Left: 1}
		tick()
		m.rates = nil // not known
		tick()
		samples, err := decode(k.Message())
		if err != nil || len(samples) != 1 {
			t.Fatal(err, samples)
		}
		s := samples[0]
		if s.Seconds != 100 || s.Links[0].Out != 4e9 || s.Answers[0].N != 10 || s.Redirected[0] != (Redirected{"CHP", 2, 2e6}) || *s.Harm != (Harm{Moved: 1, Left: 1}) {
			t.Errorf("%+v", s)
		}
		m.rates, m.answers[0].N, m.redirects[0].Requests = []Rate{{"eth0", 0, 2e9}, {"eth1", 1, 1}}, 3, 1 // began anew
		tick()
		tick()
		samples, _ = decode(k.Message())
		if len(samples) != 2 || samples[0].Slot != samples[1].Slot+1 || samples[1].Answers[0].N != 10 || len(samples[0].Answers) != 0 {
			t.Errorf("%+v", samples)
		}
		// Redirects are known by what was asked for: 2 MB in the slot.
		c := config()
		_, moves, _ := c.sums(heard{&s, {Seconds: 300, Links: []Rate{{"", 0, 1e9}}}})
		if len(moves) != 1 || moves[0].From != 0 || moves[0].To != 1 {
			t.Fatalf("%+v", moves)
		}
	})
}

func FuzzTold(f *testing.F) {
	f.Add([]byte(`[{"slot":3155761,"every":300,"seconds":300,"links":[{"link":"eth0","out":8e9}],"answers":[{"from":"LON","to":"CHP","n":3}],"redirected":[{"to":"CHP","bytes":1}],"harm":{"moved":1}}]`))
	f.Add([]byte(`[{"slot":-1}]`))
	f.Add([]byte(`[{"every":300,"links":[{"out":1e300}]}]`))
	f.Add([]byte(`[{"every":300,"answers":[{"n":18446744073709551615}]}]`))
	f.Add([]byte(`[{},{},{},{},{},{},{},{},{}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		samples, err := decode(b)
		if err != nil {
			return
		}
		c := config()
		for i := range samples {
			sent, moves, quality := c.sums(heard{&samples[i], &samples[i]})
			for _, m := range moves {
				if !(m.Rate >= 0) || math.IsInf(m.Rate, 0) {
					t.Fatalf("%+v", m)
				}
			}
			for _, q := range quality {
				if x := q.Later(); math.IsNaN(x) || x < 0 {
					t.Fatalf("%+v", q)
				}
			}
			l, _ := c.ledger()
			l.Add(samples[i].Slot, sent, moves, quality)
			for _, s := range l.Between(0, math.MaxInt64, 0) {
				if math.IsNaN(s.Cost) || math.IsNaN(s.Would) {
					t.Fatalf("%+v", s)
				}
			}
		}
	})
}
