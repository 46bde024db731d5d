//go:build race

package relay

// Under the race detector the large trees are left out and the schedules are
// few: with them its runtime failed a check of its own (tsan_rtl.cpp:346) in
// some runs, without a race of ours. Why is not known.
func init() { raced, schedules = true, "1" }
