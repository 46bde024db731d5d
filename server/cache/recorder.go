package cache

import (
	"net/http"
	"time"
)

// recorder is a http.ResponseWriter that remembers what was answered. Files go past Write; who sends them
// adds their bytes.
type recorder struct {
	http.ResponseWriter
	clock  func() time.Time
	status int
	bytes  int64 // of body, sent
	first  time.Time
	err    error // of sending
	// final may change the head before it goes out; instead is then the body that takes the place of what is written.
	final   func(status int) int
	instead []byte
}

// Unwrap lets package front and http.ResponseController find the connection's own writer.
func (w *recorder) Unwrap() http.ResponseWriter {
	if w.instead != nil {
		return nopWriter{}
	}
	return w.ResponseWriter
}

// WriteHeader sends the head; informational ones go through and are not remembered.
func (w *recorder) WriteHeader(status int) {
	if status >= 200 && w.status == 0 {
		if w.final != nil {
			status = w.final(status)
		}
		w.status, w.first = status, w.clock()
	}
	w.ResponseWriter.WriteHeader(status)
	if len(w.instead) > 0 && w.bytes == 0 && bodyAllowed(status) {
		n, err := w.ResponseWriter.Write(w.instead)
		w.bytes, w.err = int64(n), err
	}
}

// Write sends a part of the body.
func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.instead != nil {
		return len(p), nil
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	if err != nil && w.err == nil {
		w.err = err
	}
	return n, err
}

// Flush sends what is buffered.
func (w *recorder) Flush() { http.NewResponseController(w.ResponseWriter).Flush() }
