package get

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Job is a download to a file.
type Job struct {
	URL    string
	Path   string // of the file; what is not whole yet is in Path + ".part"
	Header http.Header
	// SHA256, if not nil, is what the whole must have. Otherwise the
	// Repr-Digest of the server is checked, where it gives one (RFC 9530).
	SHA256 []byte
	// Parallel is over how many connections parts are fetched at once, where
	// the server gives ranges, the size and a validator; 0 and 1: one.
	Parallel int
	// OnProgress, if not nil, hears how many bytes are there, of how many (-1:
	// not known), after each piece and from any goroutine, one at a time.
	OnProgress func(done, size int64)
}

// Result is what came of a Job.
type Result struct {
	Bytes   int64         `json:"bytes"`  // of the whole
	Kept    int64         `json:"kept"`   // that were there from before
	SHA256  string        `json:"sha256"` // of the whole, hexadecimal
	Checked string        `json:"checked,omitempty"`
	POPs    []string      `json:"pops,omitempty"` // that served it, in their order
	Resyncs int           `json:"resyncs"`        // times it went on on another connection
	Took    time.Duration `json:"-"`
	Seconds float64       `json:"seconds"`
}

// ErrDigest: what came is not what it should be; nothing of it was kept.
var ErrDigest = errors.New("the digest is wrong")

// begun is what Path + ".part.json" says of what is in Path + ".part".
type begun struct {
	URL       string   `json:"url"`
	Validator string   `json:"validator"`
	Size      int64    `json:"size"`             // -1: not known
	Digest    []string `json:"digest,omitempty"` // the lines of Repr-Digest
	// Parts: they are being fetched over several connections, and of the file
	// only the first Sure bytes have no hole. It is so where the process was
	// ended without a word.
	Parts bool  `json:"parts,omitempty"`
	Sure  int64 `json:"sure,omitempty"`
}

// ErrBusy: another download writes to the same file.
var ErrBusy = errors.New("another download is writing to it")

// File downloads to a file; redirects are followed. What an earlier call left unfinished goes on where
// the object is still the same, and begins anew where it is not. On an error
// what has come stays for the next call, unless its digest is wrong. Two of the
// same file at once would spoil it: the second one ends with ErrBusy.
func (t *Transport) File(ctx context.Context, j Job) (Result, error) {
	began := time.Now()
	f, err := openPart(j.Path + ".part")
	if err != nil {
		return Result{}, err
	}
	defer f.Close()
	d := &download{job: j, file: f}
	o := t.opt
	o.OnEvent = d.hear(o.OnEvent)
	d.t = New(o)
	d.client = http.Client{Transport: d.t}
	o.Base, o.Again = d.t.opt.Again, d.t.opt.Again
	d.apart = http.Client{Transport: New(o)}
	if err := d.run(ctx); err != nil {
		if d.begun && d.state.Validator == "" { // nothing of it could be used again
			d.result.Bytes = 0
			err = errors.Join(err, f.Truncate(0))
		}
		if st, serr := f.Stat(); serr == nil && st.Size() == 0 {
			err = errors.Join(err, os.Remove(f.Name()), d.forget())
		}
		return d.result, err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return d.result, err
	}
	if err := os.Rename(j.Path+".part", j.Path); err != nil {
		return d.result, err
	}
	d.result.Took = time.Since(began)
	d.result.Seconds = d.result.Took.Seconds()
	return d.result, d.forget()
}

// openPart opens what is not whole yet, for this process alone.
func openPart(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				err = ErrBusy
			}
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		locked, err1 := f.Stat()
		there, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(locked, there) {
			return f, nil
		}
		f.Close() // it was whole, and renamed, before it was locked
		if err := errors.Join(err1, err2); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
}

// download is a Job under way.
type download struct {
	t      *Transport
	client http.Client // of t: it follows redirects
	apart  http.Client // the same, each request on a connection of its own: HTTP/2 would make one of all parts
	job    Job
	file   *os.File
	state  begun
	begun  bool // state is of what this call found
	whole  bool // it is asked for without a range first, though parts are wished

	mu     sync.Mutex // events come from all parts
	result Result
}

