package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/catchment/catchment/pop/core"
	pb "github.com/catchment/catchment/pop/relay/relayv1"
)

// follower is the core that a daemon below the tree uses.
func (w *world) follower(pop string) (*core.Core, func()) {
	c := core.NewFollower(w.node[pop].Engine(), core.Options{Limits: wide})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	<-c.Ready()
	return c, func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	}
}

func TestWriteThroughTwoHops(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := line(t)
		defer w.end()
		time.Sleep(time.Second)
		c, stop := w.follower("FRA")
		defer stop()
		ctx := t.Context()
		o, err := c.Put(ctx, ann, key("new"), []byte(`{"x":1}`), core.Absent)
		if err != nil {
			t.Fatal(err)
		}
		truth, err := w.core.Get(ctx, key("new"))
		if err != nil || truth.Revision != o.Revision || truth.Who != "ann" || truth.Why != "test" {
			t.Errorf("at the member: %+v, %v", truth, err)
		}
		if _, err := c.Put(ctx, ann, key("new"), []byte("2"), core.Absent); !errors.Is(err, core.Conflict) {
			t.Errorf("a condition that does not hold: %v", err)
		}
		var e *core.Error
		if _, err := c.Put(ctx, ann, key("new"), []byte("2"), core.If(1)); !errors.As(err, &e) || e.Revision != o.Revision {
			t.Errorf("where it is: %v", err)
		}
		if got, err := c.Get(ctx, key("new")); err != nil || got.Revision != o.Revision {
			t.Errorf("read through: %v, %v", got, err)
		}
		w.same(time.Second, "FRA")
		if got, err := c.Get(ctx, key("new"), core.Stale()); err != nil || string(got.Value) != `{"x":1}` {
			t.Errorf("read here: %v, %v", got, err)
		}
		l, err := c.Grant(ctx, 2*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Txn(ctx, ann, nil, []core.Op{{Key: core.Key{Kind: core.KindPresence, Name: "x"}, Value: []byte("1"), Lease: l.ID}})
		if _, rerr := c.Renew(ctx, l); err != nil || rerr != nil {
			t.Errorf("%v, %v", err, rerr)
		}
		time.Sleep(3 * time.Second)
		if _, err := c.Get(ctx, core.Key{Kind: core.KindPresence, Name: "x"}, core.Stale()); !errors.Is(err, core.NotFound) {
			t.Errorf("after its lease: %v", err)
		}
		if _, err := c.Renew(ctx, l); !errors.Is(err, core.NotFound) {
			t.Errorf("a lease that is over: %v", err)
		}
	})
}

func TestUncertain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := line(t)
		defer w.end()
		time.Sleep(time.Second)
		c, stop := w.follower("FRA")
		defer stop()
		lost := ""
		w.net.lose = func(from, _ string) bool { return from == lost }
		for i, at := range []string{"FRA", "AMS"} { // the first hop's answer, and the second's
			lost = at
			var e *core.Error
			k := key(fmt.Sprint("lost", i))
			if _, err := c.Put(t.Context(), ann, k, []byte("1"), core.Absent); !errors.As(err, &e) || e.Code != core.Unavailable || !e.Uncertain {
				t.Errorf("answer lost below %s: %v", at, err)
			}
			if _, err := w.core.Get(t.Context(), k); err != nil {
				t.Errorf("it did happen: %v", err)
			}
		}
		lost = ""
		w.core.Fail(errors.New("no quorum"))
		var e *core.Error
		if _, err := c.Put(t.Context(), ann, key("z"), []byte("1"), core.Absent); !errors.As(err, &e) || e.Code != core.Unavailable || e.Uncertain {
			t.Errorf("refused by the core: %v", err)
		}
		w.core.Fail(nil)
		w.stop["AMS"]()
		w.stop["LON"]()
		time.Sleep(time.Second)
		if _, err := c.Put(t.Context(), ann, key("z"), []byte("1"), core.Absent); !errors.As(err, &e) || e.Code != core.Unavailable || e.Uncertain {
			t.Errorf("nobody to ask: %v", err)
		}
		if _, err := c.Get(t.Context(), key("a")); !errors.Is(err, core.Unavailable) {
			t.Errorf("read with nobody to ask: %v", err)
		}
		if _, err := c.Get(t.Context(), key("a"), core.Stale()); err != nil {
			t.Errorf("stale read with nobody to ask: %v", err)
		}
	})
}

