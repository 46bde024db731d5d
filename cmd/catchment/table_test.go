package main

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
)

func TestAge(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0: "0s", 400 * time.Millisecond: "400ms", 1900 * time.Millisecond: "1s", 59 * time.Second: "59s", 90 * time.Second: "1m30s",
		time.Hour: "1h", 90 * time.Minute: "1h30m", 47 * time.Hour: "47h", 50 * time.Hour: "2d2h", 48 * time.Hour: "2d", -time.Second: "0s",
	} {
		if got := age(now, now.Add(-d)); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	if got := age(now, time.Time{}); got != "-" {
		t.Errorf("never: %q", got)
	}
}

// TestTable: aligned by cells, not by bytes or runes, and cut only on a
// terminal.
func TestTable(t *testing.T) {
	for _, tc := range []struct {
		name  string
		width int
		set   func(*table)
		want  string
	}{
		{"pipe", 0, nil, `
NAME                     STANCE    REASON
zürich                   announce  healthy
東京                     withdraw  check-down: connection refused by the service
2001:db8:5353:5353::/64  -         -`},
		{"cut", 50, nil, `
NAME                     STANCE    REASON
zürich                   announce  healthy
東京                     withdraw  check-down: c..
2001:db8:5353:5353::/64  -         -`},
		{"never the key", 20, nil, `
NAME                     STANCE    REASON
zürich                   announce  healthy
東京                     withdraw  check-..
2001:db8:5353:5353::/64  -         -`},
		{"wrapped", 55, func(t *table) { t.wrap = true }, `
NAME                     STANCE    REASON
zürich                   announce  healthy
東京                     withdraw  check-down:
                                   connection refused
                                   by the service
2001:db8:5353:5353::/64  -         -`},
		{"spare", 45, func(t *table) { t.spare = []int{2} }, `
NAME                     STANCE
zürich                   announce
東京                     withdraw
2001:db8:5353:5353::/64  -`},
		{"room for the spare", 60, func(t *table) { t.spare = []int{2} }, `
NAME                     STANCE    REASON
zürich                   announce  healthy
東京                     withdraw  check-down: connection ..
2001:db8:5353:5353::/64  -         -`},
	} {
		tb := newTable("NAME", "STANCE", "REASON")
		tb.row("zürich", "announce", "healthy")
		tb.row("東京", "withdraw", "check-down: connection refused by the service")
		tb.row("2001:db8:5353:5353::/64", "", "")
		if tc.set != nil {
			tc.set(tb)
		}
		var b bytes.Buffer
		tb.write(screen{Writer: &b, width: tc.width})
		got, want := "\n"+strings.TrimRight(b.String(), "\n"), tc.want
		if got != want {
			t.Errorf("%s:%s\nwant%s", tc.name, got, want)
		}
	}
}

// TestTableFits: whatever is in it, a table that can be cut to the terminal is,
// its first column is whole, and columns begin in the same cell in each line.
func TestTableFits(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	words := []string{"a", "zürich", "東京都", "2001:db8:ffff:ffff::/64", "connection refused", "é", "-", "announce"}
	for range 2000 {
		cols := 2 + r.IntN(6)
		head := make([]string, cols)
		for i := range head {
			head[i] = "H"
		}
		tb := newTable(head...)
		keys := 0
		for range 1 + r.IntN(5) {
			row := make([]string, cols)
			for i := range row {
				for range 1 + r.IntN(3) {
					row[i] += words[r.IntN(len(words))]
				}
			}
			keys = max(keys, width(row[0]))
			tb.row(row...)
		}
		most := 20 + r.IntN(200)
		var b bytes.Buffer
		tb.write(screen{Writer: &b, width: most})
		room := keys + (cols-1)*(gap+leastCut)
		for i, line := range strings.Split(strings.TrimRight(b.String(), "\n"), "\n") {
			if w := width(line); w > max(most, room) {
				t.Fatalf("%d cells, want %d (%d at least):\n%s", w, most, room, b.String())
			}
			if !strings.HasPrefix(line, tb.rows[i][0]+strings.Repeat(" ", keys-width(tb.rows[i][0])+gap)) {
				t.Fatalf("line %d does not begin with %q:\n%s", i, tb.rows[i][0], b.String())
			}
		}
	}
}

// TestColours: only where they are wanted, and the text is the same without.
func TestColours(t *testing.T) {
	write := func(colour bool) string {
		var b bytes.Buffer
		tb := newTable("SLICE", "STANCE", "CHANGE")
		tb.row("announce", "withdraw", "announce normal -> drain")
		tb.write(screen{Writer: &b, width: 80, colour: colour})
		return b.String()
	}
	with, without := write(true), write(false)
	if ansi.Strip(with) != without || strings.Contains(without, "\x1b") {
		t.Errorf("%q and %q", with, without)
	}
	for _, want := range []string{"\x1b[1;31mwithdraw\x1b[m", "\x1b[33mannounce normal -> drain\x1b[m", "\nannounce  "} {
		if !strings.Contains(with, want) {
			t.Errorf("%q lacks %q", with, want)
		}
	}
}

// TestScreen: when colours are used, and when a picture may be drawn over.
func TestScreen(t *testing.T) {
	for _, tc := range []struct {
		colour       string
		tty          bool
		env          map[string]string
		want, redraw bool
	}{
		{"auto", true, nil, true, true},
		{"auto", true, map[string]string{"NO_COLOR": "1"}, false, true},
		{"auto", true, map[string]string{"TERM": "dumb"}, false, false},
		{"auto", false, nil, false, false},
		{"always", false, map[string]string{"NO_COLOR": "1"}, true, false},
		{"never", true, nil, false, true},
	} {
		a := newApp(&bytes.Buffer{}, nil)
		a.colour, a.env = tc.colour, func(k string) string { return tc.env[k] }
		if tc.tty {
			a.size = func() (int, int) { return 80, 24 }
		}
		if s := a.screen(); s.colour != tc.want || s.clear != tc.redraw {
			t.Errorf("%+v: %+v", tc, s)
		}
	}
}

func TestOneLine(t *testing.T) {
	for s, want := range map[string]string{
		"a\nb\x1b[2J": "a b [2J", "Zu\u0308rich": "Zürich", "a\u202eb\u200dc": "abc", "x\u2028y": "x y", "東京\uFE0F": "東京",
	} {
		if got := oneLine(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	names := map[string]bool{"web": true, "resolver": true}
	for what, want := range map[string]string{
		"wbe": `; did you mean "web"?`, "RESOLVER": `; did you mean "resolver"?`, "resolvr": `; did you mean "resolver"?`, "zzzzzzzz": `; there are ["resolver" "web"]`,
	} {
		if got := didYouMean(what, names); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
}
