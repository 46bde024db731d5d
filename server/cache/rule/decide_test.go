package rule_test

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/catchment/catchment/server/cache/rule"
)

// slowDecide is RFC 9111 §4, §4.2.4 and §5.2.1 again, written as the text goes and in seconds, to be compared with Decide.
func slowDecide(r *rule.Request, l *rule.Life, now rule.Millis) rule.Action {
	age := float64(now-l.Born) / 1000
	lifetime := float64(l.Fresh-l.Born) / 1000
	fresh := lifetime > age
	staleness := age - lifetime
	must := l.Flags&rule.FlagMustRevalidate != 0
	usable := true
	if l.Flags&rule.FlagNoCache != 0 || r.NoCache {
		usable = false
	}
	immutable := l.Flags&rule.FlagImmutable != 0 && fresh && r.MaxAge == 0
	if r.MaxAge >= 0 && age > float64(r.MaxAge) && !immutable {
		usable = false
	}
	if r.MinFresh >= 0 && lifetime-age < float64(r.MinFresh) {
		usable = false
	}
	switch {
	case usable && fresh:
		return rule.Fresh
	case usable && r.MinFresh < 0 && now < l.Revalidate:
		return rule.Stale
	case usable && r.MinFresh < 0 && !must && r.MaxStale >= 0 && staleness <= float64(r.MaxStale):
		return rule.Stale
	case r.OnlyIfCached:
		return rule.GatewayTimeout
	}
	return rule.Revalidate
}

func TestDecideAgainstOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(9111, 1))
	pick := func() rule.Seconds { return []rule.Seconds{-1, -1, -1, 0, 1, 2, 5, 1 << 31}[r.IntN(8)] }
	seen := map[rule.Action]int{}
	for range 200000 {
		born := rule.Millis(1_000_000)
		l := rule.Life{Born: born, Fresh: born + rule.Millis(r.IntN(6))*1000}
		l.Revalidate = l.Fresh + rule.Millis(r.IntN(3))*1000
		l.Flags = []rule.Flags{0, 0, 0, rule.FlagNoCache, rule.FlagMustRevalidate, rule.FlagImmutable}[r.IntN(6)]
		req := rule.Request{NoCache: r.IntN(8) == 0, OnlyIfCached: r.IntN(8) == 0, MaxAge: pick(), MinFresh: pick(), MaxStale: pick()}
		now := born + rule.Millis(r.IntN(9000))
		if r.IntN(2) == 0 {
			now = now / 1000 * 1000 // the edges
		}
		d := rule.Decide(&req, &l, now)
		if want := slowDecide(&req, &l, now); d.Action != want {
			t.Fatalf("%+v of %+v at %d: %v (%v), want %v", req, l, now, d.Action, d.Reason, want)
		}
		if d.Refresh && (d.Action != rule.Stale || req.OnlyIfCached) {
			t.Fatalf("%+v of %+v at %d: refresh with %v", req, l, now, d.Action)
		}
		if d.Reason == rule.StaleWhileRevalidate && d.Refresh == req.OnlyIfCached {
			t.Fatalf("%+v of %+v at %d: refresh is %v", req, l, now, d.Refresh)
		}
		seen[d.Action]++
	}
	if len(seen) != 4 {
		t.Errorf("not every action was seen: %v", seen)
	}
}

func TestMillis(t *testing.T) {
	m := rule.At(noon).Add(1500 * time.Millisecond)
	if !m.Time().Equal(noon.Add(1500*time.Millisecond)) || m-rule.At(noon) != 1500 {
		t.Errorf("%v", m.Time())
	}
}

