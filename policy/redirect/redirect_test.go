package redirect

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

var t0 = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func after(seconds float64) time.Time { return t0.Add(time.Duration(seconds * 1e9)) }

func TestFollows(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"/v/seg-1.ts", "/v/seg-2.ts", true}, {"/v/seg-009.ts", "/v/seg-010.ts", true}, {"/v/seg-9.ts", "/v/seg-10.ts", true}, {"/v/seg-99", "/v/seg-100", true},
		{"/v/seg-009.ts", "/v/seg-10.ts", true}, {"/v/seg-1.ts", "/v/seg-3.ts", false}, {"/v/seg-2.ts", "/v/seg-1.ts", false}, {"/v/seg-1.ts", "/v/seg-1.ts", false},
		{"/v/1/seg-1.ts", "/v/2/seg-2.ts", false}, {"/v/1/seg-1.ts", "/v/2/seg-1.ts", true}, {"/a", "/b", false}, {"", "", false}, {"/v/1", "/v/2a", false}, {"/v/12/3", "/v/13/3", true}, {"/v/199.m4s?x=1", "/v/200.m4s?x=1", true},
	} {
		if got := Follows(c.a, c.b); got != c.want {
			t.Errorf("%s after %s: %v, want %v", c.b, c.a, got, c.want)
		}
	}
}

