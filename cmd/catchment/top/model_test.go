package top

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

func prefix(s string) (id slice) {
	if err := id.UnmarshalText([]byte(s)); err != nil {
		panic(err)
	}
	return id
}

// TestChanges: which keys make which call. The rows of World are: POP, the
// resolver that needs a look and its slice, web and its three.
func TestChanges(t *testing.T) {
	web := policy.Intent{Kind: policy.IntentDrain, Service: "web", At: apitest.Now}
	hold := policy.Intent{Kind: policy.IntentHold, Service: "web", Slice: prefix("192.0.2.0/24"), At: apitest.Now}
	pin := policy.Intent{Kind: policy.IntentPin, At: apitest.Now}
	for _, tc := range []struct {
		name    string
		intents []policy.Intent
		keys    string
		want    []Effect
	}{
		{"drain a service", nil, "d type:disks enter y enter", []Effect{Do{Drain, api.Change{Service: "resolver-with-a-long-name", Why: "disks"}}}},
		{"drain a slice", nil, "end d type:disks enter y enter", []Effect{Do{Drain, api.Change{Slice: prefix("192.0.2.0/23"), Why: "disks"}}}},
		{"drain the POP", nil, "home d type:disks enter type:LON enter", []Effect{Do{Drain, api.Change{Why: "disks"}}}},
		{"y is not enough for the POP", nil, "home d type:disks enter y enter", nil},
		{"not without a reason", nil, "d enter enter y enter", nil},
		{"a blank is no reason", nil, "d space type:  enter enter esc", nil},
		{"not without a confirmation", nil, "d type:disks enter enter", nil},
		{"not with n", nil, "d type:disks enter n enter", nil},
		{"leaving", nil, "d type:disks enter esc y enter esc", []Effect{Explain{[]slice{prefix("2001:db8:5353:5353::/64")}}}},
		{"keys are letters in a reason", nil, "h type:qdh? backspace backspace enter y enter", []Effect{Do{Hold, api.Change{Service: "resolver-with-a-long-name", Why: "qd"}}}},
		{"editing", nil, "h type:one ctrl+u type:two three ctrl+w type:four enter x backspace y enter", []Effect{Do{Hold, api.Change{Service: "resolver-with-a-long-name", Why: "two four"}}}},
		{"one at a time", nil, "d type:disks enter y enter d y esc", []Effect{Do{Drain, api.Change{Service: "resolver-with-a-long-name", Why: "disks"}}}},
		{"the target of an alarm", nil, "tab tab tab tab tab d type:disks enter y enter", []Effect{Do{Drain, api.Change{Slice: prefix("2001:db8:5353:5353::/64"), Why: "disks"}}}},
		{"the target of a check", nil, "tab d type:disks enter y enter", []Effect{Do{Drain, api.Change{Service: "resolver-with-a-long-name", Why: "disks"}}}},
		{"a neighbor is no target", nil, "tab tab d type:disks enter y enter", nil},
		{"nothing to undrain", nil, "u type:done enter y", nil},
		{"undrain from a slice of it", []policy.Intent{web}, "end u type:done enter y enter", []Effect{Do{Undrain, api.Change{Service: "web", Why: "done"}}}},
		{"undrain all", []policy.Intent{web}, "home u type:done enter type:LON enter", []Effect{Do{Undrain, api.Change{Why: "done"}}}},
		{"another's drain", []policy.Intent{web}, "u type:done enter y", nil},
		{"a hold is no drain", []policy.Intent{hold}, "end up up u type:done enter y", nil},
		{"release the only one within", []policy.Intent{hold}, "end up up up r type:done enter y enter", []Effect{Do{Release, api.Change{Slice: prefix("192.0.2.0/24"), Why: "done"}}}},
		{"release a pin of all", []policy.Intent{pin}, "end r type:done enter type:LON enter", []Effect{Do{Release, api.Change{Why: "done"}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := apitest.World()
			b.POP.Intents = tc.intents
			m := known(t, b, 80, 24)
			m, got := press(m, words(tc.keys)...)
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("%+v, want %+v\n%s", got, tc.want, text(m))
			}
		})
	}
}

// words splits at blanks, but not within what is typed: that ends before the
// next word that names a key.
func words(s string) (out []string) {
	named := map[string]bool{"enter": true, "ctrl+w": true, "ctrl+u": true, "backspace": true, "esc": true}
	for _, w := range strings.Split(s, " ") {
		if n := len(out); n > 0 && strings.HasPrefix(out[n-1], "type:") && !named[w] {
			out[n-1] += " " + w
			continue
		}
		out = append(out, w)
	}
	return out
}

