package front

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// Records that are gathered arrive whole and in order, whatever the lengths; and when the client goes, what was lost is known.
func TestGather(t *testing.T) {
	for _, sizes := range [][]int{{1}, {100, 16_000, 16_000, 16_000, 16_000, 5}, {50 << 10, 1}, {50<<10 + 1}, {1, 60 << 10}, {0, 3}} {
		here, there := tcpPair(t)
		c := &Conn{}
		s, err := newSock(here, c, &Limits{Grace: time.Second, SendRate: 1}, &counters{})
		if err != nil {
			t.Fatal(err)
		}
		var want []byte
		s.collect()
		for i, n := range sizes {
			p := bytes.Repeat([]byte{byte('a' + i)}, n)
			want = append(want, p...)
			if m, err := s.Write(p); m != n || err != nil {
				t.Fatalf("%v: wrote %d, %v", sizes, m, err)
			}
		}
		if len(want) <= 50<<10 && c.Out() != 0 {
			t.Errorf("%v: %d bytes went before the rest", sizes, c.Out())
		}
		if lost, err := s.release(); lost != 0 || err != nil {
			t.Fatalf("%v: lost %d, %v", sizes, lost, err)
		}
		here.CloseWrite()
		if got, err := io.ReadAll(there); !bytes.Equal(got, want) || err != nil {
			t.Errorf("%v: %d bytes arrived, %v", sizes, len(got), err)
		}
		here.Close()
		s.collect()
		s.Write([]byte("lost"))
		if lost, err := s.release(); lost != 4 || err == nil {
			t.Errorf("closed: lost %d, %v", lost, err)
		}
		s.collect()
		s.Write(make([]byte, 40<<10))
		if n, err := s.Write(make([]byte, 40<<10)); n != 0 || err == nil {
			t.Errorf("closed: wrote %d, %v", n, err)
		}
		if lost, _ := s.release(); lost != 40<<10 {
			t.Errorf("closed: lost %d", lost)
		}
	}
}

// tcpPair is a connection to ourselves.
func tcpPair(t *testing.T) (here, there *net.TCPConn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	a, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a.(*net.TCPConn), b.(*net.TCPConn)
}
