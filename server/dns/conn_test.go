package dns

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Many questions at once on one connection are all answered (RFC 7766 §6.2.1).
func TestPipelining(t *testing.T) {
	s := start(t, nil)
	c, err := dns.Dial("tcp", s.at[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	want := map[uint16]bool{}
	for i := range 200 {
		q := question("mail.example.org.", dns.TypeA)
		q.Id = uint16(i)
		want[q.Id] = true
		if err := c.WriteMsg(q); err != nil {
			t.Fatal(err)
		}
	}
	for range 200 {
		m, err := c.ReadMsg()
		if err != nil {
			t.Fatal(err)
		}
		delete(want, m.Id)
	}
	if len(want) > 0 {
		t.Errorf("not answered: %v", want)
	}
}

// ended waits until the server closes a connection.
func ended(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, err := io.Copy(io.Discard, c)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

func dial(t *testing.T, at string) net.Conn {
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// One client has so many connections and no more; when one ends there is room
// again.
func TestConnectionsOfClient(t *testing.T) {
	s := start(t, func(o *Options) { o.Limits = Limits{ConnsClient: 2, IdleTime: time.Minute} })
	first := dial(t, s.at[0])
	dial(t, s.at[0])
	if !ended(dial(t, s.at[0])) || s.stats.connsRefused.Load() != 1 {
		t.Errorf("a third connection: %d refused", s.stats.connsRefused.Load())
	}
	if got := brief(exchange(t, "tcp", s.at[1], question("mail.example.org.", dns.TypeA))); got != "NOERROR aa mail A 192.0.2.25" {
		t.Errorf("another client: %s", got)
	}
	first.Close()
	for n := 2; n > 1; { // until the server has seen it
		s.mu.Lock()
		n = len(s.conns)
		s.mu.Unlock()
		runtime.Gosched()
	}
	exchange(t, "tcp", s.at[0], question("mail.example.org.", dns.TypeA))
}

// A connection may do nothing for a while only, and a question must come whole
// soon.
func TestConnectionTimes(t *testing.T) {
	s := start(t, func(o *Options) { o.Limits = Limits{IdleTime: 30 * time.Millisecond, QueryTime: time.Minute} })
	if !ended(dial(t, s.at[0])) {
		t.Error("an idle connection was not closed")
	}
	s = start(t, func(o *Options) { o.Limits = Limits{IdleTime: time.Minute, QueryTime: 30 * time.Millisecond} })
	c := dial(t, s.at[0])
	if _, err := c.Write([]byte{0, 30, 1}); err != nil {
		t.Fatal(err)
	}
	if !ended(c) {
		t.Error("a question that does not end keeps its connection")
	}
}

// So many questions on one connection.
func TestConnectionQuestions(t *testing.T) {
	s := start(t, func(o *Options) { o.Limits = Limits{ConnQueries: 3, IdleTime: time.Minute} })
	c := &dns.Conn{Conn: dial(t, s.at[0])}
	answered := 0
	for range 5 {
		if c.WriteMsg(question("mail.example.org.", dns.TypeA)) != nil {
			break
		}
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.ReadMsg(); err != nil {
			break
		}
		answered++
	}
	if answered != 3 {
		t.Errorf("%d questions on one connection, limit 3", answered)
	}
}
