package h2

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// script makes bytes of a client out of bytes of the fuzzer: mostly whole frames, of which the fuzzer chooses type, flags,
// stream and payload; some of the payloads are good header blocks.
func script(data []byte) []byte {
	out := bytes.NewBufferString(preface)
	fr := http2.NewFramer(out, nil)
	fr.AllowIllegalWrites = true
	fr.WriteSettings()
	var head bytes.Buffer
	enc := hpack.NewEncoder(&head)
	for len(data) >= 4 {
		op, flags, id, n := data[0], data[1], uint32(data[2]), int(data[3])
		data = data[4:]
		p := data[:min(n, len(data))]
		data = data[len(p):]
		switch op % 16 {
		case 10, 11, 12:
			head.Reset()
			f := get("/" + string(rune('a'+op%3)))
			if op&0x80 != 0 {
				f[1] = "POST"
			}
			if len(p) > 1 {
				f = append(f, "x-"+string(p[:1]), string(p[1:]))
			}
			for i := 0; i < len(f); i += 2 {
				enc.WriteField(hpack.HeaderField{Name: f[i], Value: f[i+1]})
			}
			fr.WriteRawFrame(http2.FrameHeaders, http2.Flags(flags)|flagEndHeaders&^flagPadded, id, head.Bytes())
		case 13:
			fr.WriteWindowUpdate(id, uint32(n)<<op)
		case 14:
			out.Write(p)
		default:
			fr.WriteRawFrame(http2.FrameType(op%16), http2.Flags(flags), id, p)
		}
	}
	return out.Bytes()
}

// FuzzConn: whatever a client sends, in whatever pieces: no panic, the connection ends with its input, every reply is told its
// end once, nothing is sent that is no frame, on no stream that was not opened, and never more than the windows allow.
func FuzzConn(f *testing.F) {
	f.Add([]byte{10, 5, 1, 0, 10, 5, 3, 0, 13, 0, 0, 200}, byte(7), true)
	f.Add([]byte{138, 4, 1, 0, 0, 0, 1, 3, 'a', 'b', 'c', 0, 1, 1, 0, 3, 0, 1, 4, 0, 0, 0, 8}, byte(1), false)
	f.Add([]byte{11, 5, 1, 0, 4, 0, 0, 6, 0, 4, 0, 0, 0, 0, 12, 5, 3, 0, 6, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8}, byte(200), true)
	f.Add([]byte{1, 5, 1, 3, 0x82, 0x86, 0x84, 9, 4, 1, 0, 7, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0}, byte(3), false)
	f.Fuzz(func(t *testing.T, data []byte, piece byte, join bool) {
		if len(data) > 4096 {
			return
		}
		s := &shop{
			replies: func(target string) *Reply {
				switch target {
				case "/a":
					return bytesReply(pattern(100), 2)
				case "/b":
					return bytesReply(pattern(70_000), 3)
				}
				return nil
			},
			handler: func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Trailer", "X")
				n, _ := io.Copy(w, r.Body)
				w.Header().Set("X", "y")
				if n == 7 {
					panic(http.ErrAbortHandler)
				}
			},
		}
		in := script(data)
		c := connect(t, s, func(o *Options, w *memWire) {
			w.join, w.grace = join, time.Second
			w.in.room, w.out.room = 1<<20, 8<<20
		})
		for p := in; len(p) > 0; {
			n := min(len(p), int(piece)+1)
			c.wire.in.write(p[:n], true)
			p = p[n:]
		}
		c.wire.in.close()
		<-c.done
		c.done <- nil
		checkOutput(t, in, c.wire.out.buf)
	})
}

