package top

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (run with -update and read the diff):\n%s", name, got)
	}
}

// here is the clock of this machine; the daemon's is another one.
var here = time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)

// known is a model that has heard what b has to say.
func known(t *testing.T, b *apitest.Backend, w, h int) Model {
	t.Helper()
	st, err := b.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := New(w, h, 3*time.Second)
	m, _ = Update(m, Answered{Status: st, At: here})
	for i, e := range b.Entries {
		m, _ = Update(m, Journaled{Entry: e, First: i == 0})
	}
	return m
}

// press presses keys, a word each; words that are no key's name are typed.
func press(m Model, keys ...string) (Model, []Effect) {
	var effects []Effect
	for _, k := range keys {
		all := []Key{{Name: k}}
		if len(k) == 1 {
			all[0].Text = k
		} else if text, ok := strings.CutPrefix(k, "type:"); ok {
			all = nil
			for _, r := range text {
				all = append(all, Key{Name: string(r), Text: string(r)})
			}
		}
		for _, key := range all {
			var more []Effect
			m, more = Update(m, key)
			effects = append(effects, more...)
		}
	}
	return m, effects
}

// many is a POP with more of everything than a screen holds.
func many() *apitest.Backend {
	b := apitest.World()
	b.POP.POP = "LON"
	for i := range 40 {
		load := float64(100 * i)
		s := api.ServiceStatus{
			ID: policy.ServiceID(fmt.Sprintf("svc%02d", i)), Load: &load,
			Health: policy.Health{Verdict: policy.Up, Fraction: 1, Since: apitest.Now.Add(-time.Hour)},
			Slices: []api.SliceStatus{{
				Slice: slice(netip.MustParsePrefix(fmt.Sprintf("198.51.100.%d/32", i))), Service: policy.ServiceID(fmt.Sprintf("svc%02d", i)),
				Stance: policy.Stance{Action: policy.Announce}, Rung: "normal", Since: apitest.Now.Add(-time.Hour), Reason: policy.Reason{Code: policy.Healthy},
			}},
		}
		b.POP.Services = append(b.POP.Services, s)
		b.POP.Neighbors = append(b.POP.Neighbors, api.PeerStatus{Address: netip.MustParseAddr(fmt.Sprintf("10.1.0.%d", i)), AS: 64510, State: "established", BFD: "up", GracefulRestart: true})
		b.POP.Alarms = append(b.POP.Alarms, api.Alarm{Name: "blast", Detail: fmt.Sprintf("alarm %d", i), Since: apitest.Now})
		b.Entries = append(b.Entries, api.JournalEntry{Seq: uint64(100 + i), Time: apitest.Now, Kind: "decision", Text: fmt.Sprintf("entry %d", i)})
	}
	return b
}

// strange is a POP whose names and words are as bad as they can be.
func strange() *apitest.Backend {
	b := apitest.World()
	b.POP.POP = "東京"
	svc := &b.POP.Services[0]
	svc.ID = "ウェブサービスの名前はとても長いのです"
	svc.Slices[0].Service, svc.Slices[1].Service = svc.ID, svc.ID
	svc.Slices[1].Slice = slice(netip.MustParsePrefix("2001:db8:ffff:ffff:ffff:ffff:ffff:fff0/124"))
	svc.Slices[0].Reason.Detail = "配線工事\x1b[2J\u202Egnp.exe 👩\u200d🚒 e\u0301 done"
	b.POP.Neighbors[0].Description = "トランジット\r\none"
	b.POP.Intents = []policy.Intent{{Kind: policy.IntentHold, Service: svc.ID, By: "uid 1000 (アン)", At: apitest.Now.Add(-time.Minute), Why: "😀 checks\nare rebuilt"}}
	return b
}

// drained is the World with its web service in a drain.
func drained() *apitest.Backend {
	b := apitest.World()
	b.POP.Intents = []policy.Intent{{Kind: policy.IntentDrain, Service: "web", By: "uid 1000 (ann)", At: apitest.Now.Add(-4 * time.Second), Why: "new disks"}}
	b.Set("web", func(s *api.SliceStatus) {
		if !s.Cover {
			s.Stance, s.Rung, s.Since = policy.Stance{Action: policy.Drain}, "", apitest.Now.Add(-4*time.Second)
			s.Reason = policy.Reason{Code: policy.Operator, Detail: "draining for uid 1000 (ann): new disks"}
			s.Intent = b.POP.Intents[0]
			s.Next, s.NextAt = "withdraw", apitest.Now.Add(26*time.Second)
		}
	})
	return b
}