func TestReadRequest(t *testing.T) {
	n := rule.PlainRequest()
	with := func(f func(*rule.Request)) rule.Request { r := n; f(&r); return r }
	for _, c := range []struct {
		h    http.Header
		want rule.Request
	}{
		{nil, n},
		{http.Header{"Cache-Control": {"nothing"}}, n},
		{http.Header{"Cache-Control": {"NO-cache , no-store"}}, with(func(r *rule.Request) { r.NoCache, r.NoStore = true, true })},
		{http.Header{"Cache-Control": {"max-age=3", "max-age=5"}}, with(func(r *rule.Request) { r.MaxAge = 3 })},
		{http.Header{"Cache-Control": {`max-age="3"`}}, with(func(r *rule.Request) { r.MaxAge = 3 })},
		{http.Header{"Cache-Control": {"max-age"}}, with(func(r *rule.Request) { r.MaxAge = 0 })},
		{http.Header{"Cache-Control": {"min-fresh=x"}}, with(func(r *rule.Request) { r.MinFresh = 1 << 31 })},
		{http.Header{"Cache-Control": {"max-stale"}}, with(func(r *rule.Request) { r.MaxStale = 1 << 31 })},
		{http.Header{"Cache-Control": {"max-stale=7, stale-if-error=8"}}, with(func(r *rule.Request) { r.MaxStale, r.IfError = 7, 8 })},
		{http.Header{"Cache-Control": {"max-stale=-7"}}, with(func(r *rule.Request) { r.MaxStale = 0 })},
		{http.Header{"Pragma": {"x, No-Cache"}}, with(func(r *rule.Request) { r.NoCache = true })},
		{http.Header{"Pragma": {"no-cache"}, "Cache-Control": {""}}, n},
	} {
		if got := rule.ReadRequest(c.h, &rule.Policy{}); got != c.want {
			t.Errorf("%v: %+v, want %+v", c.h, got, c.want)
		}
	}
	h := http.Header{"Cache-Control": {"no-cache, no-store, only-if-cached, max-age=0, min-fresh=9, max-stale"}}
	want := with(func(r *rule.Request) { r.NoStore, r.OnlyIfCached = true, true })
	if got := rule.ReadRequest(h, &rule.Policy{IgnoreClient: true}); got != want {
		t.Errorf("ignored client: %+v, want %+v", got, want)
	}
}

func TestMissing(t *testing.T) {
	plain, only := rule.PlainRequest(), rule.PlainRequest()
	only.OnlyIfCached = true
	for _, c := range []struct {
		r    rule.Request
		why  rule.Reason
		want rule.Action
	}{
		{plain, rule.URIMiss, rule.Miss}, {plain, rule.VaryMiss, rule.Miss}, {plain, rule.HitForMiss, rule.Bypass},
		{only, rule.URIMiss, rule.GatewayTimeout}, {only, rule.HitForMiss, rule.GatewayTimeout},
	} {
		if d := rule.Missing(&c.r, c.why); d.Action != c.want {
			t.Errorf("%v: %v, want %v", c.why, d, c.want)
		}
	}
}

func TestFailed(t *testing.T) {
	const t0 = rule.Millis(1_000_000)
	l := rule.Life{Born: t0, Fresh: t0 + 1000, Revalidate: t0 + 1000, Error: t0 + 5000, Disconnected: t0 + 9000}
	must := rule.Life{Born: t0, Fresh: t0 + 1000, Revalidate: t0 + 1000, Error: t0 + 1000, Disconnected: t0 + 1000, Flags: rule.FlagMustRevalidate}
	plain := rule.PlainRequest()
	reload, tolerant := plain, plain
	reload.NoCache = true
	tolerant.IfError = 20
	for _, c := range []struct {
		name   string
		r      rule.Request
		l      rule.Life
		status int
		after  rule.Millis
		want   rule.Action
	}{
		{"error in its window", plain, l, 503, 4999, rule.Stale},
		{"error after its window", plain, l, 503, 5000, rule.PassOn},
		{"error that is no failure", plain, l, 501, 2000, rule.PassOn},
		{"gone in its window", plain, l, 0, 8999, rule.Stale},
		{"gone after it", plain, l, 0, 9000, rule.PassOn},
		{"gone, must-revalidate", plain, must, 0, 2000, rule.GatewayTimeout},
		{"error, must-revalidate", plain, must, 500, 2000, rule.PassOn},
		{"must-revalidate beats the request's stale-if-error", tolerant, must, 500, 2000, rule.PassOn},
		{"the request's stale-if-error", tolerant, l, 500, 20000, rule.Stale},
		{"no-cache in the request", reload, l, 500, 2000, rule.PassOn},
	} {
		if d := rule.Failed(&c.r, &c.l, c.status, t0+c.after); d.Action != c.want {
			t.Errorf("%s: %v (%v), want %v", c.name, d.Action, d.Reason, c.want)
		}
	}
}

