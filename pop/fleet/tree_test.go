package fleet

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/policy"
)

// carrier is a POP whose statements a test carries.
type carrier struct {
	*Fleet
	claims []Claim
	heard  map[policy.POPID]Saying
}

func newCarrier(t *testing.T, pop policy.POPID, stale time.Duration) *carrier {
	c := &carrier{heard: map[policy.POPID]Saying{}}
	f, err := New(Config{POP: pop, Tree: true, Stale: stale}, func(context.Context) ([]Claim, error) { return c.claims, nil }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c.Fleet = f
	return c
}

func (c *carrier) say(t *testing.T) Saying {
	t.Helper()
	s, err := c.Tree().Say(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// carry brings a statement of one to another, as if made some time ago.
func carry(s Saying, from, to *carrier, ago time.Duration) error {
	h := Hearing{POP: from.cfg.POP, Boot: s.Boot, Sequence: s.Sequence, Made: time.Now().Add(-ago), Body: s.Body}
	if last, ok := from.heard[to.cfg.POP]; ok {
		h.AckBoot, h.Ack = last.Boot, last.Sequence
	}
	to.heard[from.cfg.POP] = s
	return to.Tree().Hear(h)
}

func one(stance policy.Action, v policy.Verdict) []Claim {
	return []Claim{{Slice: policy.SliceID(netip.MustParsePrefix("192.0.2.0/24")), Stance: policy.Stance{Action: stance}, Verdict: v}}
}

func (c *carrier) sees(of policy.POPID) (policy.Peer, policy.PeerSlice) {
	for _, p := range c.View(time.Now()).Peers {
		if p.POP == of {
			return p, p.Slices[policy.SliceID(netip.MustParsePrefix("192.0.2.0/24"))]
		}
	}
	return policy.Peer{}, policy.PeerSlice{}
}

func TestCarried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lon, ams := newCarrier(t, "LON", 5*time.Second), newCarrier(t, "AMS", 5*time.Second)
		if v := lon.View(time.Now()); !v.Configured || len(v.Peers) != 0 {
			t.Errorf("before anything is heard: %+v", v)
		}
		time.Sleep(time.Minute)
		ams.claims = one(policy.Announce, policy.Up)
		first := ams.say(t)
		if err := carry(first, ams, lon, 300*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		p, s := lon.sees("AMS")
		if !s.Stance.Announced() || p.Source != SourceTree || p.Asked.IsZero() || time.Since(p.Heard) != 300*time.Millisecond {
			t.Errorf("heard: %+v", p)
		}
		leaving := time.Now() // and we decide something
		time.Sleep(time.Second)
		second := ams.say(t)
		if err := carry(second, ams, lon, 0); err != nil {
			t.Fatal(err)
		}
		if p, _ := lon.sees("AMS"); p.Asked.After(leaving) {
			t.Error("it confirms what it has not heard")
		}
		if err := carry(first, ams, lon, 0); !errors.Is(err, Overtaken) {
			t.Errorf("repeated: %v", err)
		}
		lon.Poke(leaving)
		if s := lon.say(t); !s.Asks || !s.Urgent {
			t.Errorf("in doubt we say %+v", s)
		}
		<-changed(lon)
		if err := carry(lon.say(t), lon, ams, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		ams.claims = one(policy.Withdraw, policy.Down)
		if err := carry(ams.say(t), ams, lon, 0); err != nil {
			t.Fatal(err)
		}
		p, s = lon.sees("AMS")
		if !p.Asked.After(leaving) || s.Stance.Announced() || s.Verdict != policy.Down || s.DownSince.IsZero() {
			t.Errorf("it has answered: %+v", p)
		}
		select {
		case <-lon.Changed():
		default:
			t.Error("nobody was told")
		}
		if s := lon.say(t); s.Urgent {
			t.Error("all have answered, and we still ask")
		}
		time.Sleep(10 * time.Second)
		if r := lon.Peers(time.Now()); len(r) != 1 || !r[0].Stale {
			t.Errorf("after silence: %+v", r)
		}
	})
}

// changed empties the channel.
func changed(c *carrier) <-chan struct{} {
	done := make(chan struct{})
	select {
	case <-c.Changed():
	default:
	}
	close(done)
	return done
}

// TestCarriedLives: a POP that was restarted is another life, and what its
// former one said comes to nothing, however late.
func TestCarriedLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lon, before, after := newCarrier(t, "LON", 0), newCarrier(t, "AMS", 0), newCarrier(t, "AMS", 0)
		before.claims, after.claims = one(policy.Announce, policy.Up), one(policy.Withdraw, policy.Down)
		time.Sleep(time.Minute)
		if err := carry(before.say(t), before, lon, 0); err != nil {
			t.Fatal(err)
		}
		late := before.say(t)
		time.Sleep(time.Second)
		if err := carry(after.say(t), after, lon, 100*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if err := carry(late, before, lon, time.Second); !errors.Is(err, Overtaken) {
			t.Errorf("of the former life: %v", err)
		}
		if _, s := lon.sees("AMS"); s.Stance.Announced() {
			t.Error("the former life is believed")
		}
	})
}

func TestCarriedRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lon, ams := newCarrier(t, "LON", 0), newCarrier(t, "AMS", 0)
		ams.claims = one(policy.Announce, policy.Up)
		s := ams.say(t)
		h := Hearing{POP: "AMS", Boot: s.Boot, Sequence: s.Sequence, Made: time.Now(), Body: s.Body}
		for what, change := range map[string]func(*Hearing){
			"of another":  func(h *Hearing) { h.POP = "FRA" },
			"of nobody":   func(h *Hearing) { h.POP = "" },
			"no life":     func(h *Hearing) { h.Boot = "" },
			"no number":   func(h *Hearing) { h.Sequence = 0 },
			"no body":     func(h *Hearing) { h.Body = nil },
			"half a body": func(h *Hearing) { h.Body = h.Body[:20] },
		} {
			bad := h
			change(&bad)
			if err := lon.Tree().Hear(bad); !errors.Is(err, Malformed) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := ams.Tree().Hear(h); !errors.Is(err, WrongPOP) {
			t.Errorf("of ourselves: %v", err)
		}
		h.Body = append([]byte(`{"from_the_future":1,`), h.Body[1:]...)
		if err := lon.Tree().Hear(h); err != nil {
			t.Errorf("of a newer version: %v", err)
		}
		if n := lon.Refused()[Malformed]; n != 6 {
			t.Errorf("%d refused", n)
		}
	})
}