// allowance is how many bytes of bodies a client has allowed at most in all it sent: on the connection (stream 0) and on each
// stream, the largest initial window counted in.
func allowance(in []byte) (sum map[uint32]int64, first int64) {
	sum, first = map[uint32]int64{0: firstWindow}, firstWindow
	for in = in[len(preface):]; len(in) >= headLen; {
		f := parseFrame(in)
		if len(in) < headLen+f.n {
			break
		}
		p := in[headLen : headLen+f.n]
		in = in[headLen+f.n:]
		switch {
		case f.kind == kindWindow && f.n == 4:
			sum[f.id] += int64(binary.BigEndian.Uint32(p) & maxStreamID)
		case f.kind == kindSettings:
			for ; len(p) >= settingLen; p = p[settingLen:] {
				if binary.BigEndian.Uint16(p) == setWindow {
					first = max(first, int64(binary.BigEndian.Uint32(p[2:])))
				}
			}
		}
	}
	return sum, first
}

// checkOutput judges what a server sent to a client.
func checkOutput(t *testing.T, in, out []byte) {
	t.Helper()
	allowed, first := allowance(in)
	sent := make(map[uint32]int64)
	dec := hpack.NewDecoder(4096, func(hpack.HeaderField) {})
	ended := make(map[uint32]bool)
	for len(out) >= headLen {
		f := parseFrame(out)
		if len(out) < headLen+f.n {
			t.Fatalf("cut frame %+v", f)
		}
		p := out[headLen : headLen+f.n]
		out = out[headLen+f.n:]
		switch f.kind {
		case kindHeaders, kindContinuation:
			if _, err := dec.Write(p); err != nil {
				t.Fatalf("HPACK: %v", err)
			}
			if f.has(flagEndHeaders) {
				if err := dec.Close(); err != nil {
					t.Fatalf("HPACK: %v", err)
				}
			}
		case kindReset:
			if len(p) != 4 {
				t.Fatalf("RST_STREAM of %d bytes", len(p))
			}
		case kindGoAway:
			binary.BigEndian.Uint32(p[4:])
		case kindData:
			sent[0] += int64(f.n)
			if sent[f.id] += int64(f.n); sent[0] > allowed[0] || sent[f.id] > first+allowed[f.id] {
				t.Fatalf("stream %d: %d bytes, %d of all; allowed %d + %d, %d", f.id, sent[f.id], sent[0], first, allowed[f.id], allowed[0])
			}
		case kindSettings, kindPing, kindWindow:
		default:
			t.Fatalf("frame %+v", f)
		}
		if f.kind == kindData || f.kind == kindHeaders {
			if ended[f.id] || f.id%2 == 0 {
				t.Fatalf("stream %d goes on after its end: %+v", f.id, f)
			}
			ended[f.id] = f.has(flagEndStream)
		}
	}
	if len(out) > 0 {
		t.Fatalf("%d bytes left", len(out))
	}
}

// FuzzHead: the head of a request as HPACK gives it; what is passed on has no byte that HTTP/1.1 could take for another field.
func FuzzHead(f *testing.F) {
	f.Add("x", "y", "/", "a")
	f.Add("cookie", "a=b", "/?q", "[::1]:80")
	f.Add("host", "b", "/\r\n", "a")
	f.Fuzz(func(t *testing.T, name, value, path, host string) {
		o := testOptions()
		h := Head{opts: &o}
		h.reset(false)
		h.End = true
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":path", path}, {":authority", host}, {"cookie", "c=1"}, {name, value}} {
			h.add(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		h.finish()
		if h.Bad != "" || h.TooLarge {
			return
		}
		if string(h.Target) != path || string(h.Host) != host {
			t.Fatalf("%q %q", h.Target, h.Host)
		}
		for _, a := range h.Fields {
			n, v := string(h.Buf[a.N0:a.N1]), string(h.Buf[a.V0:a.V1])
			if n == "" || !all(n, inLower) || !all(v, inValue) || n == "host" || n == "connection" || n == "transfer-encoding" {
				t.Fatalf("%q: %q", n, v)
			}
			switch n {
			case "cookie":
				if want := "c=1"; v != want && (name != "cookie" || v != want+"; "+value) {
					t.Fatalf("cookie %q", v)
				}
			case name:
				if v != value {
					t.Fatalf("%q: %q, not %q", n, v, value)
				}
			default:
				t.Fatalf("field %q from nowhere", n)
			}
		}
	})
}
