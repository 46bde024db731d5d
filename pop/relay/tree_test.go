package relay

import (
	"context"
	"testing"
	"time"
)

func TestSnapshotAndDeltas(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		for i := range 100 {
			w.put(string(rune('a'+i%26)), i)
		}
		w.add("LON", nil)
		w.add("AMS", nil, "LON")
		w.add("FRA", nil, "AMS")
		w.same(5*time.Second, "LON", "AMS", "FRA")
		for i := range 50 {
			w.put("x", i)
		}
		if _, err := w.core.Delete(context.Background(), ann, key("a"), -1); err != nil {
			t.Fatal(err)
		}
		if took := w.same(time.Second, "FRA", "AMS", "LON"); took > 100*time.Millisecond {
			t.Errorf("a change took %v", took)
		}
		for _, p := range []string{"AMS", "FRA"} {
			if st := w.node[p].Status(); st.Counts.Received != 1 || st.Standing != Rooted || st.Counts.Mismatches != 0 {
				t.Errorf("%s: %+v", p, st)
			}
		}
		time.Sleep(2 * time.Second)
		st := w.node["LON"].Status()
		if st.Below != 3 || st.Lowest != st.Revision || len(st.Children) != 1 || len(w.node["FRA"].Status().Path) != 3 {
			t.Errorf("from the top: %+v", st)
		}
	})
}

// line is LON above AMS above FRA, all with the same state.
func line(t *testing.T) *world {
	w := newWorld(t)
	w.put("a", 1)
	w.add("LON", nil)
	w.same(time.Second, "LON")
	w.add("AMS", nil, "LON")
	w.same(time.Second, "AMS")
	w.add("FRA", nil, "AMS", "LON")
	w.same(time.Second, "FRA")
	return w
}

func (w *world) parent(pop string) string { return w.node[pop].Status().Parent }

func TestParentDies(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := line(t)
		defer w.end()
		w.net.cut("AMS", "FRA", true)
		took := until(t, 4*time.Second, "FRA follows another", func() bool { return w.parent("FRA") == "LON" })
		if took < 2*time.Second {
			t.Errorf("left after %v of silence", took)
		}
		w.put("b", 1)
		w.same(time.Second, "FRA", "AMS")
		if got := w.node["FRA"].Status().Counts.Received; got != 1 {
			t.Errorf("%d snapshots for a change of parents", got)
		}
		w.net.cut("AMS", "FRA", false)
		until(t, 3*w.node["FRA"].opt.Back, "FRA is back at its first parent", func() bool { return w.parent("FRA") == "AMS" })
		w.put("c", 1)
		w.same(time.Second, "FRA")
		w.stop["AMS"]() // a connection that is closed is noticed at once
		until(t, time.Second, "FRA follows another", func() bool { return w.parent("FRA") == "LON" })
		w.put("d", 1)
		w.same(time.Second, "FRA")
		if st := w.node["FRA"].Status(); st.Counts.Mismatches+st.Counts.Gaps != 0 || st.Counts.Received != 1 {
			t.Errorf("%+v", st.Counts)
		}
	})
}

// TestBlackHoles: parents that neither answer nor refuse cost little time.
func TestBlackHoles(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.add("LON", nil)
		for _, p := range []string{"H1", "H2", "H3"} {
			w.net.cut("AMS", p, true)
		}
		w.add("AMS", nil, "H1", "H2", "H3", "LON")
		until(t, 1500*time.Millisecond, "AMS has found the one that answers", func() bool { return w.parent("AMS") == "LON" })
	})
}

func TestNoQuorum(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := line(t)
		defer w.end()
		w.core.Fail(context.DeadlineExceeded)
		until(t, 3*time.Second, "FRA knows", func() bool { return w.node["FRA"].Status().Standing == Anchored })
		if w.parent("FRA") != "AMS" {
			t.Error("FRA has left its parent over it")
		}
		w.core.Fail(nil)
		until(t, 6*time.Second, "FRA knows", func() bool { return w.node["FRA"].Status().Standing == Rooted })
		w.put("b", 2)
		w.same(time.Second, "FRA")
	})
}

