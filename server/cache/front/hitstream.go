package front

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/catchment/catchment/server/cache/front/h2"
)

// hitStream asks the Hitter for a GET or HEAD of HTTP/3 and sends what it has: the same short way as that of HTTP/1.1, with
// ready header values. False: the request is for the http.Handler; nothing was sent.
func (f *Front) hitStream(rw http.ResponseWriter, r *http.Request, c *Conn) bool {
	if f.hitter == nil || f.opts.NoFast || len(r.Trailer) > 0 || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	if r.ContentLength > 0 {
		return false // with a body; where none is announced it cannot be told yet, and one that comes is left unread
	}
	w := workPool.Get().(*work)
	defer w.giveBack()
	if !w.adopt(r, &f.rules) {
		return false
	}
	w.fillRequest(c)
	w.ans.reset()
	if !f.hitter.Hit(&w.req, &w.ans) {
		return false
	}
	w.sent = Sent{Began: time.Now(), Conn: c, Status: w.ans.Status}
	s := &w.sent
	ok := sound(&w.ans, w.req.Head)
	if ok {
		if s.Status == 0 {
			s.Status = w.ans.Head.status
		}
		f.stats.fast.Add(1)
		if w.ans.Length > noteAbove && !w.req.Head {
			c.Note(w.transfer(s.Began))
		}
		s.BodyBytes, s.Err = w.sendStream(rw, f)
		s.Slow = errors.Is(s.Err, os.ErrDeadlineExceeded)
	} else {
		f.stats.badAnswers.Add(1)
		s.Err = errAnswer
	}
	s.Ended = time.Now()
	if w.ans.Done != nil {
		w.ans.Done.Finish(&w.req, &w.ans, s)
	}
	if s.Err != nil && ok {
		panic(http.ErrAbortHandler) // the stream is reset: a short body is not taken for a whole one
	}
	return ok
}

// giveBack empties w and returns it to the pool.
func (w *work) giveBack() {
	w.ans.reset()
	if len(w.buf) > keepRoom {
		w.buf = make([]byte, room)
	}
	w.head.buf, w.req, w.sent, w.reply = nil, Request{}, Sent{}, h2.Reply{}
	workPool.Put(w)
}

var (
	methodGet  = []byte(http.MethodGet)
	methodHead = []byte(http.MethodHead)
)

// adopt makes the parsed head of a request that quic-go has read; false: the fast way is not for it.
func (w *work) adopt(r *http.Request, l *rules) bool {
	h := &w.head
	*h = head{fields: h.fields[:0], length: -1, minor: 1, nHost: 1, method: methodGet}
	if r.Method == http.MethodHead {
		h.method = methodHead
	}
	b := append(w.buf[:0], r.RequestURI...)
	target := len(b)
	b = append(b, r.Host...)
	host := len(b)
	b = append(b, "host"...)
	h.fields = append(h.fields, field{uint32(host), uint32(len(b)), uint32(target), uint32(host), idHost})
	for name, values := range r.Header {
		for _, v := range values {
			if name == "Te" && v == "trailers" {
				continue // says nothing to a cache, and browsers send it always
			}
			n0 := len(b)
			b = append(b, name...)
			n1 := len(b)
			b = append(b, v...)
			if !h.note(field{uint32(n0), uint32(n1), uint32(n1), uint32(len(b)), fieldID(b[n0:n1])}, b[n0:n1], l) {
				return false
			}
		}
	}
	w.buf = b[:cap(b)]
	h.buf, h.target, h.host = b, b[:target:target], b[target:host:host]
	return h.checkOrigin(h.target) == nil && !h.slow
}

// note adds a field; false: it is one for the general path.
func (h *head) note(f field, name []byte, l *rules) bool {
	h.fields = append(h.fields, f)
	switch {
	case f.id == idOther:
		return !l.isSlow(name)
	case f.id < idNamed && h.at[f.id] == 0:
		h.at[f.id] = int16(len(h.fields))
		return true
	}
	return false
}

// values are the fields of one name of a Head, ready for a header map.
type values struct {
	name string
	list []string
	meta bool // goes into a 304
}

// sendStream writes the answer to a stream.
func (w *work) sendStream(rw http.ResponseWriter, f *Front) (sent int64, err error) {
	a := &w.ans
	status := w.sent.Status
	hd := rw.Header()
	short := status == http.StatusNotModified || status == http.StatusRequestedRangeNotSatisfiable
	hd["Content-Type"] = nil // or net/http would guess one
	for _, v := range a.Head.values {
		if v.meta || !short {
			hd[v.name] = v.list
		}
	}
	switch {
	case a.Status == http.StatusPartialContent:
		hd["Content-Range"] = []string{contentRange(a)}
		hd["Content-Length"] = []string{strconv.FormatInt(a.Length, 10)}
	case status == http.StatusRequestedRangeNotSatisfiable && a.Status == status:
		hd["Content-Range"] = []string{"bytes */" + strconv.FormatInt(a.Size, 10)}
	case status != http.StatusNotModified && status != http.StatusNoContent:
		hd["Content-Length"] = a.Head.lengthValue
	}
	if a.Age >= 0 {
		hd["Age"] = []string{strconv.FormatInt(a.Age, 10)}
	}
	if a.CacheStatus != nil {
		stored := hd["Cache-Status"]
		hd["Cache-Status"] = append(stored[:len(stored):len(stored)], string(a.CacheStatus))
	}
	for line := range bytes.SplitSeq(a.Extra, []byte("\r\n")) {
		if name, value, ok := bytes.Cut(line, []byte{':'}); ok {
			rw.Header().Add(string(name), string(bytes.TrimSpace(value)))
		}
	}
	if a.Close {
		hd["Connection"] = []string{"close"}
	}
	rw.WriteHeader(status)
	if w.req.Head {
		return 0, nil
	}
	for i := range a.parts {
		var n int64
		if p := &a.parts[i]; p.File != nil {
			n, err = copyFile(rw, p.File, p.Offset, p.Length, f)
		} else {
			var m int
			m, err = rw.Write(p.Bytes)
			n = int64(m)
		}
		sent += n
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}

func contentRange(a *Answer) string {
	b := make([]byte, 0, 64)
	b = append(b, "bytes "...)
	b = strconv.AppendInt(b, a.First, 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, a.First+a.Length-1, 10)
	b = append(b, '/')
	return string(strconv.AppendInt(b, a.Size, 10))
}
