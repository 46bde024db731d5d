//go:build race

package relay

// Under the race detector the large trees are left out: its own bookkeeping
// fails a check at times (tsan_rtl.cpp:346) where thousands of goroutines
// synchronize as fast as virtual time lets them.
func init() { raced, schedules = true, "1" }
