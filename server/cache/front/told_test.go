package front

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

// TestTransfers: of a connection of HTTP/2 each stream is known with how far it is, never further than the client lets it be,
// in the clear and by TLS, of the short way and of the handler's; none is left when all are over.
func TestTransfers(t *testing.T) {
	const size, window = 32 << 20, 1 << 20
	data := pattern(size)
	var hits shelf
	hits.put(t, "/memory", data, nil)
	hits.putFile(t, "/file", data)
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		ConnOf(r.Context()).NoteAnswer(w, &Transfer{Target: r.RequestURI, Began: time.Now(), First: 7, Length: size})
		w.WriteHeader(200)
		w.Write(data)
	}, &hits, allProtocols)
	for name, c := range map[string]struct {
		c    *http.Client
		base string
	}{"h2": {s.client2(), "https://" + s.secure}, "h2c": {s.clientH2C(), "http://" + s.addr}} {
		t.Run(name, func(t *testing.T) {
			read := map[string]int64{"/memory": 3 << 20, "/file": 9 << 20, "/handler": 1 << 20, "/none": 0}
			c.c.Transport.(*http.Transport).HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: window}
			bodies := map[string]io.ReadCloser{}
			for path, n := range read {
				resp, err := c.c.Get(c.base + path)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				bodies[path] = resp.Body
				if _, err := io.CopyN(io.Discard, resp.Body, n); err != nil {
					t.Fatal(err)
				}
			}
			var conn *Conn
			far := func() (out map[string]*Transfer) {
				for conn = range s.Conns() {
					if conn.Proto() != protoH2 || conn.TLS() != (name == "h2") {
						continue
					}
					out = map[string]*Transfer{}
					for _, tr := range conn.Transfers() {
						out[tr.Target] = tr
						if most := read[tr.Target] + window; tr.Body() > most {
							t.Fatalf("%s is said to have %d, and can have %d", tr.Target, tr.Body(), most)
						}
					}
					return out
				}
				return nil
			}
			until(t, "each stream is as far as its client lets it be", func() bool {
				all := far()
				for path, n := range read {
					// An update of the window comes when a part of it is used.
					if tr := all[path]; tr == nil || tr.Body() < n+window/2 || tr.Stream == 0 || tr.Length != size {
						return false
					}
				}
				return len(all) == len(read)
			})
			if h := conn.Held(); h < 0 || h > spillMost {
				t.Errorf("%d bytes are held", h)
			}
			if all := far(); all["/handler"].First != 7 || all["/file"].ETag != all["/memory"].ETag {
				t.Errorf("%+v", all)
			}
			bodies["/none"].Close()
			until(t, "what was given up is forgotten", func() bool { return len(far()) == len(read)-1 })
			for path, b := range bodies {
				if n, err := io.Copy(io.Discard, b); path != "/none" && (err != nil || n != size-read[path]) {
					t.Errorf("%s: %d bytes, %v", path, n, err)
				}
				read[path] = size
			}
			until(t, "what is over is forgotten", func() bool { return len(far()) == 0 })
		})
	}
}

// TestTransfersOne: elsewhere there is one at a time, and it has no stream.
func TestTransfersOne(t *testing.T) {
	var hits shelf
	hits.put(t, "/big", pattern(64<<20), nil)
	s := start(t, nil, &hits, nil)
	c := s.dial()
	io.WriteString(c, "GET /big HTTP/1.1\r\nHost: name\r\n\r\n")
	until(t, "a transfer", func() bool {
		for x := range s.Conns() {
			if all := x.Transfers(); len(all) == 1 {
				return all[0].Target == "/big" && all[0].Stream == 0 && all[0].Body() == 0 && x.Held() == 0
			}
		}
		return false
	})
}