// TestLifeTimes is the arithmetic of RFC 9111 §4.2.3 on numbers.
func TestLifeTimes(t *testing.T) {
	base := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return base.Add(time.Duration(ms) * time.Millisecond) }
	date := func(sec int) string { return base.Add(time.Duration(sec) * time.Second).Format(http.TimeFormat) }
	for _, c := range []struct {
		name      string
		h         http.Header
		req, resp time.Time
		now       time.Time
		age       rule.Seconds
		ttl       int64
	}{
		{"at once", http.Header{"Date": {date(0)}}, at(0), at(0), at(0), 0, 60},
		{"part of a second does not age", http.Header{"Date": {date(0)}}, at(990), at(990), at(990), 0, 60},
		{"resident", http.Header{"Date": {date(0)}}, at(0), at(0), at(7500), 7, 52},
		{"delay of the answer", http.Header{"Date": {date(0)}}, at(0), at(3000), at(3000), 3, 57},
		{"Age and delay", http.Header{"Date": {date(0)}, "Age": {"10"}}, at(0), at(3000), at(4000), 14, 46},
		{"slow clock of the origin", http.Header{"Date": {date(-20)}}, at(0), at(0), at(0), 20, 40},
		{"slow clock and a larger Age", http.Header{"Date": {date(-20)}, "Age": {"30"}}, at(0), at(0), at(0), 30, 30},
		{"fast clock of the origin", http.Header{"Date": {date(20)}}, at(0), at(0), at(0), 0, 60},
		{"no Date", http.Header{}, at(0), at(1000), at(1000), 1, 59},
		{"our clock went back", http.Header{"Date": {date(0)}}, at(5000), at(0), at(0), 0, 60},
		{"clock back after storing", http.Header{"Date": {date(0)}}, at(0), at(0), at(-5000), 0, 65},
		{"stale", http.Header{"Date": {date(0)}}, at(0), at(0), at(60001), 60, -1},
		{"huge Age", http.Header{"Age": {"99999999999999999999"}}, at(0), at(0), at(9000), 1 << 31, 60 - 1<<31 - 9},
	} {
		c.h.Set("Cache-Control", "max-age=60")
		c.h.Set("Etag", `"a"`)
		p := rule.DefaultPolicy()
		v := rule.Judge(&rule.Exchange{Method: "GET", Status: 200, Request: http.Header{}, Response: c.h, RequestTime: c.req, ResponseTime: c.resp}, &p)
		now := rule.At(c.now)
		if age, ttl := v.Life.Age(now), v.Life.TTL(now); age != c.age || ttl != c.ttl {
			t.Errorf("%s: age %d, ttl %d, want %d, %d", c.name, age, ttl, c.age, c.ttl)
		}
	}
}

func TestLifeBinary(t *testing.T) {
	l := rule.Life{Received: 1, Born: -2, Date: 3, Fresh: 4, Revalidate: 5, Error: 6, Disconnected: 1 << 60, Status: 599, Flags: 0x8001}
	b, _ := l.AppendBinary([]byte("x"))
	got, rest, err := rule.DecodeLife(append(b[1:], "tail"...))
	if err != nil || got != l || string(rest) != "tail" {
		t.Errorf("%+v came back as %+v, %q, %v", l, got, rest, err)
	}
	if _, _, err := rule.DecodeLife(b[1 : len(b)-1]); err == nil {
		t.Error("a cut one is accepted")
	}
	b[1]++
	if _, _, err := rule.DecodeLife(b[1:]); err == nil {
		t.Error("another version is accepted")
	}
}