// TestTargetStays: the question is about what the cursor was on when the key
// was pressed, whatever the daemon says meanwhile.
func TestTargetStays(t *testing.T) {
	b := apitest.World()
	m := known(t, b, 80, 24)
	m, _ = press(m, "d", "type:disks", "enter")
	slices.Reverse(b.POP.Services)
	b.POP.Services[0].Health.Verdict = policy.Down
	st, _ := b.Status(t.Context())
	st.Services = st.Services[:1] // web alone
	m, _ = Update(m, Answered{Status: st, At: here.Add(time.Second)})
	_, got := press(m, "y", "enter")
	if want := []Effect{Do{Drain, api.Change{Service: "resolver-with-a-long-name", Why: "disks"}}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestCursorStays: the cursor is on a thing, not on a line.
func TestCursorStays(t *testing.T) {
	b := many()
	m := known(t, b, 80, 24)
	m, _ = press(m, "end", "up")
	before, _ := m.current()
	slices.Reverse(b.POP.Services)
	st, _ := b.Status(t.Context())
	m, _ = Update(m, Answered{Status: st, At: here})
	if after, _ := m.current(); after.key != before.key || !strings.Contains(text(m), ">  "+after.cells[0].Text) {
		t.Errorf("cursor was on %q, now on %q\n%s", before.key, after.key, text(m))
	}
}

// TestNoDaemon: nothing can be changed while there is no answer, also where
// it went away while a question was open.
func TestNoDaemon(t *testing.T) {
	m := known(t, apitest.World(), 80, 24)
	gone := Failed{Why: "connection refused", At: here.Add(time.Second)}
	away, _ := Update(m, gone)
	if m, got := press(away, "d", "type:disks"); m.prompt != nil || got != nil {
		t.Errorf("prompt %+v, effects %+v", m.prompt, got)
	}
	asked, _ := press(m, "d", "type:disks", "enter", "y")
	asked, _ = Update(asked, gone)
	asked, got := press(asked, "enter")
	if got != nil || asked.prompt == nil || asked.prompt.wrong != "connection refused" {
		t.Errorf("%+v, %+v", got, asked.prompt)
	}
	st, _ := apitest.World().Status(t.Context())
	asked, _ = Update(asked, Answered{Status: st, At: here.Add(2 * time.Second)})
	if _, got = press(asked, "enter"); len(got) != 1 {
		t.Errorf("after it came back: %+v", got)
	}
}

// TestKeys: what the other keys do.
func TestKeys(t *testing.T) {
	m := known(t, apitest.World(), 80, 24)
	for key, want := range map[string]Effect{"q": Quit{}, "ctrl+c": Quit{}, "ctrl+z": Suspend{}, "ctrl+l": Repaint{}} {
		if _, got := press(m, key); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %+v", key, got)
		}
	}
	open, _ := press(m, "d")
	if after, got := press(open, "ctrl+c"); len(got) != 1 || View(after, 80, 24).Cursor != nil {
		t.Errorf("^C in a prompt leaves a cursor behind: %+v", got)
	}
	if _, got := press(open, "q"); got != nil {
		t.Errorf("q in a reason: %+v", got)
	}
	// Esc and a key that arrive as one.
	if after, got := press(open, "alt+d", "alt+e"); after.prompt != nil || after.page == nil || len(got) != 1 {
		t.Errorf("alt+d, alt+e: %+v %+v", after.prompt, got)
	}
	var seen []paneID
	for at := m; ; {
		at, _ = press(at, "tab")
		if seen = append(seen, at.focus); at.focus == services {
			break
		}
	}
	if want := []paneID{checks, neighbors, pops, decisions, alarms, services}; !slices.Equal(seen, want) {
		t.Errorf("tab: %v, want %v", seen, want)
	}
	if back, _ := press(m, "shift+tab"); back.focus != alarms {
		t.Errorf("shift+tab: %v", back.focus)
	}
	var looks []string
	at := m
	for range 6 {
		at, _ = press(at, "n")
		r, _ := at.current()
		looks = append(looks, r.key)
	}
	want := []string{"slice 2001:db8:5353:5353::/64", "resolver-with-a-long-name/dns-udp", "2001:db8:ffff:ffff:ffff:ffff:ffff:2", "AMSstatus",
		"last-pop 2001:db8:5353:5353::/64 0", "service resolver-with-a-long-name"}
	if !slices.Equal(looks, want) {
		t.Errorf("n: %q", looks)
	}
}

// TestExplainFollows: an open explanation is asked for again with each status,
// an answer for one that is closed changes nothing.
func TestExplainFollows(t *testing.T) {
	b := apitest.World()
	m := explained(t, known(t, b, 80, 24), b, "e")
	st, _ := b.Status(t.Context())
	m, effects := Update(m, Answered{Status: st, At: here})
	if len(effects) != 1 || !reflect.DeepEqual(effects[0], Explain{[]slice{prefix("2001:db8:5353:5353::/64")}}) {
		t.Errorf("%+v", effects)
	}
	failed, _ := Update(m, Explained{IDs: m.page.ids, Err: "no such\x1b slice"})
	if got := text(failed); !strings.Contains(got, "no such  slice") || !strings.Contains(got, "because guarded") {
		t.Errorf("a failure must show beside the last answer:\n%s", got)
	}
	closed, _ := press(m, "esc")
	if after, _ := Update(closed, Explained{IDs: m.page.ids}); after.page != nil {
		t.Error("an answer opened a closed page")
	}
	if _, effects := Update(closed, Answered{Status: st, At: here}); len(effects) != 0 {
		t.Errorf("asks on after it was closed: %+v", effects)
	}
}

// TestScroll: a page scrolls to its end and no further.
func TestScroll(t *testing.T) {
	b := many()
	m := known(t, b, 40, 10)
	m, _ = press(m, "?", "end", "down", "pgdown")
	bottom := text(m)
	up, _ := press(m, "up")
	if !strings.Contains(bottom, "shows all of it") || text(up) == bottom {
		t.Errorf("the last page, then one up:\n%s\n%s", bottom, text(up))
	}
	if top, _ := press(m, "home"); !strings.Contains(text(top), "Look\n") {
		t.Errorf("the first page:\n%s", text(top))
	}
}

func TestJournalIsBounded(t *testing.T) {
	m := known(t, apitest.World(), 80, 24)
	for i := range 3 * keepEntries {
		m, _ = Update(m, Journaled{Entry: api.JournalEntry{Seq: uint64(i)}})
	}
	if n := len(m.entries); n != keepEntries || m.entries[n-1].Seq != 3*keepEntries-1 {
		t.Errorf("%d entries, the last is %d", n, m.entries[n-1].Seq)
	}
	if m, _ = Update(m, Journaled{First: true}); len(m.entries) != 1 {
		t.Errorf("%d entries after a new start", len(m.entries))
	}
}

// TestUpdateIsPure: an event leaves the model that it was given as it was.
func TestUpdateIsPure(t *testing.T) {
	b := many()
	m := known(t, b, 80, 24)
	before := text(m)
	samples := len(m.samples["web"])
	for _, e := range []Event{
		Answered{Status: api.Status{Now: apitest.Now.Add(time.Second), Services: b.POP.Services}, At: here}, Journaled{First: true},
		Key{Name: "end"}, Key{Name: "d"}, Key{Name: "?"}, Key{Name: "tab"}, Resized{1, 1}, Failed{At: here.Add(time.Hour)},
	} {
		Update(m, e)
	}
	if text(m) != before || len(m.samples["web"]) != samples {
		t.Errorf("the model changed:\n%s", text(m))
	}
}

func TestText(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{cut("abcdef", 6), "abcdef"}, {cut("abcdef", 5), "abc.."}, {cut("abcdef", 2), "ab"}, {cut("abcdef", 0), ""}, {cut("配線工事", 5), "配.."},
		{middle("2001:db8:ffff:ffff::fff0/124", 20), "2001:db8:..:fff0/124"}, {middle("2001:db8::/32", 20), "2001:db8::/32"},
		{clean("a\x1b[31m\u202Eb\u200d\uFE0F\r\n\xff"), "a [31mb  ?"},
		{strings.Join(wrap("one two three", 7, "  "), "|"), "one two|  three"}, {strings.Join(wrap("onetwothree", 5, "  "), "|"), "onetw|  oth|  ree"},
		{strings.Join(wrap("one two", 100, ""), "|"), "one two"}, {tail("abcdef", 3), "def"}, {tail("配線", 3), "線"},
		{age(here, time.Time{}), "-"}, {age(here, here.Add(-99*time.Second)), "99s"}, {age(here, here.Add(-100*time.Second)), "1m"},
		{age(here, here.Add(-47*time.Hour)), "47h"}, {age(here, here.Add(-48*time.Hour)), "2d"}, {age(here, here.Add(time.Hour)), "0s"},
	} {
		if tc.got != tc.want {
			t.Errorf("%q, want %q", tc.got, tc.want)
		}
	}
}

// TestMono: what the environment says about colour.
func TestMono(t *testing.T) {
	for env, want := range map[string]bool{
		"TERM=xterm-256color": false, "TERM=linux": false, "TERM=screen": false, "TERM=vt100": true, "TERM=vt220": true, "TERM=xterm-mono": true,
		"TERM=xterm NO_COLOR=1": true, "TERM=xterm NO_COLOR=yes": true, "TERM=xterm NO_COLOR=": false,
	} {
		if got := mono(strings.Fields(env)); got != want {
			t.Errorf("%s: %v", env, got)
		}
	}
}
