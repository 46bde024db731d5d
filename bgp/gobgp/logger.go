package gobgp

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/osrg/gobgp/v3/pkg/log"
)

// logger carries GoBGP's log to slog. It is also our ear on the server: the
// "sent update" line, written right after the write to the socket, is all
// that v3 says about what has really left. It therefore always claims level
// debug; what is printed is the slog handler's business. Fatal and Panic,
// which in GoBGP end the process, become an error of Speaker.Run.
type logger struct {
	out   *slog.Logger
	wire  *wire
	fatal chan error
	trial atomic.Bool // a failure is expected and returned to the caller

	synced chan struct{} // size one: v3 has ended the restart for all neighbors
}

func newLogger(out *slog.Logger, w *wire) *logger {
	return &logger{out: out, wire: w, fatal: make(chan error, 1), synced: make(chan struct{}, 1)}
}

func (l *logger) die(msg string, f log.Fields) {
	if l.trial.Load() {
		return
	}
	l.print(slog.LevelError, msg, f)
	err := fmt.Errorf("gobgp: %s", msg)
	for _, k := range []string{"Err", "Error"} {
		if e, ok := f[k]; ok {
			err = fmt.Errorf("gobgp: %s: %v", msg, e)
		}
	}
	select {
	case l.fatal <- err:
	default: // one is enough to end Run
	}
}

func (l *logger) Panic(msg string, f log.Fields) { l.die(msg, f) }
func (l *logger) Fatal(msg string, f log.Fields) { l.die(msg, f) }
func (l *logger) Error(msg string, f log.Fields) { l.print(slog.LevelError, msg, f) }
func (l *logger) Warn(msg string, f log.Fields)  { l.print(slog.LevelWarn, msg, f) }

func (l *logger) Info(msg string, f log.Fields) {
	switch msg {
	case "Peer Up":
		l.wire.up(f)
	case "Peer Down":
		l.wire.down(f)
	case "sync finished":
		select {
		case l.synced <- struct{}{}:
		default: // asked for already
		}
	}
	l.print(slog.LevelInfo, msg, f)
}

func (l *logger) Debug(msg string, f log.Fields) {
	if msg == "sent update" {
		l.wire.wrote(f)
	}
	l.print(slog.LevelDebug, msg, f)
}

func (l *logger) SetLevel(log.LogLevel)  {}
func (l *logger) GetLevel() log.LogLevel { return log.DebugLevel }

func (l *logger) print(level slog.Level, msg string, f log.Fields) {
	ctx := context.Background()
	if f["Key"] == decoyAddr.String() {
		level = slog.LevelDebug
	}
	if !l.out.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, len(f))
	for _, k := range slices.Sorted(maps.Keys(f)) {
		switch k {
		case log.FieldFacility:
		default:
			attrs = append(attrs, slog.Any(k, f[k]))
		}
	}
	l.out.LogAttrs(ctx, level, "gobgp: "+msg, attrs...)
}
