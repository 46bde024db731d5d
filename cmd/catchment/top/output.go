package top

import (
	"os"
	"sync/atomic"
)

// output is the terminal; it counts what is written to it.
//
// Why: the renderer of Bubble Tea 2.0.10 (ultraviolet's TerminalRenderer, mended
// by its pull request 148, which Bubble Tea 2.1 has) draws
// the first frame after the terminal has grown from a picture of the screen
// that still has the old width, so it does not know what it wrote to the right
// of that, and later leaves remnants there. A second full frame repairs that,
// but only one that is drawn after the first: two in one frame are one. So it
// is asked for when something was written since the change of size.
type output struct {
	*os.File
	writes atomic.Int64
}

// Write counts and writes.
func (o *output) Write(b []byte) (int, error) {
	n, err := o.File.Write(b)
	o.writes.Add(1)
	return n, err
}

// redraw remembers that a second full frame is due.
type redraw struct {
	due   bool
	after int64 // once more than that many writes were made
}

// widened is called when the terminal has grown in width.
func (o *output) widened() redraw { return redraw{due: true, after: o.writes.Load()} }

// ready reports whether the first frame was written.
func (o *output) ready(r redraw) bool { return r.due && o.writes.Load() > r.after }
