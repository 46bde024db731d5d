package pop

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Clock tells which boot of the kernel this is, and the time since it
// (CLOCK_BOOTTIME: it goes on while the host is suspended, and nobody sets
// it). An empty boot is one that cannot be told from others.
type Clock func() (boot string, since time.Duration)

// systemClock is the kernel's.
func systemClock() Clock {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		boot = nil
	}
	id := strings.TrimSpace(string(boot))
	return func() (string, time.Duration) {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
			return "", 0
		}
		return id, time.Duration(ts.Nano())
	}
}

// sign is the last sign of life of a daemon.
type sign struct {
	Boot  string        `json:"boot"`
	Since time.Duration `json:"since_boot"` // of the boot, in nanoseconds
	Wall  time.Time     `json:"wall"`
}

// signLine is how long the line in the file is, whatever it says: it is
// written over in place, which a full disk does not refuse.
const signLine = 256

// Touch makes t the time at which the daemon was last alive.
func (s *Store) Touch(t time.Time) {
	os.Chtimes(s.path, t, t) // of a file that may not be there yet
	boot, since := s.clock()
	b, err := json.Marshal(sign{Boot: boot, Since: since, Wall: t.Round(0)})
	if err == nil {
		err = overwrite(s.alive, fmt.Appendf(nil, "%-*s\n", signLine-1, b))
	}
	if err != nil {
		os.Remove(s.alive) // an old sign would be worse than none; the time of the file is left
	}
}

func overwrite(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// lastAlive is when the former life was last known to be alive, by the wall
// clock as it is now. Within one boot the clock that nobody sets counts. A
// time in the future says only that the clock was set back since: it counts
// as just now, because to drop routes that others still follow is worse than
// to keep them until the checks have spoken.
func (s *Store) lastAlive() time.Time {
	now := time.Now()
	boot, since := s.clock()
	var last sign
	b, err := os.ReadFile(s.alive)
	if err == nil {
		err = json.Unmarshal(b, &last)
	}
	if err == nil && boot != "" && last.Boot == boot && last.Since <= since {
		return now.Add(last.Since - since)
	}
	if err != nil || last.Wall.IsZero() { // of an older version, or damaged
		info, err := os.Stat(s.path)
		if err != nil {
			return time.Time{}
		}
		last.Wall = info.ModTime()
	}
	if last.Wall.After(now) {
		s.log.Warn("the clock has been set back since the last life: its state counts as fresh", "last-alive", last.Wall)
		return now
	}
	return last.Wall
}
