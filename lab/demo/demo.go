package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/lab/await"
	"github.com/catchment/catchment/lab/netlab"
)

// Options of Run.
type Options struct {
	Out  io.Writer    // where the story is told; colours only where it is a terminal
	Keep bool         // leave the world up at the end, until ctx ends
	Bin  string       // folder with catchmentd and catchment; default: that of this program
	Log  *slog.Logger // what the lab does; default: nowhere
}

// ErrNotSeen is the error of a demo in which not every step was observed.
var ErrNotSeen = errors.New("not everything was seen that should have been")

// stopped is the end of a demo by its caller.
type stopped struct{}

func (stopped) Error() string { return "stopped before the end; the world is gone" }
func (stopped) Unwrap() error { return context.Canceled }

// Run tells the whole story and takes the world down again. It returns nil
// only if every step was observed. Where the process is not root it is
// re-executed in a user namespace first (netlab.Enter): what was done before
// Run is done twice then. netlab.Init must have been called with serve.Tools.
func Run(ctx context.Context, o Options) error {
	if err := netlab.Enter(); err != nil {
		return err
	}
	bin, err := programs(o.Bin)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "catchment-demo-")
	if err != nil {
		return err
	}
	if err := tell(ctx, o, dir, bin); err != nil {
		if ctx.Err() != nil {
			return errors.Join(stopped{}, os.RemoveAll(dir))
		}
		return fmt.Errorf("%w; logs of all nodes: %s", err, filepath.Join(dir, "logs"))
	}
	return os.RemoveAll(dir)
}

// programs finds the folder with the programs that the nodes run.
func programs(bin string) (string, error) {
	if bin == "" {
		self, err := os.Executable()
		if err != nil {
			return "", err
		}
		bin = filepath.Dir(self)
	}
	for _, name := range []string{"catchmentd", "catchment"} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			return "", fmt.Errorf("the demo runs catchmentd and catchment from one folder: %w (make build)", err)
		}
	}
	return bin, nil
}

// tell brings the world up, tells the story and takes the world down.
func tell(ctx context.Context, o Options, dir, bin string) (err error) {
	start := time.Now()
	t := NewTimeline(o.Out, start, isTerminal(o.Out))
	fmt.Fprint(o.Out, t.style.opening(os.Getuid() == 0 && !inUserNamespace()))
	w, err := build(ctx, dir, bin, o.Log)
	if w != nil {
		defer func() { err = errors.Join(err, w.down()) }()
	}
	if err != nil {
		return err
	}
	list, err := narrate(ctx, w, t)
	if err != nil && len(list) == 0 || ctx.Err() != nil {
		return err
	}
	fmt.Fprint(o.Out, t.style.summary(list))
	if err == nil {
		fmt.Fprintf(o.Out, "\nAll seen, in %.0f s.\n", time.Since(start).Seconds())
	}
	if o.Keep {
		fmt.Fprint(o.Out, t.style.invitation(w, bin))
		err = errors.Join(err, w.quiet(), w.lab.Publish(ctx))
		fmt.Fprintln(o.Out, "\nThe world is gone.")
	}
	return err
}

// narrate goes through the steps while everything is watched. The first step
// that is not observed ends the story.
func narrate(ctx context.Context, w *world, t *Timeline) ([]outcome, error) {
	ctx, stop := context.WithCancel(ctx)
	g, ctx := errgroup.WithContext(ctx)
	s := &story{world: w, timeline: t,
		routes:   &kernel{lab: w.lab, add: t.Add, moves: map[string][]move{}},
		journals: &journals{world: w, add: t.Add},
	}
	var list []outcome
	g.Go(func() error { return t.Run(ctx) })
	g.Go(func() error { return s.routes.watch(ctx) })
	for _, p := range sites {
		g.Go(func() error { return s.journals.follow(ctx, p) })
	}
	g.Go(func() error {
		defer stop()
		var err error
		list, err = s.tellAll(ctx)
		return err
	})
	err := g.Wait()
	return list, err
}

// tellAll tells the steps in order.
func (s *story) tellAll(ctx context.Context) ([]outcome, error) {
	var list []outcome
	var failed error
	for i, st := range steps {
		if failed != nil {
			list = append(list, outcome{title: st.short, skipped: true})
			continue
		}
		s.timeline.Add(Event{At: time.Now(), Title: true, Detail: fmt.Sprintf("%d. %s", i+1, st.title)})
		figures, err := st.tell(s, ctx)
		o := outcome{title: st.short, seen: err == nil, figures: figures}
		if err != nil {
			o.figures = err.Error()
			failed = fmt.Errorf("%w: step %d, %s: %w", ErrNotSeen, i+1, st.title, err)
			if ctx.Err() != nil {
				return list, failed
			}
		} else if err := await.Lapse(ctx, look/2); err != nil {
			return list, err
		}
		list = append(list, o)
	}
	return list, failed
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// inUserNamespace reports whether root here is an ordinary user outside.
func inUserNamespace() bool {
	raw, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && string(raw) != "         0          0 4294967295\n"
}
