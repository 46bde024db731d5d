package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/pop/api"
)

const (
	// redrawEvery keeps ages going on a terminal.
	redrawEvery = time.Second
	// redrawPace is the shortest time between two pictures.
	redrawPace = 100 * time.Millisecond
)

// watcher shows something again and again.
type watcher struct {
	app    *app
	client *api.Client
	name   string // of the command
	args   []string
	look   look

	st    api.Status
	ahead time.Duration // the daemon's clock before ours
	seen  bool          // a status has come
	gone  error         // why the daemon does not answer
	since time.Time     // of gone
	last  string        // what was shown last, without what time alone changes
	drawn bool
}

// watch shows what look finds until ctx ends: on a terminal drawn over in
// place, elsewhere again when something shown has changed other than by time
// alone. A daemon that goes away is waited for.
func (a *app) watch(ctx context.Context, c *api.Client, name string, args []string, l look) error {
	w := &watcher{app: a, client: c, name: name, args: args, look: l}
	ctx, cancel := context.WithCancel(ctx)
	events, ended := make(chan api.Event), make(chan error, 1)
	listening := false
	listen := func() {
		listening = true
		go func() { ended <- w.listen(ctx, events) }()
	}
	defer func() {
		if cancel(); listening {
			<-ended
		}
		w.end()
	}()
	listen()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH)
	defer signal.Stop(resized)
	beat := time.NewTicker(redrawEvery)
	defer beat.Stop()
	var due, retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-events:
			if news := w.take(e); news && due == nil {
				due = time.After(redrawPace)
			}
			if w.drawn {
				continue
			}
		case err := <-ended:
			listening = false
			if ctx.Err() != nil {
				return nil
			}
			if err := w.lost(err); err != nil {
				return err
			}
			retry = time.After(a.retry)
		case <-retry:
			retry = nil
			listen()
			continue
		case <-due:
			due = nil
		case <-resized:
		case <-beat.C:
			if a.json || !a.screen().clear {
				continue
			}
		}
		if !w.seen {
			continue
		}
		if err := w.draw(ctx); err != nil {
			return err
		}
	}
}

// end puts whatever comes next below the picture.
func (w *watcher) end() {
	if w.drawn && !w.app.json && w.app.screen().clear {
		fmt.Fprintln(w.app.out)
	}
}

// listen hands the daemon's events over until ctx or the daemon ends.
func (w *watcher) listen(ctx context.Context, events chan<- api.Event) error {
	return w.client.Watch(ctx, func(e api.Event) error {
		select {
		case events <- e:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// take brings the status up to date, and reports whether there is anything new
// to show.
func (w *watcher) take(e api.Event) bool {
	w.st.Apply(e)
	if e.Status != nil {
		w.ahead = time.Until(e.Status.Now)
	}
	w.seen = w.seen || e.Kind == api.EventStatus
	back := w.gone != nil
	w.gone = nil
	return e.Kind != api.EventJournal || back
}

// lost notes that the daemon does not answer. Where it never has, that is the
// error of the command.
func (w *watcher) lost(err error) error {
	if !w.seen {
		return err
	}
	if err == nil {
		err = errors.New("it has ended the connection")
	}
	if w.gone == nil {
		w.since = time.Now()
		if s := w.app.screen(); !s.clear || w.app.json {
			fmt.Fprintf(w.app.err, "catchment: the daemon does not answer, waiting for it: %v\n", err)
		}
	}
	w.gone = err
	return nil
}

// draw shows it once more, if there is a need to.
func (w *watcher) draw(ctx context.Context) error {
	w.st.Now = time.Now().Add(w.ahead)
	v, err := w.look(ctx, w.client, w.st, w.args)
	if err != nil {
		if !w.drawn {
			return err
		}
		v = view{doc: map[string]string{"error": err.Error()}, text: func(o io.Writer) { fmt.Fprintln(o, oneLine(err.Error())) }}
	}
	screen := w.app.screen()
	switch {
	case w.app.json:
		return w.line(v.doc)
	case screen.clear:
		return w.picture(screen, v)
	}
	var text bytes.Buffer
	inner := screen
	inner.Writer = &text
	v.text(inner)
	if !w.news(text.String()) {
		return nil
	}
	if w.drawn {
		fmt.Fprintf(w.app.out, "\n--- %s\n", w.st.Now.Format(time.RFC3339))
	}
	w.drawn = true
	_, err = w.app.out.Write(text.Bytes())
	return err
}

// line is one document of --json.
func (w *watcher) line(doc any) error {
	b, err := json.Marshal(doc)
	if err != nil || !w.news(string(b)) {
		return err
	}
	w.drawn = true
	_, err = w.app.out.Write(append(b, '\n'))
	return err
}

// news reports whether text says anything else than what was shown last.
func (w *watcher) news(text string) bool {
	is := timeless(text)
	if w.drawn && is == w.last {
		return false
	}
	w.last = is
	return true
}

var (
	times  = regexp.MustCompile(`"(now|rtt|latency|heard|asked|age|streak|next_at)":("[^"]*"|\d+)`)
	spans  = regexp.MustCompile(`\b(\d+(\.\d+)?(d|h|ms|m|s|µs|us|ns))+\b`)
	runs   = regexp.MustCompile(`\bx\d+\b`)
	blanks = regexp.MustCompile(` +`)
)

// timeless is text without what time alone changes: ages, how long a probe
// took, how often it has passed.
func timeless(text string) string {
	text = spans.ReplaceAllString(times.ReplaceAllString(text, ""), "*")
	return blanks.ReplaceAllString(runs.ReplaceAllString(text, ""), " ")
}

// picture draws over the one before, line by line and in one write, so that
// nothing flickers. What does not fit is cut, and counted.
func (w *watcher) picture(s screen, v view) error {
	var text, out bytes.Buffer
	inner := s
	inner.Writer = &text
	head := fmt.Sprintf("%s %s  %s at %s", w.name, strings.Join(w.args, " "), w.st.POP, w.st.Now.UTC().Format("15:04:05 UTC"))
	state := paint(inner, good, "live")
	if w.gone != nil {
		state = paint(inner, bad, fmt.Sprintf("no answer for %s: %s", span(time.Since(w.since)), oneLine(w.gone.Error())))
	}
	fmt.Fprintf(&text, "%s  %s\n", paint(inner, strong, head), state)
	v.text(inner)
	lines := strings.Split(strings.TrimRight(text.String(), "\n"), "\n")
	if more := len(lines) - s.height; s.height > 1 && more > 0 {
		lines = append(lines[:s.height-1], fmt.Sprintf(".. %d more lines", more+1))
	}
	if !w.drawn {
		out.WriteString("\x1b[2J")
		w.drawn = true
	}
	out.WriteString("\x1b[H")
	for i, l := range lines {
		if i > 0 {
			out.WriteString("\r\n")
		}
		out.WriteString(cut(l, s.width) + "\x1b[m\x1b[K")
	}
	out.WriteString("\x1b[J")
	_, err := w.app.out.Write(out.Bytes())
	return err
}