func TestCMCD(t *testing.T) {
	var c CMCD
	ParseCMCD(&c, `bl=21300,br=3200, bs,cid="a,su=1,\"b",d=4004,nor="..%2F300kbps%2Ftrack.m4v",pr=1.08,sid="6e2fb550"`)
	if c.Buffer != 21300*time.Millisecond || c.Bitrate != 400_000 || !c.Starved || c.Startup || c.Length != 4004*time.Millisecond || math.Abs(c.Speed-1.08) > 1e-9 || c.Session != "6e2fb550" || c.Next != "..%2F300kbps%2Ftrack.m4v" {
		t.Errorf("%+v", c)
	}
	for _, s := range []string{"", "bl", "bl=", "bl=-1", "bl=99999999999", "bl=1.5", "pr=", "pr=x", "=", ",,,", `"`, `sid="`, `\`, "su=1", "bs=0"} {
		var c CMCD
		if ParseCMCD(&c, s); c.HasBuffer && s != "bl" || c.Startup || c.Starved || c.Speed != 0 {
			t.Errorf("%q: %+v", s, c)
		}
	}
}

func FuzzCMCD(f *testing.F) {
	f.Add(`bl=21300,br=3200,bs,sid="6e,2f"`)
	f.Fuzz(func(t *testing.T, s string) {
		var c CMCD
		ParseCMCD(&c, s)
		if c.Buffer < 0 || c.Bitrate < 0 || !(c.Speed >= 0) || c.HasBuffer != (c.HasBuffer && c.Buffer >= 0) {
			t.Fatalf("%+v", c)
		}
	})
}

func FuzzFollows(f *testing.F) {
	f.Add("/a/1", "/a/2")
	f.Fuzz(func(t *testing.T, a, b string) {
		if Follows(a, b) && Follows(b, a) {
			t.Fatalf("%q and %q follow one another", a, b)
		}
	})
}

func TestSequence(t *testing.T) {
	get := func(name string, first, last, size int64) Request {
		return Request{Name: name, First: first, Last: last, Size: size}
	}
	for _, c := range []struct {
		what   string
		before Request
		got    int64
		now    Request
		want   bool
	}{
		{"the next part", get("/f", 0, 999, 5e6), 1000, get("/f", 1000, 1999, 5e6), true},
		{"a little again", get("/f", 0, 99999, 5e6), 1000, get("/f", 99000, 199999, 5e6), true},
		{"a seek forward", get("/f", 0, 999, 50e6), 1000, get("/f", 20e6, -1, 50e6), false},
		{"a seek back", get("/f", 20e6, 30e6, 50e6), 10e6, get("/f", 1000, -1, 50e6), false},
		{"hung up and asked for the rest", get("/f", 0, -1, 50e6), 8e6, get("/f", 7.5e6, -1, 50e6), true},
		{"hung up and went elsewhere", get("/f", 0, -1, 50e6), 8e6, get("/f", 9e6, -1, 50e6), false},
		{"the next segment", get("/s1", 0, -1, -1), 1000, get("/s2", 0, -1, -1), true},
		{"a later segment", get("/s1", 0, -1, -1), 1000, get("/s9", 0, -1, -1), false},
		{"the next segment before this one was asked for whole", get("/s1", 0, 99, 5000), 100, get("/s2", 0, -1, -1), false},
		{"the middle of the next segment", get("/s1", 0, -1, -1), 1000, get("/s2", 500, -1, -1), false},
		{"the same again", get("/s1", 0, -1, 3e6), 3e6, get("/s1", 0, -1, 3e6), false},
	} {
		var s Session
		c.before.At, c.now.At = t0, after(1)
		s.Request(&c.before)
		s.Got(c.got, after(0.5))
		if got := s.Request(&c.now); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

func TestBufferIsALowerBound(t *testing.T) {
	s := Session{Media: Media{Average: 100, Peak: 200}}
	q := Request{At: t0, Name: "/s1", Last: -1, Size: -1}
	s.Request(&q)
	s.Got(4000, after(1))
	want := func(what string, seconds float64) {
		t.Helper()
		if got := s.Buffer().Seconds(); math.Abs(got-seconds) > 1e-6 {
			t.Errorf("%s: %v s, want %v", what, got, seconds)
		}
	}
	want("4,000 bytes at no more than 200 a second, of which one is played", 19)
	s.Got(0, after(6))
	want("5 s later", 14)
	s.Window(true, 4000, after(16))
	want("the window is shut over 4,000 bytes", 20)
	s.Window(false, 0, after(17))
	want("open again", 3)
	q = Request{At: after(18), Name: "/s2", Last: -1, Size: -1, CMCD: CMCD{HasBuffer: true, Buffer: 9 * time.Second, Speed: 2}}
	s.Request(&q)
	want("the client says 9 s", 9)
	s.Got(0, after(20))
	want("it plays at twice the speed", 5)
	q = Request{At: after(20), Name: "/s2", First: 5000, Last: -1, Size: -1}
	s.Request(&q)
	want("after a seek", 0)
	s.Request(&Request{At: after(21), Name: "/s3", Last: -1, CMCD: CMCD{HasBuffer: true, Buffer: time.Hour}})
	want("nobody has an hour", maxSaid)
}

// wishes is a request and a world in which everything speaks for a redirect.
func wishes() (Options, *Session, *Request, *World) {
	o := Options{Self: "LON"}
	s := &Session{Media: Media{Average: 100e3, Peak: 150e3}}
	say := CMCD{HasBuffer: true, Buffer: 30 * time.Second}
	for i := range 3 {
		o.Decide(s, &Request{At: after(float64(i) * 3), Name: fmt.Sprint("/s", i), Last: -1, Size: 2 << 20, CMCD: say}, &World{Pressure: true})
	}
	return o, s, &Request{At: after(9), Name: "/s3", Last: -1, Size: 2 << 20, CMCD: say}, &World{Pressure: true, Target: "CHEAP", Ready: true, Rate: 1e6, Worst: 2 * time.Second}
}

// TestNever breaks each rule alone, and sees it named; with none broken the
// client is redirected.
func TestNever(t *testing.T) {
	o, s, q, w := wishes()
	if v := o.Decide(s, q, w); v.Do != Redirect || v.To != "CHEAP" {
		t.Fatalf("%+v, with everything for a redirect", v)
	}
	breaks := map[string]func(o *Options, s *Session, q *Request, w *World){
		"stopped":     func(_ *Options, _ *Session, _ *Request, w *World) { w.Stopped = true },
		"no-target":   func(_ *Options, _ *Session, _ *Request, w *World) { w.Ready = false },
		"bound":       func(_ *Options, _ *Session, _ *Request, w *World) { w.Bound = true },
		"circle":      func(_ *Options, _ *Session, q *Request, _ *World) { q.Via = []POP{"CHEAP", "NYC"} },
		"twice":       func(_ *Options, _ *Session, q *Request, _ *World) { q.Via = []POP{"NYC"} },
		"no-pressure": func(_ *Options, _ *Session, _ *Request, w *World) { w.Pressure = false },
		"little-left": func(_ *Options, _ *Session, q *Request, _ *World) { q.Size = 1000 },
		"seek":        func(_ *Options, _ *Session, q *Request, _ *World) { q.Name = "/s9" },
		"starved":     func(_ *Options, _ *Session, q *Request, _ *World) { q.CMCD.Starved = true },
		"not-paced":   func(_ *Options, s *Session, _ *Request, _ *World) { s.paced = after(8) },
		"too-soon":    func(_ *Options, s *Session, _ *Request, _ *World) { s.last = after(8) },
		"buffer":      func(_ *Options, _ *Session, _ *Request, w *World) { w.Worst = 16 * time.Second },
		"target-slow": func(_ *Options, _ *Session, _ *Request, w *World) { w.Rate = 100e3 },
	}
	for _, r := range Never {
		o, s, q, w := wishes()
		do := breaks[r.Name]
		if do == nil {
			t.Errorf("%s: no case", r.Name)
			continue
		}
		do(&o, s, q, w)
		if v := o.Decide(s, q, w); v.Why != r.Name || v.Do == Redirect || v.Do == Move {
			t.Errorf("%s: %+v", r.Name, v)
		}
	}
}

func TestSlowNetworksMoveOnceAtTheirFirstRequest(t *testing.T) {
	w := &World{Pressure: true, Target: "CHEAP", Ready: true}
	first := func() *Request { return &Request{At: t0, Name: "/f", Last: -1, Size: 5 << 20, Slow: true} }
	o := Options{Self: "LON", MoveSlow: true}
	if v := o.Decide(&Session{}, first(), w); v.Do != Move || v.To != "CHEAP" {
		t.Errorf("%+v", v)
	}
	if v := (Options{Self: "LON"}).Decide(&Session{}, first(), w); v.Do != Serve {
		t.Errorf("the operator did not say so: %+v", v)
	}
	q := first()
	if q.Via = []POP{"CHEAP"}; o.Decide(&Session{}, q, w).Do != Serve {
		t.Error("in a circle")
	}
	s := &Session{}
	o.Decide(s, first(), &World{})
	if v := o.Decide(s, &Request{At: after(1), Name: "/f", First: 3 << 20, Last: -1, Size: 5 << 20, Slow: true}, w); v.Do != Serve || v.Why != "seek" {
		t.Errorf("on a seek: %+v", v)
	}
}

// TestNeverUnderRandomSchedules plays random sessions and judges every redirect
// by what the schedule knows, without asking the code under test.
func TestNeverUnderRandomSchedules(t *testing.T) {
	redirects, paced := 0, 0
	for n := range 4000 {
		r := rand.New(rand.NewPCG(uint64(n), 17))
		o := Options{Self: "LON", MoveSlow: r.IntN(4) == 0, Reattach: time.Duration(r.IntN(3000)) * time.Millisecond}
		s := &Session{Media: Media{Average: 100e3, Peak: float64(r.IntN(2)) * 200e3}}
		at, segment, size := 0.0, 0, int64(2<<20)
		last, pacedSince := -1e9, -1.0
		for step := range 40 {
			at += r.Float64() * 6
			seq := step > 0 && r.IntN(8) > 0
			if seq {
				segment++
			} else if step > 0 {
				segment += 2 + r.IntN(50)
			}
			q := &Request{At: after(at), Name: fmt.Sprint("/s", segment), Last: -1, Size: size, Slow: r.IntN(5) == 0}
			if said := r.IntN(6); said > 0 {
				q.CMCD = CMCD{HasBuffer: true, Buffer: time.Duration(said*said*1500) * time.Millisecond, Starved: r.IntN(12) == 0, Startup: r.IntN(12) == 0}
			}
			for range r.IntN(8) / 6 {
				q.Via = append(q.Via, []POP{"CHEAP", "NYC"}[r.IntN(2)])
			}
			if r.IntN(15) == 0 {
				q.Size = 1000
			}
			w := &World{Pressure: r.IntN(10) > 0, Stopped: r.IntN(20) == 0, Target: []POP{"CHEAP", "CHEAP", "CHEAP", "", "LON"}[r.IntN(5)], Ready: r.IntN(10) > 0,
				Worst: time.Duration(r.IntN(9000)) * time.Millisecond, Rate: float64(r.IntN(4)) * 250e3}
			v := o.Decide(s, q, w)
			if v.Do == Pace {
				if paced++; pacedSince < 0 {
					pacedSince = at
				}
				if v.Rate < 1.2*100e3 || !seq || !w.Pressure || w.Stopped {
					t.Fatalf("schedule %d, step %d: %+v", n, step, v)
				}
			} else if v.Do == Serve {
				pacedSince = -1
			}
			if v.Do != Redirect && v.Do != Move {
				s.Got(int64(r.IntN(int(size))), after(at))
				continue
			}
			redirects++
			reattach := max(o.Reattach, w.Worst).Seconds()
			bad := w.Stopped || !w.Pressure || !w.Ready || v.To != "CHEAP" || w.Target != v.To || len(q.Via) > 0 || q.Size < 1<<20
			if v.Do == Move {
				bad = bad || step > 0 || !o.MoveSlow || !q.Slow
			} else {
				bad = bad || !seq || q.CMCD.Starved || q.CMCD.Startup || q.CMCD.HasBuffer && q.CMCD.Buffer.Seconds() < 2*reattach ||
					at-last < 2 || pacedSince < 0 || at-pacedSince < 3.999 ||
					w.Rate < 300e3 && q.CMCD.HasBuffer && q.CMCD.Buffer.Seconds() < reattach+float64(q.Size)/max(w.Rate, 20e3)
				last = at
			}
			if bad {
				t.Fatalf("schedule %d, step %d: %+v of %+v in %+v", n, step, v, q, w)
			}
		}
	}
	if redirects < 500 || paced < 5000 {
		t.Errorf("%d redirects and %d paced: the schedules try too little", redirects, paced)
	}
}
