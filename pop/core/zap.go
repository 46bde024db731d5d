package core

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapTo makes etcd's logger write to ours. What etcd calls Info is our Debug:
// it tells of its own inside. Where etcd would end the process (Fatal) or
// panic, the goroutine ends instead and broken hears of it: an engine that
// cannot go on must not take down a daemon that announces routes.
func zapTo(log *slog.Logger, broken func(why string)) *zap.Logger {
	hook := endGoroutine{broken}
	return zap.New(slogCore{log: log, said: &repeats{at: map[string]time.Time{}}}, zap.WithFatalHook(hook), zap.WithPanicHook(hook))
}

type endGoroutine struct{ broken func(string) }

func (h endGoroutine) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	why := e.Message
	for _, f := range fields {
		if err, ok := f.Interface.(error); ok && f.Type == zapcore.ErrorType {
			why += ": " + err.Error()
		}
	}
	h.broken(why)
	runtime.Goexit()
}

// slogCore is a zapcore.Core over a slog.Logger.
type slogCore struct {
	log    *slog.Logger
	fields []zapcore.Field
	said   *repeats
}

// repeats are the messages that were logged lately: without a quorum the
// engine says the same twice a second.
type repeats struct {
	mu sync.Mutex
	at map[string]time.Time
}

// repeatEvery is how often the same message is worth a line.
const repeatEvery = time.Minute

func (r *repeats) again(message string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, ok := r.at[message]; ok && now.Sub(last) < repeatEvery {
		return true
	}
	if len(r.at) > 1000 {
		clear(r.at)
	}
	r.at[message] = now
	return false
}

func level(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l >= zapcore.WarnLevel:
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

func (c slogCore) Enabled(l zapcore.Level) bool {
	return l >= zapcore.InfoLevel && c.log.Enabled(context.Background(), level(l))
}

func (c slogCore) With(f []zapcore.Field) zapcore.Core {
	return slogCore{log: c.log, said: c.said, fields: append(c.fields[:len(c.fields):len(c.fields)], f...)}
}

func (c slogCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if c.said.again(e.Message, e.Time) {
		return nil
	}
	m := zapcore.NewMapObjectEncoder()
	for _, f := range c.fields {
		f.AddTo(m)
	}
	for _, f := range fields {
		f.AddTo(m)
	}
	at := level(e.Level)
	if usual(e.Message, m.Fields["error"]) {
		at = slog.LevelDebug
	}
	attrs := make([]slog.Attr, 0, len(m.Fields))
	for k, v := range m.Fields {
		attrs = append(attrs, slog.Any(k, v))
	}
	c.log.LogAttrs(context.Background(), at, "etcd: "+e.Message, attrs...)
	return nil
}

// usual reports whether a message is one of those that every start brings, or
// every election: nothing is wrong, and nobody can do anything about it.
func usual(message string, err any) bool {
	switch message {
	case "waiting for ReadIndex response took too long, retrying", // until there is a leader; that there is none is told by us
		"Running http and grpc server on single port. This is not recommended for production.", // nobody but us asks it
		"simple token is not cryptographically signed",                                         // certificates say who asks, not tokens
		"Failed to detect schema version",                                                      // of a database that is new
		"failed to update storage version":                                                     // tried again when it has its first snapshot
		return true
	case "apply request took too long":
		return strings.Contains(fmt.Sprint(err), "leader changed") // it waited for the election
	}
	return false
}

func (slogCore) Sync() error { return nil }
