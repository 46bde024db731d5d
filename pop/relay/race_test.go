//go:build race

package relay

// The race detector has limits on goroutines, and time.
func init() { spreadTo, schedules = 60, "3" }
