package slowness

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/DataDog/sketches-go/ddsketch/store"
)

// TestRatesAreASketch: our store of fixed size gives the quantiles that the
// library's own gives, also merged, and each reads what the other has encoded.
func TestRatesAreASketch(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 300 {
		var ours, part rates
		theirs := ddsketch.NewDDSketch(scale, store.NewDenseStore(), store.NewDenseStore())
		for n := r.IntN(60); n >= 0; n-- {
			x := 5000 * math.Pow(10, 5*r.Float64())
			if err := theirs.Add(x); err != nil {
				t.Fatal(err)
			}
			if r.IntN(2) == 0 {
				ours.Add(bucket(x))
			} else if err := part.sketch().Add(x); err != nil {
				t.Fatal(err)
			}
		}
		newSketches().merge(&ours, &part)
		shares := []float64{0, 0.1, 0.5, 0.9, 1}
		want, err := theirs.GetValuesAtQuantiles(shares)
		if err != nil {
			t.Fatal(err)
		}
		same := func(what string, got []float64) {
			for i := range want {
				if math.Abs(got[i]-want[i]) > 1e-9*want[i] {
					t.Fatalf("%s: %v, want %v", what, got, want)
				}
			}
		}
		k, got := newSketches(), []float64(nil)
		for _, q := range shares {
			got = append(got, k.quantile(&ours, q))
		}
		same("merged", got)
		var b []byte
		theirs.Encode(&b, true)
		back, err := ddsketch.DecodeDDSketch(b, func() store.Store { return new(rates) }, scale)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := back.GetValuesAtQuantiles(shares); err != nil {
			t.Fatal(err)
		} else {
			same("decoded by us", got)
		}
		b = nil
		ours.sketch().Encode(&b, true)
		if back, err = ddsketch.DecodeDDSketch(b, store.DenseStoreConstructor, scale); err != nil {
			t.Fatal(err)
		}
		if got, err := back.GetValuesAtQuantiles(shares); err != nil {
			t.Fatal(err)
		} else {
			same("decoded by the library", got)
		}
	}
}

// The ends collapse; an empty one has nothing, and says so.
func TestRatesAtTheEnds(t *testing.T) {
	var r rates
	if _, err := r.MinIndex(); err == nil || !r.IsEmpty() || newSketches().quantile(&r, 0.5) != 0 {
		t.Error("an empty one has a rate")
	}
	if _, err := r.MaxIndex(); err == nil {
		t.Error("an empty one has a rate")
	}
	r.AddWithCount(-5, 2)
	r.AddBin(*mustBin(t, 99, 3))
	if lo, _ := r.MinIndex(); lo != 0 {
		t.Error(lo)
	}
	if hi, _ := r.MaxIndex(); hi != buckets-1 || r.TotalCount() != 5 {
		t.Error(hi, r.TotalCount())
	}
	c := r.Copy()
	if err := r.Reweight(0.5); err != nil || r.TotalCount() != 2.5 || c.TotalCount() != 5 {
		t.Error(err, r, c)
	}
	n := 0
	for range c.Bins() {
		n++
	}
	if r.Clear(); n != 2 || !r.IsEmpty() || len(c.ToProto().ContiguousBinCounts) == 0 {
		t.Errorf("%d bins, %v", n, c.ToProto())
	}
}

func mustBin(t *testing.T, index int, count float64) *store.Bin {
	t.Helper()
	b, err := store.NewBin(index, count)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
