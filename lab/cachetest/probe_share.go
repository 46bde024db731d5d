package cachetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/catchment/catchment/lab/await"
)

// crowd lets n clients ask at once, each on a connection of its own.
func (p *probe) crowd(n int, ask func(i int) reply) []reply {
	out := make([]reply, n)
	var wg sync.WaitGroup
	for i := range out {
		wg.Go(func() { out[i] = ask(i) })
	}
	wg.Wait()
	return out
}

func all(res []reply, judge func(reply) error) error {
	for i, re := range res {
		if err := judge(re); err != nil {
			return fmt.Errorf("client %d: %w", i, err)
		}
	}
	return nil
}

func median(res []reply, of func(reply) time.Duration) time.Duration {
	var ds []time.Duration
	for _, re := range res {
		ds = append(ds, of(re))
	}
	slices.Sort(ds)
	return ds[len(ds)/2]
}

// shareChecks are about clients that want the same at the same time.
func shareChecks() []check {
	return []check{
		{"sharing", "30 clients on a cold object: one fetch", thirty},
		{"sharing", "the first byte does not wait for the last", firstByte},
		{"sharing", "a late joiner reads along", lateJoiner},
		{"sharing", "the leader's disconnect does not end the fill", leaderLeaves},
		{"sharing", "a slow leader does not slow the others", slowLeader},
		{"sharing", "10 clients on one cold range: one fetch a chunk", coldCrowd},
		{"sharing", "ten clients on an uncacheable answer do not queue", func(p *probe) error { return tenUncacheable(p, 200, "no-store") }},
		{"sharing", "the same again: it is known by now", func(p *probe) error {
			return errors.Join(tenUncacheable(p, 200, "private"), tenUncacheable(p, 200, "private"))
		}},
		{"sharing", "ten clients on an error do not queue", func(p *probe) error { return tenUncacheable(p, 500, "no-store") }},
		{"sharing", "an answer with Set-Cookie is not shared", ownCookies},
		{"sharing", "waiters get their own variant", variants},
		{"sharing", "HEAD does not wait for the body", headWhileFilling},
	}
}

const crowdSize = 4 << 20

// crowdOn runs 30 clients on a cold object whose head comes after 0.2 s and
// whose body takes 1 s.
func crowdOn(p *probe) ([]reply, []byte) {
	body := p.cold(crowdSize, func(r *resource) { r.wait, r.during = 200*time.Millisecond, time.Second })
	return p.crowd(30, func(int) reply { return p.get() }), body
}

func thirty(p *probe) error {
	res, body := crowdOn(p)
	n := len(p.origin.asks(p.path))
	p.figures[crowdFetches] = float64(n)
	p.figures[crowdFirst] = median(res, func(re reply) time.Duration { return re.head }).Seconds()
	if err := all(res, func(re reply) error { return re.whole(body) }); err != nil {
		return err
	}
	if sent := p.origin.sent(p.path); sent > crowdSize {
		return fmt.Errorf("%d requests, %d bytes from the origin", n, sent)
	}
	return nil
}

func firstByte(p *probe) error {
	res, body := crowdOn(p)
	if err := all(res, func(re reply) error { return re.whole(body) }); err != nil {
		return err
	}
	if m := median(res, func(re reply) time.Duration { return re.head }); m > 700*time.Millisecond {
		return fmt.Errorf("the median client has its first byte after %v, the origin sent it after 0.2 s", m.Round(time.Millisecond))
	}
	return nil
}

func lateJoiner(p *probe) error {
	body := p.cold(crowdSize, func(r *resource) { r.during = 2 * time.Second })
	var late reply
	var wg sync.WaitGroup
	wg.Go(func() {
		await.True(p.ctx, 10*time.Second, 10*time.Millisecond, func() bool { return p.origin.sent(p.path) >= crowdSize/3 })
		late = p.get()
	})
	first := p.get()
	wg.Wait()
	if err := errors.Join(first.whole(body), late.whole(body)); err != nil {
		return err
	}
	if late.head > 700*time.Millisecond {
		return fmt.Errorf("who came after a third of 2 s had the first byte %v later", late.head.Round(time.Millisecond))
	}
	if n := p.origin.sent(p.path); n > crowdSize {
		return fmt.Errorf("%d bytes from the origin for %d", n, crowdSize)
	}
	return nil
}

// open asks and gives the answer with its body unread.
func (p *probe) open(ctx context.Context) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.cache+p.path, nil)
	if err != nil {
		return nil, err
	}
	return (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
}

