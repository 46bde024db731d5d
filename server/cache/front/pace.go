package front

import (
	"math"

	"golang.org/x/sys/unix"
)

// Pace holds what is sent on the connection to a rate in bytes a second
// (SO_MAX_PACING_RATE); 0: as fast as it goes. What waits in the socket goes at
// the new rate too. The next request on the connection ends it: whoever asks
// for something else, or somewhere else in it, does not wait.
func (c *Conn) Pace(rate float64) error {
	if rate <= 0 && !c.paced.Load() {
		return nil
	}
	v := uint64(math.MaxUint64)
	if rate > 0 {
		v = uint64(max(rate, 1))
	}
	c.paced.Store(rate > 0)
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, v)
	}); e != nil {
		return e
	}
	return err
}

// Paced says whether Pace holds it back.
func (c *Conn) Paced() bool { return c.paced.Load() }

// unpace ends what Pace began: a request has come.
func (c *Conn) unpace() {
	if c.paced.Load() {
		_ = c.Pace(0) // of a connection that is gone nothing is sent
	}
}