// TestClosed: what a member refuses from the tree, and what a hop does.
func TestClosed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := line(t)
		defer w.end()
		time.Sleep(time.Second)
		c, stop := w.follower("FRA")
		defer stop()
		pop := func(name string) core.Write { return core.Write{Who: "pop " + name, Why: "test"} }
		for _, x := range []struct {
			by   core.Write
			key  core.Key
			code error
		}{
			{pop("FRA"), key("mine"), nil},
			{pop("AMS"), key("other"), core.Denied},
			{ann, core.Key{Kind: core.KindToken, Name: "0011223344556677"}, core.Denied},
			{ann, core.Key{Kind: core.KindTrust, Name: "fleet"}, core.Denied},
			{ann, core.Key{Kind: core.KindMember, Name: "voter/FRA"}, core.Denied},
			{ann, core.Key{Kind: core.KindMember, Name: "pop/FRA"}, nil},
			{ann, coreKey, core.Denied},
		} {
			_, err := c.Put(t.Context(), x.by, x.key, []byte("1"), core.Any)
			if x.code == nil && err != nil || x.code != nil && !errors.Is(err, x.code) {
				t.Errorf("%s writes %v: %v", x.by.Who, x.key, err)
			}
		}
		raw := w.node["FRA"].Engine()
		if _, err := raw.Commit(t.Context(), nil, []core.RawOp{{Key: "/elsewhere/x", Value: []byte("{}")}}); !errors.Is(err, core.Denied) {
			t.Errorf("outside: %v", err)
		}
		if _, err := raw.Commit(t.Context(), nil, []core.RawOp{{Key: "/catchment/1/config/a", Delete: true}}); !errors.Is(err, core.Invalid) {
			t.Errorf("without who and why: %v", err)
		}
		if _, err := raw.Read(t.Context(), core.RawQuery{From: "/", To: "\x00", Limit: 10}); !errors.Is(err, core.Denied) {
			t.Errorf("read of everything: %v", err)
		}
		r := w.node["LON"].commit(t.Context(), "AMS", &pb.CommitRequest{Origin: &pb.Origin{Pop: "NYC"}})
		if err := errorOf(r.Failure); !errors.Is(err, core.Unavailable) {
			t.Errorf("for a POP that is not below: %v", err)
		}
		limited := false
		for range 300 {
			if _, err := raw.Read(t.Context(), core.RawQuery{From: "/catchment/1/config/a", Limit: 1}); errors.Is(err, core.Limited) {
				limited = true
				break
			}
		}
		_ = limited // virtual time: each read takes 20 ms, which the rate allows
		for range 300 {
			if r := w.node["LON"].read(t.Context(), "AMS", &pb.ReadRequest{Origin: &pb.Origin{Pop: "AMS"}, From: "/catchment/1/config/a", Limit: 1}); errors.Is(errorOf(r.Failure), core.Limited) {
				limited = true
			}
		}
		if !limited {
			t.Error("a flood was not limited")
		}
	})
}