// measured gives a POP rates: of itself, its web service and two hosts.
func measured(b *apitest.Backend) *apitest.Backend {
	at := func(unit string, value, capacity float64, ago time.Duration) api.LoadStatus {
		return api.LoadStatus{Unit: unit, Value: &value, Capacity: capacity, At: apitest.Now.Add(-ago)}
	}
	b.POP.Load = &api.LoadReport{
		POP: []api.LoadStatus{at("in", 310e6, 40e9, time.Second), at("out", 16.8e9, 40e9, time.Second), at("requests", 45678, 0, 2*time.Second), at("connections", 1234, 0, time.Second), at("cpu", 0.37, 0.8, time.Second)},
		Hosts: []api.HostLoad{
			{Host: "cache1", Load: []api.LoadStatus{at("in", 300e6, 10e9, time.Second), at("out", 9.31e9, 10e9, time.Second), {Unit: "requests", At: apitest.Now.Add(-40 * time.Second)}}},
			{Host: "local", Load: []api.LoadStatus{at("cpu", 0.05, 0, time.Second)}},
		},
		Sources: []api.LoadSource{
			{Name: "nginx", Of: "host cache1", Error: "GET http://192.0.2.10/status: connection refused", Since: apitest.Now.Add(-40 * time.Second)},
			{Name: "local:pressure", Of: "host local", Error: "the kernel has no PSI", Absent: true},
		},
	}
	for i := range b.POP.Services {
		if s := &b.POP.Services[i]; s.ID == "web" {
			s.Measured = []api.LoadStatus{at("requests", 45678, 60000, 2*time.Second), at("connections", 1234, 0, time.Second)}
		}
	}
	return b
}

// painted is a screen as a terminal gets it, with the escapes made visible.
func painted(m Model, colour bool) string {
	var b strings.Builder
	for _, l := range View(m, m.width, m.height).Lines {
		b.WriteString(strings.TrimRight(strings.ReplaceAll(l.Paint(colour), "\x1b", "^"), " ") + "\n")
	}
	return b.String()
}

func text(m Model) string {
	var b strings.Builder
	for _, l := range View(m, m.width, m.height).Lines {
		b.WriteString(strings.TrimRight(l.Text(), " ") + "\n")
	}
	return b.String()
}

// TestScreens: what is seen, at all sizes, with and without colour.
func TestScreens(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {120, 40}, {60, 15}} {
		m := known(t, apitest.World(), size[0], size[1])
		name := fmt.Sprintf("world-%dx%d", size[0], size[1])
		golden(t, name+".txt", text(m))
		golden(t, name+"-mono.txt", painted(m, false))
		golden(t, name+"-colour.txt", painted(m, true))
		golden(t, fmt.Sprintf("many-%dx%d.txt", size[0], size[1]), text(known(t, many(), size[0], size[1])))
		golden(t, fmt.Sprintf("strange-%dx%d.txt", size[0], size[1]), text(known(t, strange(), size[0], size[1])))
		golden(t, fmt.Sprintf("drained-%dx%d.txt", size[0], size[1]), text(known(t, drained(), size[0], size[1])))
		golden(t, fmt.Sprintf("measured-%dx%d.txt", size[0], size[1]), text(known(t, measured(apitest.World()), size[0], size[1])))
	}
}

// TestColourOnlyRepeats: without colour the same text is there.
func TestColourOnlyRepeats(t *testing.T) {
	for _, b := range []*apitest.Backend{apitest.World(), many(), strange(), drained(), measured(strange())} {
		for _, l := range View(known(t, b, 100, 30), 100, 30).Lines {
			for _, colour := range []bool{true, false} {
				if got := ansi.Strip(l.Paint(colour)); got != l.Text() {
					t.Errorf("colour %v: %q, want %q", colour, got, l.Text())
				}
			}
		}
	}
}

