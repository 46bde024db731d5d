package slowness

import (
	"errors"
	"math"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/DataDog/sketches-go/ddsketch/encoding"
	"github.com/DataDog/sketches-go/ddsketch/mapping"
	"github.com/DataDog/sketches-go/ddsketch/pb/sketchpb"
	"github.com/DataDog/sketches-go/ddsketch/store"
)

// Buckets of the delivery rate: the first goes up to firstBound, each further
// one to growth times the bound before.
const (
	buckets    = 32
	firstBound = 4000.0 // bytes a second
	growth     = 1.6
)

// scale is the index mapping of all sketches: it says which rate is in which
// bucket, and which rate a bucket stands for (to +-23 %).
var scale = newScale()

func newScale() *mapping.LogarithmicMapping {
	m, err := mapping.NewLogarithmicMappingWithGamma(growth, 1-math.Log(firstBound)/math.Log(growth))
	if err != nil {
		panic(err) // growth is above 1
	}
	return m
}

// bucket is the bucket of a rate.
func bucket(rate float64) int {
	switch {
	case !(rate > firstBound):
		return 0
	case rate >= scale.LowerBound(buckets-1):
		return buckets - 1
	}
	return min(buckets-1, max(0, scale.Index(rate)))
}

// rates count samples by bucket: the store of a DDSketch (Masson, Rim, Lee: A
// Fast and Fully-Mergeable Quantile Sketch, 2019) whose ends collapse, of fixed
// size so that it can stand in a sum without memory of its own.
type rates [buckets]float64

var _ store.Store = (*rates)(nil)

// sketch is the DDSketch over them; rates are not below zero.
func (r *rates) sketch() *ddsketch.DDSketch { return ddsketch.NewDDSketch(scale, r, new(rates)) }

// sketches merge rates and read their quantiles, for millions without memory
// for each. One is used by one goroutine.
type sketches struct {
	a, b rates
	x, y *ddsketch.DDSketch // over a and b
}

func newSketches() *sketches {
	k := &sketches{}
	k.x, k.y = k.a.sketch(), k.b.sketch()
	return k
}

// merge adds rates to others.
func (k *sketches) merge(into, from *rates) {
	k.a, k.b = *into, *from
	_ = k.x.MergeWith(k.y) // an error is of two mappings; there is one
	*into = k.a
}

// quantile is the rate that a share of the samples does not exceed; 0 without
// samples.
func (k *sketches) quantile(r *rates, share float64) float64 {
	k.a = *r
	x, err := k.x.GetValueAtQuantile(share)
	if err != nil {
		return 0
	}
	return x
}

var errNoRate = errors.New("slowness: no rate")

// Add implements store.Store.
func (r *rates) Add(index int) { r.AddWithCount(index, 1) }

// AddBin implements store.Store.
func (r *rates) AddBin(b store.Bin) { r.AddWithCount(b.Index(), b.Count()) }

// AddWithCount implements store.Store.
func (r *rates) AddWithCount(index int, count float64) {
	r[min(buckets-1, max(0, index))] += count
}

// Bins implements store.Store.
func (r *rates) Bins() <-chan store.Bin { return r.dense().Bins() }

// ForEach implements store.Store.
func (r *rates) ForEach(f func(index int, count float64) (stop bool)) {
	for i, n := range r {
		if n > 0 && f(i, n) {
			return
		}
	}
}

// Copy implements store.Store.
func (r *rates) Copy() store.Store {
	c := *r
	return &c
}

// Clear implements store.Store.
func (r *rates) Clear() { *r = rates{} }

// IsEmpty implements store.Store.
func (r *rates) IsEmpty() bool { return *r == rates{} }

// MaxIndex implements store.Store.
func (r *rates) MaxIndex() (int, error) {
	for i := buckets - 1; i >= 0; i-- {
		if r[i] > 0 {
			return i, nil
		}
	}
	return 0, errNoRate
}

// MinIndex implements store.Store.
func (r *rates) MinIndex() (int, error) {
	for i, n := range r {
		if n > 0 {
			return i, nil
		}
	}
	return 0, errNoRate
}

// TotalCount implements store.Store.
func (r *rates) TotalCount() (sum float64) {
	for _, n := range r {
		sum += n
	}
	return sum
}

// KeyAtRank implements store.Store.
func (r *rates) KeyAtRank(rank float64) int {
	sum, last := 0.0, 0
	for i, n := range r {
		if n == 0 {
			continue
		}
		if sum, last = sum+n, i; sum > max(0, rank) {
			break
		}
	}
	return last
}

// MergeWith implements store.Store.
func (r *rates) MergeWith(other store.Store) {
	if o, ok := other.(*rates); ok {
		for i, n := range o {
			r[i] += n
		}
		return
	}
	other.ForEach(func(i int, n float64) bool {
		r.AddWithCount(i, n)
		return false
	})
}

// Reweight implements store.Store.
func (r *rates) Reweight(w float64) error {
	for i := range r {
		r[i] *= w
	}
	return nil
}

// dense is the library's own store of the same.
func (r *rates) dense() *store.DenseStore {
	d := store.NewDenseStore()
	d.MergeWith(r)
	return d
}

// ToProto implements store.Store.
func (r *rates) ToProto() *sketchpb.Store { return r.dense().ToProto() }

// EncodeProto implements store.Store.
func (r *rates) EncodeProto(b *sketchpb.StoreBuilder) { r.dense().EncodeProto(b) }

// Encode implements store.Store.
func (r *rates) Encode(b *[]byte, t encoding.FlagType) { r.dense().Encode(b, t) }

// DecodeAndMergeWith implements store.Store.
func (r *rates) DecodeAndMergeWith(b *[]byte, mode encoding.SubFlag) error {
	return store.DecodeAndMergeWith(r, b, mode)
}
