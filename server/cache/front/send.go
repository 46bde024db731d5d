package front

import (
	"io"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// oneWrite is up to which size head and body go out in one write.
const oneWrite = 16 << 10

// copyRoom is the size of the buffers through which files are copied where sendfile cannot be used.
const copyRoom = 64 << 10

var copyPool = sync.Pool{New: func() any { b := make([]byte, copyRoom); return &b }}

// send writes the answer at work: the head and a short body in one write, files by sendfile with the head before it held
// back by MSG_MORE.
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
	var err error
	if parts, err = w.inline(parts); err != nil {
		return err
	}
	flags := 0
	if len(parts) > 0 && !c.secure {
		flags = unix.MSG_MORE
	}
	n, err := l.write(w.out, flags)
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
		m, err = l.part(&parts[i], i < len(parts)-1)
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
const shortFile = 4 << 10

func (l *loop) write(p []byte, flags int) (int, error) {
	if l.c.secure {
		return l.c.stream.Write(p)
	}
	return l.c.sock.send(p, flags)
}

// part sends one piece of a body. more says that others follow.
func (l *loop) part(p *Part, more bool) (int64, error) {
	switch {
	case p.File != nil && l.c.secure:
		return copyFile(l.c.stream, p.File, p.Offset, p.Length, l.c.front)
	case p.File != nil:
		return l.c.sock.sendFile(p.File, p.Offset, p.Length)
	}
	flags := 0
	if more && !l.c.secure {
		flags = unix.MSG_MORE
	}
	n, err := l.write(p.Bytes, flags)
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
	if _, err := l.write(p, 0); err == nil {
		l.linger()
	}
}