// TestSituations: the other screens at 80x24.
func TestSituations(t *testing.T) {
	world := func() Model { return known(t, apitest.World(), 80, 24) }
	for _, tc := range []struct {
		name string
		m    func() Model
	}{
		{"nothing-heard", func() Model { return New(80, 24, time.Second) }},
		{"empty", func() Model {
			return known(t, &apitest.Backend{POP: api.Status{POP: "LON", Version: "v0.1.0", Now: apitest.Now, Started: apitest.Now, DryRun: true, Stopping: true}}, 80, 24)
		}},
		{"help", func() Model { m, _ := press(world(), "?"); return m }},
		{"line", func() Model { m, _ := press(world(), "tab", "tab", "enter"); return m }},
		{"why", func() Model { m, _ := press(world(), "down", "down", "down", "d", "type:new disks"); return m }},
		{"why-not", func() Model { m, _ := press(world(), "d", "enter"); return m }},
		{"sure", func() Model { m, _ := press(world(), "end", "d", "type:new disks", "enter"); return m }},
		{"sure-all", func() Model {
			m, _ := press(world(), "home", "d", "type:new disks", "enter", "type:y", "enter")
			return m
		}},
		{"asked", func() Model {
			m, _ := press(world(), "end", "d", "type:new disks", "enter", "type:y", "enter")
			return m
		}},
		{"refused", func() Model {
			m, e := press(world(), "end", "d", "type:new disks", "enter", "type:y", "enter")
			err := &api.Error{Code: api.Refused, Guard: "last-pop", Message: "no other POP announces 192.0.2.0/24"}
			m, _ = Update(m, Changed{Do: e[0].(Do), Err: err.Error()})
			return m
		}},
		{"gone", func() Model {
			m, _ := Update(world(), Failed{Why: "no daemon on /run/catchment/catchment.sock: dial unix: connect: connection refused", At: here.Add(37 * time.Second)})
			m, _ = Update(m, JournalLost{Why: "EOF"})
			return m
		}},
		{"silent", func() Model { m, _ := Update(world(), Ticked{At: here.Add(9 * time.Second)}); return m }},
		{"explain", func() Model { return explained(t, world(), apitest.World(), "e") }},
		{"explain-service", func() Model { return explained(t, world(), apitest.World(), "end", "up", "up", "e", "pgdown") }},
		{"loads", func() Model { m, _ := press(known(t, measured(apitest.World()), 80, 24), "tab"); return m }},
		{"alone", func() Model { // no other POPs, no load, and a drain, which a cover does not obey
			b := drained()
			b.POP.Fleet, b.POP.Services[0].Load = nil, nil
			b.POP.Services[0].Slices[2].Intent = b.POP.Intents[0]
			return known(t, b, 80, 24)
		}},
		{"busy-rate", func() Model {
			b := apitest.World()
			m := known(t, b, 80, 24)
			for i := range 15 {
				*b.POP.Services[0].Load -= 7
				b.POP.Now = b.POP.Now.Add(time.Second)
				st, _ := b.Status(t.Context())
				m, _ = Update(m, Answered{Status: st, At: here.Add(time.Duration(i) * time.Second)})
			}
			return m
		}},
	} {
		t.Run(tc.name, func(t *testing.T) { golden(t, tc.name+".txt", text(tc.m())) })
	}
}

// explained presses keys and gives what is then asked for.
func explained(t *testing.T, m Model, b *apitest.Backend, keys ...string) Model {
	t.Helper()
	for _, k := range keys {
		var effects []Effect
		m, effects = press(m, k)
		for _, e := range effects {
			out := Explained{IDs: e.(Explain).IDs}
			for _, id := range out.IDs {
				x, err := b.Explain(context.Background(), id)
				if err != nil {
					t.Fatal(err)
				}
				out.All = append(out.All, x)
			}
			m, _ = Update(m, out)
		}
	}
	return m
}

// TestEverySize: no screen is higher or wider than the terminal, and none has
// a control character in it.
func TestEverySize(t *testing.T) {
	for name, b := range map[string]*apitest.Backend{"world": apitest.World(), "many": many(), "strange": strange(), "drained": drained(), "measured": measured(strange()), "empty": {}} {
		base := known(t, b, 80, 24)
		help, _ := press(base, "?")
		why, _ := press(base, "d", "type:配線工事配線工事配線工事 because of 配線工事 and so on and on and on and on")
		sure, _ := press(why, "enter")
		gone, _ := Update(base, Failed{Why: "x\x1b[2J" + strings.Repeat("配", 99), At: here.Add(time.Hour)})
		for i, m := range []Model{base, help, why, sure, gone} {
			for w := 1; w <= 130; w += 1 + w/8 {
				for h := 1; h <= 45; h += 1 + h/8 {
					checkScreen(t, fmt.Sprintf("%s %d", name, i), View(m, w, h), w, h)
				}
			}
		}
	}
}

func checkScreen(t *testing.T, name string, s Screen, w, h int) {
	t.Helper()
	if len(s.Lines) != h {
		t.Fatalf("%s %dx%d: %d lines", name, w, h, len(s.Lines))
	}
	for y, l := range s.Lines {
		if got := width(l.Text()); got > w || strings.ContainsAny(l.Text(), "\x1b\r\n\t") {
			t.Fatalf("%s %dx%d line %d is %d wide: %q", name, w, h, y, got, l.Text())
		}
		if a, b := ansi.StringWidth(l.Text()), width(l.Text()); a != b {
			t.Fatalf("%s %dx%d line %d: a terminal that joins characters shows it %d wide, others %d: %q", name, w, h, y, a, b, l.Text())
		}
	}
	if c := s.Cursor; c != nil && (c.X < 0 || c.X >= w || c.Y < 0 || c.Y >= h) {
		t.Fatalf("%s %dx%d: cursor at %+v", name, w, h, *c)
	}
}
