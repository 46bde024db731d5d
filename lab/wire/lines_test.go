package wire

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// ipPacket is a frame as the kernel gives it, with its notes before it.
func ipPacket(src, dst netip.Addr, n int) []byte {
	p := make([]byte, 10+14+n)
	h := p[24:]
	if src.Is4() {
		p[22], p[23] = 8, 0
		copy(h[12:], src.AsSlice())
		copy(h[16:], dst.AsSlice())
	} else {
		p[22], p[23] = 0x86, 0xdd
		copy(h[8:], src.AsSlice())
		copy(h[24:], dst.AsSlice())
	}
	return p
}

// TestLines: each address at the far end has a line of its own, in both
// directions, and frames leave when they are due whatever line they are of.
func TestLines(t *testing.T) {
	server, slow := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("10.0.0.1")
	server6, far := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fd00::1")
	asked := map[netip.Addr]int{}
	of := func(a netip.Addr) Config {
		asked[a]++
		switch a {
		case slow:
			return Config{Rate: 8000, Queue: 2000} // 1,000 bytes a second
		case far:
			return Config{Delay: 20 * time.Millisecond}
		}
		return Config{}
	}
	for _, down := range []bool{true, false} {
		f := newFan(of, down)
		way := func(s, c netip.Addr, n int) []byte {
			if down {
				return ipPacket(s, c, n)
			}
			return ipPacket(c, s, n)
		}
		now := time.Now().Add(-time.Hour)
		for range 3 {
			f.push(way(server, slow, 886), now) // 900 on the line; the third finds no room
		}
		f.push(way(server6, far, 100), now)
		f.push(make([]byte, 60), now) // neither IPv4 nor IPv6
		var due []time.Duration
		for len(f.frames) > 0 {
			due = append(due, f.frames[0].due.Sub(now))
			if _, wait := f.pop(); wait != 0 {
				t.Fatal(wait)
			}
		}
		want := []time.Duration{0, 20 * time.Millisecond, 900 * time.Millisecond, 1800 * time.Millisecond}
		if len(due) != len(want) {
			t.Fatalf("%v, want %v", due, want)
		}
		for i := range want {
			if d := due[i] - want[i]; d < -time.Millisecond || d > time.Millisecond {
				t.Errorf("%v, want %v", due, want)
			}
		}
	}
	if l := (&Lines{fans: [2]*fan{newFan(of, true), newFan(of, false)}}); l.fans[0] != nil {
		l.fans[1].push(ipPacket(slow, server, 886), time.Now().Add(-time.Minute)) // 900 ms on the line
		l.fans[1].pop()
		if late, n := l.Late(slow); n != 1 || late < 58*time.Second || late > time.Hour {
			t.Errorf("%d frames are late by %v", n, late)
		}
		delete(asked, slow)
		asked[slow] = 2
	}
	if len(asked) != 2 || asked[slow] != 2 || asked[far] != 2 {
		t.Errorf("asked %v", asked)
	}
}

// TestLinesOrder: whatever order frames are pushed in, they leave by due time,
// and those of one line in the order in which they came.
func TestLinesOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	delays := map[netip.Addr]time.Duration{}
	f := newFan(func(a netip.Addr) Config { return Config{Delay: delays[a], Rate: 1e6} }, true)
	server := netip.MustParseAddr("192.0.2.1")
	now := time.Now().Add(-time.Hour)
	count := map[netip.Addr]byte{}
	for i := range 1000 {
		a := netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(9))})
		if _, ok := delays[a]; !ok {
			delays[a] = time.Duration(r.IntN(50)) * time.Millisecond
		}
		p := ipPacket(server, a, 100)
		p[len(p)-1] = count[a]
		count[a]++
		f.push(p, now.Add(time.Duration(i)*time.Millisecond))
	}
	next := map[netip.Addr]byte{}
	var last time.Time
	for n := 0; len(f.frames) > 0; n++ {
		if due := f.frames[0].due; due.Before(last) {
			t.Fatalf("frame %d leaves %v early", n, last.Sub(due))
		} else {
			last = due
		}
		p, _ := f.pop()
		a := customer(p, true)
		if p[len(p)-1] != next[a] {
			t.Fatalf("%v: frame %d after %d", a, p[len(p)-1], next[a])
		}
		next[a]++
	}
}