// TestWatch: a watcher below the tree sees each revision once and in order,
// also over a change of parents, and a snapshot where the history is gone.
func TestWatch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := line(t)
		defer w.end()
		c, stop := w.follower("FRA")
		defer stop()
		ctx, cancel := context.WithCancel(t.Context())
		var batches []core.Batch
		done := make(chan error, 1)
		go func() {
			done <- c.Watch(ctx, core.All(core.KindConfig), 0, func(b core.Batch) error { batches = append(batches, b); return nil })
		}()
		time.Sleep(time.Second)
		for i := range 20 {
			w.put("x", i)
			if i == 10 {
				w.stop["AMS"]()
			}
			time.Sleep(100 * time.Millisecond)
		}
		if _, err := w.core.Delete(t.Context(), core.Write{Who: "bob", Why: "gone"}, key("x"), core.Any); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		cancel()
		<-done
		if len(batches) != 22 || !batches[0].Snapshot || len(batches[0].Events) != 1 {
			t.Fatalf("%d batches, the first is %+v", len(batches), batches[0])
		}
		for i, b := range batches[1:] {
			if b.Snapshot || b.Revision <= batches[i].Revision || len(b.Events) != 1 {
				t.Errorf("batch %d: %+v", i+1, b)
			}
		}
		last := batches[21].Events[0]
		if !last.Deleted || last.Object.Who != "bob" || last.Object.Why != "gone" {
			t.Errorf("who deleted, told by our own copy: %+v", last)
		}
	})
}

// spoil changes what is told to a child once.
func (w *world) spoil(to string, change func(*pb.Down) bool) {
	done := false
	w.net.down = func(_, child string, m *pb.Down) *pb.Down {
		if child == to && !done {
			done = change(m)
		}
		return m
	}
}

func TestMismatch(t *testing.T) {
	for name, change := range map[string]func(*pb.Down) bool{
		"value": func(m *pb.Down) bool {
			d := m.GetDeltas()
			if d != nil {
				d.Deltas[0].Changed[0].Value = []byte("spoiled")
			}
			return d != nil
		},
		"lost": func(m *pb.Down) bool {
			d := m.GetDeltas()
			if d != nil {
				d.Deltas = d.Deltas[1:]
			}
			return d != nil
		},
		"hash": func(m *pb.Down) bool {
			d := m.GetDeltas()
			if d != nil {
				d.Deltas[0].Hash = bytes.Repeat([]byte{7}, 32)
			}
			return d != nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := line(t)
				defer w.end()
				w.spoil("FRA", change)
				w.put("b", 1)
				time.Sleep(time.Second)
				w.put("c", 1)
				w.same(3*time.Second, "FRA", "AMS")
				st := w.node["FRA"].Status()
				if st.Counts.Mismatches+st.Counts.Gaps != 1 || st.Counts.Received != 2 || st.Parent != "AMS" {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// TestLiar: who goes on telling what does not fit is left for another parent.
func TestLiar(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := line(t)
		defer w.end()
		w.net.down = func(from, to string, m *pb.Down) *pb.Down {
			if c := m.GetChunk(); from == "AMS" && to == "FRA" && c != nil {
				c.Items[0].Value = []byte("spoiled")
			}
			if d := m.GetDeltas(); from == "AMS" && to == "FRA" && d != nil {
				d.Deltas[0].Hash = nil
			}
			return m
		}
		w.put("b", 1)
		w.same(30*time.Second, "FRA")
		if w.parent("FRA") != "LON" {
			t.Errorf("FRA follows %s", w.parent("FRA"))
		}
	})
}

// TestSlowChild: a child that takes little costs its parent no queue: it gets
// a snapshot when it takes again. Nobody else waits for it.
func TestSlowChild(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.add("LON", func(o *Options) { o.Limits.Steps = 200 })
		w.add("AMS", nil, "LON")
		w.add("FRA", func(o *Options) { o.Silence = time.Minute }, "LON")
		w.same(5*time.Second, "AMS", "FRA")
		w.net.cut("LON", "FRA", true)
		for i := range 3000 {
			w.put("x", i)
			if i%10 == 0 {
				w.same(time.Second, "AMS")
			}
		}
		r := w.node["LON"].rep
		r.mu.Lock()
		if n := len(r.log); n > 200 {
			t.Errorf("%d steps are kept", n)
		}
		r.mu.Unlock()
		w.net.cut("LON", "FRA", false)
		w.same(5*time.Second, "FRA")
		if a, f := w.node["AMS"].Status(), w.node["FRA"].Status(); a.Counts.Received != 1 || f.Counts.Received != 2 {
			t.Errorf("snapshots: AMS %d, FRA %d", a.Counts.Received, f.Counts.Received)
		}
	})
}
