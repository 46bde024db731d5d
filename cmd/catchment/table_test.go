package main

import (
	"bytes"
	"testing"
	"time"
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

func TestTable(t *testing.T) {
	tb := newTable("A", "LONGER", "LAST")
	tb.row("zürich", "", "x")
	tb.row("y", "2001:db8::/32", "")
	var b bytes.Buffer
	tb.write(&b)
	want := "A       LONGER         LAST\nzürich  -              x\ny       2001:db8::/32  -\n"
	if b.String() != want {
		t.Errorf("\n%s\nwant\n%s", b.String(), want)
	}
}

func TestDidYouMean(t *testing.T) {
	names := map[string]bool{"web": true, "resolver": true}
	for what, want := range map[string]string{
		"wbe": `; did you mean "web"?`, "resolvr": `; did you mean "resolver"?`, "zzzzzzzz": `; there are ["resolver" "web"]`,
	} {
		if got := didYouMean(what, names); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
}