func TestExpireAndInvalidate(t *testing.T) {
	const t0 = rule.Millis(1_000_000)
	l := rule.Life{Born: t0, Fresh: t0 + 10000, Revalidate: t0 + 15000, Error: t0 + 20000, Disconnected: t0 + 30000}
	soft := l
	soft.Expire(t0 + 1000)
	want := rule.Life{Born: t0, Fresh: t0 + 1000, Revalidate: t0 + 6000, Error: t0 + 11000, Disconnected: t0 + 21000}
	if soft != want || soft.IsFresh(t0+1000) || !soft.IsFresh(t0+999) {
		t.Errorf("expired: %+v", soft)
	}
	again := soft
	if again.Expire(t0 + 4000); again != soft {
		t.Errorf("expired twice: %+v", again)
	}
	l.Invalidate(t0 + 1000)
	req := rule.PlainRequest()
	req.MaxStale = 1 << 31
	if d := rule.Decide(&req, &l, t0+1000); d.Action != rule.Revalidate {
		t.Errorf("invalidated: %v", d)
	}
	if d := rule.Failed(&req, &l, 503, t0+1000); d.Action != rule.PassOn {
		t.Errorf("invalidated, origin fails: %v", d)
	}
	if l.Dead() != t0+1000 {
		t.Errorf("invalidated, but alive until %d", l.Dead())
	}
}

// TestHitDoesNotAllocate: the path of a hit, with and without Vary, works on the stack.
func TestHitDoesNotAllocate(t *testing.T) {
	h := newHit(t)
	for name, f := range map[string]func() rule.Action{"plain": h.plain, "vary": h.varied, "reload": h.reload} {
		if n := testing.AllocsPerRun(100, func() { h.sink += int(f()) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if h.plain() != rule.Fresh || h.varied() != rule.Fresh || h.reload() != rule.Revalidate {
		t.Error("the hits are none")
	}
}

// hit holds what a hit needs.
type hit struct {
	policy        rule.Policy
	life          rule.Life
	plainV, varyV []*object
	header, again http.Header
	now           rule.Millis
	sink          int
}

func newHit(t testing.TB) *hit {
	h := &hit{policy: rule.DefaultPolicy(), now: 2000}
	h.life = rule.Life{Born: 1000, Fresh: 9000}
	h.header = http.Header{"Accept-Encoding": {"gzip, deflate, br, zstd"}, "Accept-Language": {"de-DE,de;q=0.9,en;q=0.8"}, "Accept": {"*/*"}}
	h.again = http.Header{"Cache-Control": {"max-age=0"}, "Pragma": {"no-cache"}}
	v := rule.Judge(&rule.Exchange{Method: "GET", Status: 200, Request: h.header, Response: http.Header{
		"Cache-Control": {"max-age=60"}, "Vary": {"Accept-Encoding, Accept-Language, Origin"}}}, &h.policy)
	if !v.Store {
		t.Fatal(v.Reason)
	}
	h.plainV = []*object{{life: h.life}}
	h.varyV = []*object{{life: h.life, vary: v.Vary}}
	return h
}

func (h *hit) decide(list []*object, header http.Header) rule.Action {
	req := rule.ReadRequest(header, &h.policy)
	i := rule.Select(list, objectOf, header, &h.policy)
	return rule.Decide(&req, &list[i].life, h.now).Action
}

func (h *hit) plain() rule.Action  { return h.decide(h.plainV, h.header) }
func (h *hit) varied() rule.Action { return h.decide(h.varyV, h.header) }
func (h *hit) reload() rule.Action { return h.decide(h.plainV, h.again) }

func BenchmarkHit(b *testing.B) {
	h := newHit(b)
	for name, f := range map[string]func() rule.Action{"plain": h.plain, "vary": h.varied, "reload": h.reload} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.sink += int(f())
			}
		})
	}
}

func BenchmarkJudge(b *testing.B) {
	p := rule.DefaultPolicy()
	x := &rule.Exchange{Method: "GET", Status: 200, Request: http.Header{"Accept-Encoding": {"gzip"}}, Response: http.Header{
		"Date": {"Sat, 21 Nov 2026 12:00:00 GMT"}, "Etag": {`"abc"`}, "Last-Modified": {"Sat, 21 Nov 2026 10:00:00 GMT"},
		"Cache-Control": {"public, max-age=3600"}, "Content-Type": {"text/plain"}, "Content-Length": {"1000"}, "Vary": {"Accept-Encoding"}}}
	b.ReportAllocs()
	for b.Loop() {
		_ = rule.Judge(x, &p)
	}
}
