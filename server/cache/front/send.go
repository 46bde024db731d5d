package front

import (
	"io"
	"os"
	"strconv"
	"sync"
)

// oneWrite is up to which size head and body go out in one write.
const oneWrite = 16 << 10

// gatherBelow is the length of a body up to which TLS records are gathered. A longer one fills the socket's buffer and waits for
// the client anyway: gathering only copies then.
const gatherBelow = 256 << 10

// copyRoom is the size of the buffers through which files are copied where sendfile cannot be used.
const copyRoom = 64 << 10

var copyPool = sync.Pool{New: func() any { b := make([]byte, copyRoom); return &b }}

// send writes the answer at work: the head and a short body in one write, the head and longer bytes by one writev, files by
// sendfile behind the head. Under TLS several records share a write. The head is not held back for a file (MSG_MORE): on loopback that costs more than the packet.
func (l *loop) send(closing bool) error {
	c, w := l.c, l.w
	o := outcome{date: c.front.date(), close: closing}
	if c.secure {
		o.altSvc = c.port.altSvcLine
	}
	w.out = appendHead(w.out[:0], &w.ans, o)
	head := len(w.out)
	parts := w.ans.parts
	if w.req.Head {
		parts = nil
	}
	parts, err := w.inline(parts)
	if err != nil {
		return err
	}
	var more []byte
	if len(parts) > 0 && parts[0].File == nil {
		more, parts = parts[0].Bytes, parts[1:]
	}
	if !c.secure || len(more) == 0 && len(parts) == 0 || w.ans.Length > gatherBelow {
		return l.sendAll(head, more, parts)
	}
	c.sock.collect()
	err = l.sendAll(head, more, parts)
	lost, rerr := c.sock.release()
	w.sent.BodyBytes = max(0, w.sent.BodyBytes-lost)
	if err == nil {
		err = rerr
	}
	return err
}

// sendAll sends what is in out, of which head bytes are the head, then more and the parts.
func (l *loop) sendAll(head int, more []byte, parts []Part) error {
	w := l.w
	n, err := l.write(w.out, more)
	w.sent.HeadBytes = int64(min(n, head))
	w.sent.BodyBytes = int64(max(n-head, 0))
	if cap(w.out) > 2*oneWrite {
		w.out = nil
	}
	for i := range parts {
		if err != nil {
			return err
		}
		var m int64
		m, err = l.part(&parts[i])
		w.sent.BodyBytes += m
	}
	return err
}

// inline moves the leading parts that fit into the first write behind the head: all of it when the whole is short, or bytes
// in memory up to oneWrite. It returns what is left.
func (w *work) inline(parts []Part) ([]Part, error) {
	for len(parts) > 0 {
		p := &parts[0]
		if int64(len(w.out))+p.Length > oneWrite {
			break
		}
		if p.File == nil {
			w.out = append(w.out, p.Bytes...)
		} else {
			if len(parts) > 1 || p.Length > shortFile {
				break
			}
			n := len(w.out)
			w.out = append(w.out, make([]byte, p.Length)...)
			if _, err := p.File.ReadAt(w.out[n:], p.Offset); err != nil {
				return nil, err
			}
		}
		parts = parts[1:]
	}
	return parts, nil
}

// shortFile is the length of a piece of a file that is read and copied rather than sent by sendfile: one system call more,
// but one packet and one wake-up less.
const shortFile = 16 << 10

// write sends p and more.
func (l *loop) write(p, more []byte) (int, error) {
	if !l.c.secure {
		return l.c.sock.send(p, more)
	}
	n, err := l.c.stream.Write(p)
	if err != nil || len(more) == 0 {
		return n, err
	}
	m, err := l.c.stream.Write(more)
	return n + m, err
}

// part sends one piece of a body.
func (l *loop) part(p *Part) (int64, error) {
	switch {
	case p.File != nil && l.c.secure:
		return copyFile(l.c.stream, p.File, p.Offset, p.Length, l.c.front)
	case p.File != nil:
		return l.c.sock.sendFile(p.File, p.Offset, p.Length)
	}
	n, err := l.write(p.Bytes, nil)
	return int64(n), err
}

// copyFile copies length bytes of f from off to w through a pooled buffer.
func copyFile(w io.Writer, f *os.File, off, length int64, front *Front) (sent int64, err error) {
	b := copyPool.Get().(*[]byte)
	defer copyPool.Put(b)
	for sent < length {
		p := (*b)[:min(copyRoom, length-sent)]
		n, err := f.ReadAt(p, off+sent)
		if n < len(p) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return sent, err
		}
		m, err := w.Write(p)
		sent += int64(m)
		if front != nil {
			front.stats.copied.Add(uint64(m))
		}
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// refuse answers with a short error and ends the connection (RFC 9112 §2.2: what follows cannot be told apart).
func (l *loop) refuse(ref *refusal) {
	c := l.c
	c.front.stats.bad.Add(1)
	c.front.log.Debug("request refused", "client", c.remote, "status", ref.status, "why", ref.why)
	text := ref.why + "\n"
	p := append([]byte(nil), statusLine(ref.status)...)
	p = append(p, c.front.date()...)
	p = append(p, "Server: "+c.front.opts.Server+"\r\nContent-Type: text/plain\r\nConnection: close\r\n"...)
	if ref == errConnect {
		p = append(p, "Allow: GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE\r\n"...)
	}
	p = append(p, "Content-Length: "+strconv.Itoa(len(text))+"\r\n\r\n"+text...)
	c.sock.calm()
	if _, err := l.write(p, nil); err == nil {
		l.linger()
	}
}
