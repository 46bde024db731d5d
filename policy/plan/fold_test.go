package plan

import (
	"math"
	"testing"
)

func TestFold(t *testing.T) {
	choice := []Choice{
		{N: 2, POP: [4]int32{0, 1}, Cost: [4]float32{1, 3}},
		{N: 2, POP: [4]int32{0, 2}, Cost: [4]float32{1, 2}},
		{N: 3, POP: [4]int32{0, 2, 1}, Cost: [4]float32{0, 4, 9}},
		{N: 1, POP: [4]int32{1}},
		{},
		{N: 1, POP: [4]int32{9}},
	}
	f := NewFold(3, []float64{10, 5, 5, 7, 100, 100}, choice)
	if f.Demand[0] != 20 || f.Demand[1] != 7 || f.Demand[2] != 0 {
		t.Errorf("demand %v", f.Demand)
	}
	if n := f.Next(0); len(n) != 2 || n[1] != 0.5 || n[2] != 0.5 {
		t.Errorf("next of 0: %v", n)
	}
	if n := f.Next(1); len(n) != 0 {
		t.Errorf("next of 1: %v", n)
	}
	if c, ok := f.Cost(0, 2); !ok || math.Abs(c-2.5) > 1e-9 {
		t.Errorf("cost %v %v", c, ok)
	}
	if _, ok := f.Cost(1, 0); ok {
		t.Error("a cost nobody knows")
	}
}
