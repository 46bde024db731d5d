package checkpoint

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// TestMoving: which addresses move is heard, and that they do not any more.
func TestMoving(t *testing.T) {
	b := NewBook(Options{VIP: ours})
	now := time.Now()
	p, e := connect(b, "LON", now), NewEncoder()
	p.say(t, nil)
	many := slices.Repeat([]netip.Addr{netip.MustParseAddr("192.0.2.1")}, maxMoving+1)
	for _, tc := range []struct {
		what string
		say  []byte
		all  bool
		want []netip.Addr
	}{
		{"two", e.Moving(nil, []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}), false, []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}},
		{"all", e.Drain(nil), true, nil},
		{"one", e.Moving(nil, many[:1]), false, many[:1]},
		{"more than can be said", e.Moving(nil, many), true, nil},
		{"none", e.Moving(nil, nil), false, nil},
	} {
		p.w.Write(tc.say)
		p.w.Write(p.e.Beat(nil))
		r := b.POPs()[0]
		if moves := tc.all || len(tc.want) > 0; r.Drain.IsZero() == moves || !slices.Equal(r.Moving, tc.want) {
			t.Errorf("%s: %+v", tc.what, r)
		}
	}
	p.close()
}

// TestLink: the URL of an object is known with its flows; one that is too long
// or none is left out.
func TestLink(t *testing.T) {
	b := NewBook(Options{VIP: ours})
	p := connect(b, "LON", time.Now())
	flows := clients(4)
	for i, link := range []string{"http://www.example.com/film?part=1", "", "ftp://example.com/", "https://example.com/" + string(make([]byte, MaxLink))} {
		flows[i].Object = object(i)
		flows[i].Object.Link = link
	}
	p.say(t, flows)
	got := map[string]int{}
	for _, k := range b.Flows("LON", time.Now()) {
		got[k.Object.Link]++
	}
	if len(got) != 2 || got["http://www.example.com/film?part=1"] != 1 || got[""] != 3 {
		t.Errorf("links %v", got)
	}
	p.close()
}

// TestLinger: a flow that has ended there may be gone on with for a while, and
// nobody is woken for it; it gives way where there is no room.
func TestLinger(t *testing.T) {
	now := time.Now()
	b := NewBook(Options{VIP: ours, Flows: 4})
	p := connect(b, "LON", now)
	more := clients(6)
	for i := range more {
		more[i].Object = object(i)
	}
	flows := more[:4]
	p.say(t, flows)
	p.say(t, flows[:2])
	ask := func(f Flow) bool {
		_, ok := b.Take(Ask{Client: f.Client.Addr(), VIP: f.VIP.Addr(), Object: f.Object, Offset: f.Offset}, now)
		return ok
	}
	if n := len(b.Flows("LON", now)); n != 2 || b.POPs()[0].Flows != 2 {
		t.Errorf("%d flows, %+v", n, b.POPs()[0])
	}
	if !ask(flows[2]) || ask(flows[2]) {
		t.Error("a flow that has just ended is not there once")
	}
	p.say(t, append(flows[:2:2], more[4:]...)) // in the place of those that ended
	if r := b.POPs()[0]; r.Flows != 4 || r.Counts.Full != 0 || ask(flows[3]) {
		t.Errorf("%+v", r)
	}
	p.say(t, nil)
	b.Expire(now.Add(time.Minute))
	if len(b.clients) != 0 {
		t.Errorf("%d clients are remembered", len(b.clients))
	}
	p.close()
}
