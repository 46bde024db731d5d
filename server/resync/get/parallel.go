package get

import (
	"context"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"
)

// parallel fetches the rest in as many parts as there are connections. Parts
// that come out of order leave holes, so on an error only what is whole from
// the beginning on is kept.
func (d *download) parallel(ctx context.Context, have int64) error {
	n := int64(d.job.Parallel)
	each := (d.state.Size - have + n - 1) / n
	p := &progress{d: d, ends: map[int64]int64{}, done: have}
	g, ctx := errgroup.WithContext(ctx)
	for first := have; first < d.state.Size; first += each {
		last := min(first+each, d.state.Size) - 1
		p.ends[first] = first
		g.Go(func() error { return d.part(ctx, p, first, last) })
	}
	err := g.Wait()
	d.result.Bytes = p.done
	if err != nil {
		return fmt.Errorf("%w%s", err, suffix(d.file.Truncate(p.whole(have))))
	}
	return nil
}

func suffix(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// part fetches bytes first to last.
func (d *download) part(ctx context.Context, p *progress, first, last int64) error {
	req, err := d.request(ctx, first, last)
	if err != nil {
		return err
	}
	resp, err := d.t.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	w := window{validator: d.state.Validator, end: last + 1, size: d.state.Size, ranged: true}
	if _, err := w.goesOn(resp, first); err != nil {
		return err
	}
	n, err := io.Copy(&told{io.NewOffsetWriter(d.file, first), first, func(end int64) { p.tell(first, end) }}, resp.Body)
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
	done int64
}

func (p *progress) tell(first, end int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += end - p.ends[first]
	p.ends[first] = end
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
