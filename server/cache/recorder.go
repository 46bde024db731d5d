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
}

// Unwrap lets package front and http.ResponseController find the connection's own writer.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader sends the head; informational ones go through and are not remembered.
func (w *recorder) WriteHeader(status int) {
	if status >= 200 && w.status == 0 {
		w.status, w.first = status, w.clock()
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write sends a part of the body.
func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
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