func leaderLeaves(p *probe) error {
	body := p.cold(crowdSize, func(r *resource) { r.during = time.Second })
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	resp, err := p.open(ctx)
	if err != nil {
		return err
	}
	var follower reply
	var follows atomic.Bool
	q := *p
	q.ctx = httptrace.WithClientTrace(p.ctx, &httptrace.ClientTrace{GotFirstResponseByte: func() { follows.Store(true) }})
	var wg sync.WaitGroup
	wg.Go(func() { follower = q.get() })
	_, _ = io.CopyN(io.Discard, resp.Body, 100_000)
	// A cache that lets followers wait for the whole has no first byte for them.
	await.True(p.ctx, 10*time.Second, 5*time.Millisecond, func() bool { return follows.Load() || p.origin.sent(p.path) >= crowdSize/2 })
	cancel()
	resp.Body.Close()
	wg.Wait()
	if err := follower.whole(body); err != nil {
		return err
	}
	return p.get().whole(body)
}

func slowLeader(p *probe) error {
	const size = 32 << 20 // more than the buffers of the sockets take
	body := p.cold(size)
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	resp, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.CopyN(io.Discard, resp.Body, 1000); err != nil {
		return err
	}
	one, stop := context.WithTimeout(p.ctx, 10*time.Second)
	defer stop()
	q := *p
	q.ctx = one
	re := q.get()
	if err := re.whole(body); err != nil {
		return fmt.Errorf("while another reads nothing: %w", err)
	}
	return nil
}

func coldCrowd(p *probe) error {
	body := p.cold(largeSize, func(r *resource) { r.wait = 300 * time.Millisecond })
	res := p.crowd(10, func(i int) reply { return p.span(9<<20+i*1000, 9<<20+i*1000+999) })
	for i, re := range res {
		if err := re.part(body, 9<<20+i*1000, 9<<20+i*1000+999); err != nil {
			return err
		}
	}
	n := len(p.origin.asks(p.path))
	p.figures[chunkFetches] = float64(n)
	if n > 2 {
		return fmt.Errorf("%d fetches for ranges of one chunk", n)
	}
	return nil
}

func tenUncacheable(p *probe, status int, control string) error {
	body := p.cold(1000, func(r *resource) {
		r.status, r.wait = status, 500*time.Millisecond
		r.header = http.Header{"Cache-Control": {control}}
	})
	began := time.Now()
	res := p.crowd(10, func(int) reply { return p.get() })
	took := time.Since(began)
	if control == "no-store" && status == 200 {
		p.figures[queueTime] = took.Seconds()
	}
	if took > 2*time.Second {
		return fmt.Errorf("the last of 10 has its answer after %v", took.Round(time.Millisecond))
	}
	return all(res, func(re reply) error {
		if re.err != nil || re.status != status || !bytes.Equal(re.body, body) {
			return fmt.Errorf("want %d: %s", status, re)
		}
		return nil
	})
}

// ownCookies: each waiter's answer is its own, though all asked at once.
func ownCookies(p *probe) error {
	p.origin.put(p.path, resource{wait: 300 * time.Millisecond, answer: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "user="+r.Header.Get("X-User"))
		fmt.Fprint(w, r.Header.Get("X-User"))
	}})
	res := p.crowd(10, func(i int) reply { return p.get("X-User", fmt.Sprint("u", i)) })
	for i, re := range res {
		if want := fmt.Sprint("u", i); re.err != nil || string(re.body) != want || re.header.Get("Set-Cookie") != "user="+want {
			return fmt.Errorf("user %s got %q and %q", want, re.body, re.header.Get("Set-Cookie"))
		}
	}
	return nil
}

// variants: they asked at once, and the answer turns out to depend on the
// language.
func variants(p *probe) error {
	p.origin.put(p.path, resource{wait: 300 * time.Millisecond, answer: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Vary", "Accept-Language")
		fmt.Fprint(w, r.Header.Get("Accept-Language"))
	}})
	tongues := []string{"en", "de", "fr"}
	for range 2 {
		res := p.crowd(9, func(i int) reply { return p.get("Accept-Language", tongues[i%3]) })
		for i, re := range res {
			if re.err != nil || string(re.body) != tongues[i%3] {
				return fmt.Errorf("asked for %s, got %q: %s", tongues[i%3], re.body, re)
			}
		}
	}
	if n := len(p.origin.asks(p.path)); n > 9 {
		return fmt.Errorf("%d requests at the origin for 3 variants, asked by 9 clients twice", n)
	}
	return nil
}

func headWhileFilling(p *probe) error {
	body := p.cold(crowdSize, func(r *resource) { r.during = 2 * time.Second })
	resp, err := p.open(p.ctx)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	began := time.Now()
	re := p.ask(http.MethodHead, p.path)
	if took := time.Since(began); took > time.Second || re.status != 200 || re.header.Get("Content-Length") != fmt.Sprint(len(body)) {
		return fmt.Errorf("after %v: %s, Content-Length: %s", took.Round(time.Millisecond), re, re.header.Get("Content-Length"))
	}
	return nil
}
