package front

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// slowWriter holds one HTTP/3 stream to the least rate: each piece of at most piece bytes must be taken within grace.
// The deadline is the stream's own, so that one paused stream does not end the connection.
type slowWriter struct {
	http.ResponseWriter
	rc    *http.ResponseController
	front *Front
	c     *Conn
	grace time.Duration
	piece int
	set   time.Time // when the deadline was set last
}

// Unwrap is for http.ResponseController.
func (s *slowWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// Flush sends what is buffered.
func (s *slowWriter) Flush() {
	s.arm()
	s.rc.Flush()
}

// arm moves the deadline on, seldom enough to cost little.
func (s *slowWriter) arm() {
	now := time.Now()
	if now.Sub(s.set) > s.grace/4 {
		s.set = now
		s.rc.SetWriteDeadline(now.Add(s.grace))
	}
}

// Write passes p on in pieces.
func (s *slowWriter) Write(p []byte) (sent int, err error) {
	for {
		s.arm()
		n, err := s.ResponseWriter.Write(p[sent:min(len(p), sent+s.piece)])
		sent += n
		if s.c.sock == nil {
			s.c.out.Add(int64(n))
		}
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) || time.Since(s.set) >= s.grace {
				s.front.stats.slow.Add(1)
			}
			return sent, err
		}
		if sent >= len(p) {
			return sent, nil
		}
	}
}

// slowBody holds a request body of a stream to the least rate and to a time for all of it.
type slowBody struct {
	io.ReadCloser
	rc      *http.ResponseController
	front   *Front
	end     time.Time
	set     time.Time
	brought int64
}

// Read moves the deadline on whenever enough has come.
func (b *slowBody) Read(p []byte) (int, error) {
	l := &b.front.opts.Limits
	now := time.Now()
	if b.set.IsZero() || b.brought >= int64(float64(l.BodyRate)*l.Grace.Seconds()) {
		until := b.end
		if t := now.Add(l.Grace); l.BodyRate > 0 && l.Grace > 0 && (until.IsZero() || t.Before(until)) {
			until = t
		}
		b.set, b.brought = now, 0
		b.rc.SetReadDeadline(until)
	}
	n, err := b.ReadCloser.Read(p)
	b.brought += int64(n)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		b.front.stats.slowBodies.Add(1)
	}
	return n, err
}

// limitStream puts the limits of one stream around a request.
func (f *Front) limitStream(w http.ResponseWriter, r *http.Request, c *Conn) (http.ResponseWriter, *http.Request) {
	l := &f.opts.Limits
	c.busy.Add(1)
	rc := http.NewResponseController(w)
	if r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 {
		r.Body = &slowBody{ReadCloser: r.Body, rc: rc, front: f, end: deadline(l.BodyTime)}
	}
	if l.SendRate > 0 && l.Grace > 0 {
		piece := max(4<<10, int(float64(l.SendRate)*l.Grace.Seconds()))
		w = &slowWriter{ResponseWriter: w, rc: rc, front: f, c: c, grace: l.Grace, piece: piece}
	}
	return w, r
}

// endStream counts streams that the client reset: a few are normal, a connection of nothing else is an attack
// (CVE-2023-44487) and ends.
func (f *Front) endStream(r *http.Request, c *Conn) {
	if c.busy.Add(-1) == 0 {
		c.flow.Store(nil)
	}
	if r.Context().Err() == nil {
		return
	}
	f.stats.resets.Add(1)
	n := c.resets.Add(1)
	if most := f.opts.Limits.Resets; most > 0 && n > int64(most)+c.requests.Load()/4 {
		f.stats.abusers.Add(1)
		f.log.Info("too many streams reset", "client", c.remote, "resets", n)
		c.finish()
	}
}
