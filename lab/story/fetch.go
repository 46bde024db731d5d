package story

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/catchment/catchment/lab/serve"
)

// fetch is a client that asks again and again; its answers come as lines.
type fetch struct {
	stop func()

	mu      sync.Mutex
	rest    []byte
	answers []serve.Answer
	marked  int
	bad     error
}

// Write gets the client's output.
func (f *fetch) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rest = append(f.rest, p...)
	for {
		line, rest, ok := bytes.Cut(f.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		f.rest = rest
		var a serve.Answer
		if err := json.Unmarshal(line, &a); err != nil {
			f.bad = fmt.Errorf("the client wrote %q: %w", line, err)
			continue
		}
		f.answers = append(f.answers, a)
	}
}

// since returns the answers after the mark.
func (f *fetch) since() ([]serve.Answer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.answers[f.marked:], f.bad
}

func (f *fetch) tail(n int) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out strings.Builder
	for _, a := range f.answers[max(0, len(f.answers)-n):] {
		out.WriteString(a.Line() + "\n")
	}
	return out.String()
}

func (r *runner) fetch(ctx context.Context, _ step, rest string) error {
	f, err := parseFields(rest, "every", "timeout", "again")
	if err == nil {
		err = f.want(3, "NAME NODE URL [every D] [timeout D] [again N]")
	}
	if err != nil {
		return err
	}
	name := f.words[0]
	if r.fetches[name] != nil {
		return fmt.Errorf("client %s is already there", name)
	}
	args := []string{"lab-fetch", "--url", f.words[2]}
	for opt, value := range f.opts {
		args = append(args, "--"+opt+"="+value)
	}
	client := &fetch{}
	if client.stop, err = r.world.Start(ctx, f.words[1], args, client); err != nil {
		return err
	}
	r.fetches[name] = client
	return nil
}

// client finds the fetch that the first word of a step names.
func (r *runner) client(rest string, n int, usage string) (*fetch, fields, time.Duration, error) {
	f, err := parseFields(rest, "within")
	if err == nil {
		err = f.want(n, usage)
	}
	if err != nil {
		return nil, f, 0, err
	}
	c := r.fetches[f.words[0]]
	if c == nil {
		return nil, f, 0, fmt.Errorf("no client %q", f.words[0])
	}
	limit, err := f.duration("within", 10*time.Second)
	return c, f, limit, err
}

// newest is how many answers in a row must agree before they are believed.
const newest = 3

func (r *runner) answered(ctx context.Context, _ step, rest string) error {
	c, f, limit, err := r.client(rest, 2, "NAME POP[,POP] within DURATION")
	if err != nil {
		return err
	}
	pops := "," + f.words[1] + ","
	return r.newest(ctx, c, limit, func(a serve.Answer) bool {
		return a.OK() && strings.Contains(pops, ","+a.Pop+",")
	})
}

func (r *runner) fails(ctx context.Context, _ step, rest string) error {
	c, _, limit, err := r.client(rest, 1, "NAME within DURATION")
	if err != nil {
		return err
	}
	return r.newest(ctx, c, limit, func(a serve.Answer) bool { return !a.OK() })
}

// newest waits until the last few requests, all begun after now, are as
// wanted.
func (r *runner) newest(ctx context.Context, c *fetch, limit time.Duration, want func(serve.Answer) bool) error {
	begin := time.Now()
	return poll(ctx, limit, func(context.Context) (bool, string) {
		answers, err := c.since()
		if err != nil {
			return false, err.Error()
		}
		good := 0
		for _, a := range answers[max(0, len(answers)-newest):] {
			if a.Time.After(begin) && want(a) {
				good++
			}
		}
		return good == newest, "requests:\n" + c.tail(newest)
	})
}

// seen waits until each POP has answered since the mark.
func (r *runner) seen(ctx context.Context, _ step, rest string) error {
	c, f, limit, err := r.client(rest, 2, "NAME POP[,POP] within DURATION")
	if err != nil {
		return err
	}
	return poll(ctx, limit, func(context.Context) (bool, string) {
		answers, err := c.since()
		if err != nil {
			return false, err.Error()
		}
		count := map[string]int{}
		for _, a := range answers {
			count[a.Pop]++
		}
		for pop := range strings.SplitSeq(f.words[1], ",") {
			if count[pop] == 0 {
				return false, fmt.Sprintf("answers: %v", count)
			}
		}
		return true, ""
	})
}

func (r *runner) mark(_ context.Context, _ step, rest string) error {
	c, _, _, err := r.client(rest, 1, "NAME")
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.marked = len(c.answers)
	return nil
}

func (r *runner) nofail(_ context.Context, _ step, rest string) error {
	c, _, _, err := r.client(rest, 1, "NAME")
	if err != nil {
		return err
	}
	answers, err := c.since()
	if err != nil {
		return err
	}
	if len(answers) == 0 {
		return errors.New("no request was made")
	}
	var bad []string
	for _, a := range answers {
		if !a.OK() {
			bad = append(bad, a.Line())
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("%d of %d requests failed, the first: %s", len(bad), len(answers), bad[0])
	}
	return nil
}