// TestOrphans: without any top those who know each other make one tree, and
// nobody is his own parent.
func TestOrphans(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		pops := []string{"A", "B", "C", "D", "E"}
		for _, p := range pops {
			var others []string
			for i, q := range pops {
				if q != p {
					others = append(others, q)
				}
				if i == len(pops)-1 {
					others = append(others, "LON")
				}
			}
			w.add(p, nil, others...)
		}
		time.Sleep(30 * time.Second)
		for _, p := range pops {
			st := w.node[p].Status()
			if st.Path[0] != "A" || st.Standing != Orphan || len(w.node[p].Fleet()) != len(pops) {
				t.Errorf("%s: path %v, %v, hears %d", p, st.Path, st.Standing, len(w.node[p].Fleet()))
			}
		}
		w.put("a", 1)
		w.add("LON", nil)
		until(t, 20*time.Second, "all follow LON", func() bool {
			for _, p := range pops {
				if w.node[p].Status().Path[0] != "LON" {
					return false
				}
			}
			return true
		})
		w.same(time.Second, pops...)
	})
}

func TestLoopRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.add("LON", nil)
		w.add("B", nil, "C", "LON")
		w.add("C", nil, "B")
		until(t, 20*time.Second, "C below B below LON", func() bool { return w.parent("C") == "B" && w.parent("B") == "LON" })
		time.Sleep(5 * time.Minute) // B tries its first parent now and then
		if w.parent("C") != "B" || w.parent("B") != "LON" || w.node["C"].Status().Counts.Switches > 3 {
			t.Errorf("B follows %s, C follows %s: %+v", w.parent("B"), w.parent("C"), w.node["C"].Status().Counts)
		}
	})
}

func TestDepthAndChildren(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.add("LON", func(o *Options) { o.Limits.Children = 1 })
		w.add("A", nil, "LON")
		until(t, time.Second, "A is in", func() bool { return w.parent("A") == "LON" })
		w.add("B", nil, "LON")
		until(t, time.Second, "B was sent to A", func() bool { return w.parent("B") == "A" })
		w.add("C", func(o *Options) { o.Depth = 3 }, "B")
		w.put("a", 1)
		w.same(time.Second, "B")
		time.Sleep(10 * time.Second)
		if w.parent("C") != "" {
			t.Error("C is on the fourth of three levels")
		}
	})
}

// TestDisk: a POP that starts with nobody to follow has what it had, watches
// it, and says that it is alone.
func TestDisk(t *testing.T) {
	dir := t.TempDir()
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.add("LON", nil)
		w.put("a", 1)
		w.add("AMS", func(o *Options) { o.Dir = dir }, "LON")
		w.same(time.Second, "AMS")
		w.put("b", 2)
		w.same(time.Second, "AMS")
		time.Sleep(3 * time.Second)
		w.stop["AMS"]()
		w.stop["LON"]()
		again := w.add("AMS", func(o *Options) { o.Dir = dir }, "LON")
		<-again.Ready()
		w.same(0, "AMS")
		if st := again.Status(); st.Standing != Orphan || st.Objects == 0 {
			t.Errorf("%+v", st)
		}
		w.put("c", 3)
		w.add("LON", nil)
		w.same(10*time.Second, "AMS")
		if st := again.Status(); st.Counts.Received != 1 { // LON's log began after it
			t.Errorf("%+v", st.Counts)
		}
	})
}

// TestTops: presence crosses from the tree of one member to that of another.
func TestTops(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		tops := []string{"FRA", "LON", "NYC"}
		for i, p := range tops {
			var others []Parent
			for j, q := range tops {
				if i != j {
					others = append(others, Parent{q, q})
				}
			}
			w.add(p, func(o *Options) { o.Parents = others; o.Core = w.core.Core }, others[0].POP)
		}
		for i, p := range []string{"A", "B", "C"} {
			w.add(p, nil, tops[i])
		}
		all := []string{"A", "B", "C", "FRA", "LON", "NYC"}
		hear := func() bool {
			for _, p := range all {
				if len(w.node[p].Fleet()) != len(all) {
					return false
				}
			}
			return true
		}
		until(t, 10*time.Second, "all hear all", hear)
		w.put("a", 1)
		w.same(time.Second, all...)
		w.net.cut("FRA", "LON", true)
		time.Sleep(20 * time.Second) // by NYC
		if !hear() {
			t.Error("one link less, and they do not hear each other")
		}
		for _, p := range tops {
			if st := w.node[p].Status(); st.Below != 2 || st.Lowest != st.Revision || st.Standing != Rooted {
				t.Errorf("%+v", st)
			}
		}
		w.stop["NYC"]()
		w.net.cut("FRA", "LON", false)
		time.Sleep(20 * time.Second)
		if got := len(w.node["A"].Fleet()); got != 4 {
			t.Errorf("A hears %d", got)
		}
	})
}
