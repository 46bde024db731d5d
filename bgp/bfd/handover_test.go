package bfd

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// restart hands the left node's sessions over through a file and brings up
// its next life after the pause.
func restart(t *testing.T, a *air, n *node, pause time.Duration, sessions ...SessionConfig) *node {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bfd.json")
	if err := KeepHandover(path, n.HandOver(t.Context())); err != nil {
		t.Fatal(err)
	}
	n.stop()
	time.Sleep(pause)
	kept, err := TakeHandover(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the handover can be taken twice")
	}
	return a.nodeResuming(t, left, kept, sessions...)
}

func TestRestartIsNotSeen(t *testing.T) {
	for _, pause := range []time.Duration{0, 200 * ms, 20 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			a := newAir()
			here := SessionConfig{Neighbor: right, Transmit: 100 * ms, Receive: 100 * ms}
			l := a.node(t, left, here)
			r := a.node(t, right, SessionConfig{Neighbor: left, Transmit: 100 * ms, Receive: 100 * ms})
			defer r.stop()
			l.untilUp(t)
			r.untilUp(t)
			l = restart(t, a, l, pause, here)
			defer l.stop()
			r.quiet(t, 10*time.Second)
			l.quiet(t, 0)
			if s := r.Sessions()[0]; s.State != Up || s.Detection > Interval(time.Second) {
				t.Errorf("after a pause of %v: %+v", pause, s)
			}
			// From here on it is a session like any other.
			a.lose(left, true)
			r.expect(t, Down, true)
			l.expect(t, Down, true)
		})
	}
}

// TestRestartTooLate: the neighbor has given up; that is no failure of the
// new life, and the session comes up from the start.
func TestRestartTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAir()
		here := SessionConfig{Neighbor: right, Transmit: 100 * ms, Receive: 100 * ms}
		l := a.node(t, left, here)
		r := a.node(t, right, SessionConfig{Neighbor: left, Transmit: 100 * ms, Receive: 100 * ms})
		defer r.stop()
		l.untilUp(t)
		r.untilUp(t)
		kept := l.HandOver(t.Context())
		l.stop()
		r.expect(t, Down, true)
		r.quiet(t, 10*ms) // until what it said before has arrived: heard up, it would be a failure
		l = a.nodeResuming(t, left, kept, here)
		defer l.stop()
		l.expect(t, Down, false)
		for e := range l.events {
			if e.State == Up {
				break
			}
		}
	})
}

func TestHandoverIsForgotten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bfd.json")
	if kept, err := TakeHandover(path); err != nil || kept != nil {
		t.Errorf("no file: %v, %v", kept, err)
	}
	old := Handover{Neighbor: right, LocalDiscriminator: 1, Until: time.Now().Add(-time.Second)}
	if err := KeepHandover(path, []Handover{old}); err != nil {
		t.Fatal(err)
	}
	if kept, err := TakeHandover(path); err != nil || len(kept) != 0 {
		t.Errorf("too old: %v, %v", kept, err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := TakeHandover(path); err == nil {
		t.Error("half a file was taken")
	}
}

func TestPatience(t *testing.T) {
	for interval, want := range map[time.Duration]uint8{
		0: 255, 10 * ms: 255, 100 * ms: 255, 300 * ms: 100, time.Second: 30, time.Minute: DefaultMultiplier,
	} {
		if got := patientMultiplier(interval); got != want {
			t.Errorf("%v: %d, want %d", interval, got, want)
		}
	}
}

// TestLastPacketIsPatient: a regular packet between the patient ones and the
// silence must not take the patience back.
func TestLastPacketIsPatient(t *testing.T) {
	for offset := range 20 * time.Millisecond / ms {
		synctest.Test(t, func(t *testing.T) {
			a := newAir()
			l, r := a.node(t, left, SessionConfig{Neighbor: right, Transmit: 10 * ms, Receive: 10 * ms}),
				a.node(t, right, SessionConfig{Neighbor: left, Transmit: 10 * ms, Receive: 10 * ms})
			defer r.stop()
			l.untilUp(t)
			r.untilUp(t)
			time.Sleep(time.Second + offset*ms)
			l.HandOver(t.Context())
			r.quiet(t, 2*time.Second) // of 2.55 s
			l.stop()
		})
	}
}
