package resync

import (
	"math"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestResets: a connection that is reset is told of, one that its server ends,
// or that its client closes, is not.
func TestResets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var e ears
	if e.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(e.epoll)
	began := time.Now()
	var ids [4]int32
	for i := range ids {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if ids[i], err = e.add(c.(*net.TCPConn)); err != nil {
			t.Fatal(err)
		}
		s.Write([]byte("x"))
		switch i {
		case 0:
			s.Close()
		case 1:
			c.Close()
		case 2, 3: // the last is the end of the test
			s.(*net.TCPConn).SetLinger(0)
			s.Close()
		}
	}
	at := map[int32]time.Time{}
	for end := began.Add(20 * time.Second); at[ids[3]].IsZero() && time.Now().Before(end); {
		soon := make(chan struct{})
		time.AfterFunc(10*time.Millisecond, func() { close(soon) })
		more, err := resets(t.Context(), e.epoll, soon)
		if err != nil {
			t.Fatal(err)
		}
		for id, when := range more {
			at[id] = when
		}
	}
	if len(at) != 2 || at[ids[2]].Before(began) || at[ids[3]].Before(began) {
		t.Errorf("told %v, want of %v", at, ids[2:])
	}
}

// TestNearly: who is never told counts as told last.
func TestNearly(t *testing.T) {
	var told []time.Duration
	for i := range 998 {
		told = append(told, time.Duration(i)*time.Millisecond)
	}
	if got := nearly(told, 1000); !math.IsNaN(got) {
		t.Errorf("two of a thousand are never told: %v", got)
	}
	if got := nearly(append(told, time.Second), 1000); got != 1000 {
		t.Errorf("one of a thousand is never told: %v", got)
	}
	if got := nearly(told[:60], 60); got != 59 {
		t.Errorf("of few the last counts: %v", got)
	}
}
