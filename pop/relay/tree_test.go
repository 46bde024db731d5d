package relay

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestSnapshotAndDeltas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
