package resync

import (
	"context"
	"fmt"
	"strings"
)

// tmux looks at a terminal of the client.
const tmux = "tmux -u -S /run/tmux "

// screen has somebody look at `catchment get` in a terminal: the POP that
// serves, the rate, what happens to it, and the end, in a drain and in a death.
func (w *lab) screen(ctx context.Context) (string, error) {
	drained, err := w.watched(ctx, func(ctx context.Context) error {
		_, err := w.sh(ctx, "lon", "catchment drain web --why 'a story'")
		return err
	})
	if err != nil {
		return "", fmt.Errorf("drain: %w", err)
	}
	if err := w.restore(ctx); err != nil {
		return "", err
	}
	died, err := w.watched(ctx, func(context.Context) error { return w.Crash("lon") })
	return "drain:\n" + drained + "\ndeath:\n" + died, err
}

// watched has a download in a terminal while something happens, and returns
// what the terminal showed: at first, then, and at the end.
func (w *lab) watched(ctx context.Context, happen func(context.Context) error) (string, error) {
	if err := w.throttle(ctx); err != nil {
		return "", err
	}
	if _, err := w.sh(ctx, "client", "mkdir -p /run/dl; cd /run/dl; echo 'set -g status off' >/run/tmux.conf; LC_ALL=C.UTF-8 "+tmux+
		"-f /run/tmux.conf new-session -d -x 80 -y 12 'catchment get "+plain[0]+"; echo status $?; exec sleep 1000'"); err != nil {
		return "", err
	}
	var all []string
	for _, step := range []struct {
		shows []string
		then  func(context.Context) error
	}{
		{[]string{"% ", "LON"}, func(ctx context.Context) error {
			if err := w.known(ctx, 1); err != nil {
				return err
			}
			return happen(ctx)
		}},
		{[]string{"goes on at", "FRA", "1 resync\n"}, w.release},
		{[]string{"from LON, FRA; 1 resync; ", "status 0"}, nil},
	} {
		screen, err := w.shows(ctx, step.shows...)
		if err != nil {
			return "", err
		}
		all = append(all, screen)
		if step.then != nil {
			if err := step.then(ctx); err != nil {
				return "", err
			}
		}
	}
	_, err := w.sh(ctx, "client", tmux+"kill-server; rm -rf /run/dl")
	return strings.Join(all, "\n"), err
}

// shows waits until the terminal shows all of that.
func (w *lab) shows(ctx context.Context, words ...string) (screen string, err error) {
	return screen, eventually(ctx, fmt.Sprintf("the terminal shows %q", words), func(ctx context.Context) error {
		out, err := w.sh(ctx, "client", tmux+"capture-pane -p")
		if err != nil {
			return err
		}
		screen = "  | " + strings.ReplaceAll(strings.TrimSpace(out), "\n", "\n  | ")
		for _, word := range words {
			if !strings.Contains(screen+"\n", word) {
				return fmt.Errorf("%s", screen)
			}
		}
		return nil
	})
}
