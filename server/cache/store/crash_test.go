package store

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// rounds returns how often a test of chance runs: n, or by the environment.
func rounds(t *testing.T, n int) int {
	if v := os.Getenv("CATCHMENT_STORE_ROUNDS"); v != "" {
		k, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	if testing.Short() {
		return max(1, n/4)
	}
	return n
}

// TestCrash stops the disk in the middle of a random change, at every change
// of a run one after the other, and reads everything back from what was left:
// no other bytes, no version that was deleted or replaced, no metadata of
// before a refresh that had returned.
func TestCrash(t *testing.T) {
	testCrash(t, false, rounds(t, 40))
}

// TestPowerFailure is the same with pages lost that were not synced: older
// versions may come back, other bytes never.
func TestPowerFailure(t *testing.T) {
	testCrash(t, true, rounds(t, 40))
}

func testCrash(t *testing.T, power bool, n int) {
	served, crashed := 0, 0
	for i := range n {
		m := crashRun(t, power, uint64(i/40), 2+(i*7)%420)
		served += m.served
		if m.doubt >= 0 {
			crashed++
		}
	}
	t.Logf("%d runs, %d died in an operation, %d reads afterwards found bytes", n, crashed, served)
	if crashed < n/2 || served < n {
		t.Fatal("the test does not do what it says")
	}
}

// crashRun does random things until the disk dies at a change, and checks
// what a new store makes of it.
func crashRun(t *testing.T, power bool, seed uint64, at int) *model {
	t.Helper()
	dir := t.TempDir()
	opt := Options{Dir: dir, RAM: 2 << 20, Disk: 16 << 20, Objects: 16, segment: 128 << 10}
	fs := &faultFS{rnd: rand.New(rand.NewPCG(seed, uint64(at))), crashAt: at, lose: power}
	opt.fs = fs
	m := newModel(t, seed, opt)
	m.served = 0
	for i := 0; i < 400 && !fs.crashed; i++ {
		m.step()
	}
	if fs.crashed {
		m.doubt = m.key
	}
	fs.die(t)
	m.opt.fs = osFS{}
	m.weak = power
	m.served = 0
	m.open()
	m.invariants()
	m.readAll()
	for range 30 { // and it goes on from there
		m.step()
		m.invariants()
	}
	m.readAll()
	m.close()
	m.open()
	m.readAll()
	m.close()
	os.RemoveAll(dir)
	if t.Failed() {
		fmt.Println("seed", seed, "at", at)
	}
	return m
}