// hear counts events, and passes them on one at a time.
func (d *download) hear(next func(Event)) func(Event) {
	return func(e Event) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if e.Kind == Resumed {
			d.result.Resyncs++
		}
		if n := len(d.result.POPs); (e.Kind == Resumed || e.Kind == Started) && e.POP != "" && (n == 0 || d.result.POPs[n-1] != e.POP) {
			d.result.POPs = append(d.result.POPs, e.POP)
		}
		if next != nil {
			next(e)
		}
	}
}

// anew is how often an object may change while it is downloaded.
const anew = 3

func (d *download) run(ctx context.Context) error {
	have := d.recall()
	for try := 0; ; try++ {
		err := d.fetch(ctx, have)
		switch {
		case err == nil:
			return d.check()
		case errors.Is(err, ErrChanged) && try < anew:
			have, d.state = 0, begun{}
		default:
			return err
		}
	}
}

// recall returns how much of the object is there.
func (d *download) recall() int64 {
	b, err := os.ReadFile(d.job.Path + ".part.json")
	if err != nil || json.Unmarshal(b, &d.state) != nil || d.state.URL != d.job.URL || d.state.Validator == "" {
		d.state = begun{}
		return 0
	}
	n, err := d.file.Seek(0, io.SeekEnd)
	if err != nil || d.state.Size >= 0 && n > d.state.Size {
		d.state = begun{}
		return 0
	}
	if d.state.Parts {
		n = min(n, d.state.Sure)
	}
	d.state.Parts, d.state.Sure = false, 0
	return n
}

// remember writes down what is in the file, at once or not at all.
func (d *download) remember() error {
	b, err := json.Marshal(d.state)
	if err != nil {
		return err
	}
	path := d.job.Path + ".part.json"
	if err := os.WriteFile(path+".new", b, 0o666); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (d *download) forget() error {
	if err := os.Remove(d.job.Path + ".part.json"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// headLen is the part that is fetched first where parts are wished: its answer
// tells of the whole.
const headLen = 1 << 20

// fetch brings what is missing after the first have bytes.
func (d *download) fetch(ctx context.Context, have int64) error {
	if have > 0 && have == d.state.Size {
		d.result.Kept, d.result.Bytes = have, have
		return nil
	}
	last := int64(-1)
	if d.job.Parallel > 1 && !d.whole {
		last = have + headLen - 1
	}
	resp, err := d.ask(ctx, &d.client, have, last)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	size := resp.ContentLength
	switch {
	case last >= 0:
		if size, err = d.head(resp, have); err != nil {
			return err
		}
		if d.whole {
			resp.Body.Close()
			return d.fetch(ctx, have)
		}
	case resp.StatusCode == http.StatusOK:
		have = 0
	case have > 0:
		w := window{validator: d.state.Validator, end: -1, size: d.state.Size}
		if complete, err := w.goesOn(resp, have); complete || err != nil {
			if complete {
				d.result.Bytes, d.result.Kept = have, have
			}
			return err
		}
	default:
		return said(resp)
	}
	if err := d.begin(resp, have, size); err != nil {
		return err
	}
	if last >= 0 {
		return d.parallel(ctx, have, min(have+headLen, size), resp.Body)
	}
	n, err := d.copy(d.file, resp.Body, have)
	d.result.Bytes = have + n
	return err
}

// begin notes what is downloaded, and makes the file hold what is kept of it.
func (d *download) begin(resp *http.Response, have, size int64) error {
	d.result.Kept, d.begun = have, true
	if have == 0 {
		d.state = begun{URL: d.job.URL, Validator: validator(resp.Header), Size: size}
	}
	if v := resp.Header.Values("Repr-Digest"); len(v) > 0 {
		d.state.Digest = v
	}
	if err := d.file.Truncate(have); err != nil {
		return err
	}
	if _, err := d.file.Seek(have, io.SeekStart); err != nil {
		return err
	}
	if d.state.Validator == "" {
		return d.forget() // nothing of it could be used again
	}
	return d.remember()
}

// copy writes a body and tells of the progress.
func (d *download) copy(to io.Writer, body io.Reader, have int64) (int64, error) {
	return io.Copy(&told{to, have, func(n int64) {
		if d.job.OnProgress != nil {
			d.job.OnProgress(n, d.state.Size)
		}
	}}, body)
}

type told struct {
	io.Writer
	done int64
	tell func(int64)
}

func (w *told) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	w.done += int64(n)
	w.tell(w.done)
	return n, err
}
