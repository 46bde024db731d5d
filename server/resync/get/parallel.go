package get

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"

	"golang.org/x/sync/errgroup"
)

// head looks at the answer to a first range, from have on, and returns the size
// of the whole. Where the server gives no such range, whole is set.
func (d *download) head(resp *http.Response, have int64) (size int64, err error) {
	switch resp.StatusCode {
	case http.StatusPartialContent:
		c, ok := parseContentRange(resp.Header.Get("Content-Range"))
		d.whole = !ok || c.first != have || c.size < 0 || validator(resp.Header) == ""
		if d.whole || have == 0 {
			return c.size, nil
		}
		w := window{validator: d.state.Validator, end: -1, size: d.state.Size}
		_, err = w.goesOn(resp, have)
		return c.size, err
	case http.StatusOK:
		if d.whole = have == 0; !d.whole {
			err = fmt.Errorf("%w: the server sends all of it anew", ErrChanged)
		}
		return 0, err
	case http.StatusRequestedRangeNotSatisfiable: // of nothing there is no part
		d.whole = true
		return 0, nil
	}
	return 0, said(resp)
}

// parallel fetches the rest in as many parts as there are connections, the first
// of them after what of the head is coming. Parts that come out of order leave
// holes, so on an error only what is whole from the beginning on is kept.
func (d *download) parallel(ctx context.Context, have, rest int64, head io.Reader) error {
	n := int64(d.job.Parallel)
	each := (d.state.Size - rest + n - 1) / n
	p := &progress{d: d, ends: map[int64]int64{have: have}, from: have, done: have}
	if err := d.sure(true, have); err != nil {
		return err
	}
	for first := rest; first < d.state.Size; first += each {
		p.ends[first] = first
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		err := d.bring(p, have, rest-1, head)
		if err != nil || rest == d.state.Size {
			return err
		}
		return d.part(ctx, p, &d.client, rest, min(rest+each, d.state.Size)-1)
	})
	for first := rest + each; first < d.state.Size; first += each {
		g.Go(func() error { return d.part(ctx, p, &d.apart, first, min(first+each, d.state.Size)-1) })
	}
	err := g.Wait()
	d.result.Bytes = p.done
	if err != nil {
		d.result.Bytes = p.whole(have)
		return fmt.Errorf("%w%s", err, suffix(d.cut(d.result.Bytes)))
	}
	return nil
}

// cut leaves the first bytes of the file, which have no hole.
func (d *download) cut(n int64) error {
	if err := d.file.Truncate(n); err != nil {
		return err
	}
	return d.sure(false, 0)
}

// sure writes down whether the file may have holes, and from where on.
func (d *download) sure(parts bool, n int64) error {
	d.state.Parts, d.state.Sure = parts, n
	return d.remember()
}

func suffix(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// part fetches bytes first to last.
func (d *download) part(ctx context.Context, p *progress, by *http.Client, first, last int64) error {
	resp, err := d.ask(ctx, by, first, last)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	w := window{validator: d.state.Validator, end: last + 1, size: d.state.Size, ranged: true}
	if _, err := w.goesOn(resp, first); err != nil {
		return err
	}
	return d.bring(p, first, last, resp.Body)
}

// bring writes bytes first to last where they belong.
func (d *download) bring(p *progress, first, last int64, from io.Reader) error {
	n, err := io.Copy(&told{io.NewOffsetWriter(d.file, first), first, func(end int64) { p.tell(first, end) }}, from)
	if err == nil && n != last-first+1 {
		err = fmt.Errorf("bytes %d to %d: %w", first, last, io.ErrUnexpectedEOF)
	}
	return err
}

// progress adds up what parts have brought.
type progress struct {
	d *download

	mu   sync.Mutex
	ends map[int64]int64 // of each part, by its beginning
	from int64           // where the first begins
	done int64
}

// sureStep is how much more is without a hole until that is written down.
const sureStep = 8 << 20

func (p *progress) tell(first, end int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += end - p.ends[first]
	p.ends[first] = end
	if n := p.whole(p.from); n >= p.d.state.Sure+sureStep {
		_ = p.d.sure(true, n) // else more is fetched again after such an end
	}
	if p.d.job.OnProgress != nil {
		p.d.job.OnProgress(p.done, p.d.state.Size)
	}
}

// whole is up to where there is no hole.
func (p *progress) whole(from int64) int64 {
	for {
		end, ok := p.ends[from]
		if !ok || end == from {
			return from
		}
		from = end
	}
}
