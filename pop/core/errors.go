package core

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Code says what a caller can do about an error. It is an error itself, so
// that errors.Is(err, core.Conflict) works.
type Code string

// Codes.
const (
	NotFound    Code = "not found"   // no such object
	Conflict    Code = "conflict"    // a condition did not hold: read again
	Unavailable Code = "unavailable" // no engine, no quorum, no answer: try later
	TooLarge    Code = "too large"   // the value, the key or the transaction: make it smaller
	Limited     Code = "limited"     // this writer writes too often: wait Retry
	Full        Code = "full"        // disk or quota: free room, reads go on
	Compacted   Code = "compacted"   // that revision's history is gone
	Invalid     Code = "invalid"     // the request makes no sense
	Denied      Code = "denied"      // not allowed: token, certificate, no room
	Corrupt     Code = "corrupt"     // what is stored cannot be read
)

// Error makes a Code an error.
func (c Code) Error() string { return string(c) }

// Error is what every operation of this package returns when it fails.
type Error struct {
	Code Code
	Op   string // get, put, watch, ...
	Key  string // of the object, where it is about one
	// Revision: with Conflict, where the object is now (0: it does not exist);
	// with Compacted, the oldest revision that can be read.
	Revision int64
	// Retry: with Limited, when the next write may pass.
	Retry time.Duration
	// Uncertain: the write may have happened, or may yet.
	Uncertain bool
	Err       error
}

// Error says what failed, on which object, and why.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("core")
	if e.Op != "" {
		b.WriteString(" " + e.Op)
	}
	if e.Key != "" {
		b.WriteString(" " + e.Key)
	}
	b.WriteString(": " + string(e.Code))
	switch {
	case e.Code == Conflict && e.Revision == 0:
		b.WriteString(" (it does not exist)")
	case e.Code == Conflict, e.Code == Compacted:
		fmt.Fprintf(&b, " (now at revision %d)", e.Revision)
	case e.Code == Limited:
		fmt.Fprintf(&b, " (again in %v)", e.Retry.Round(time.Millisecond))
	}
	if e.Uncertain {
		b.WriteString(" (it may have happened)")
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Is reports whether target is this error's code.
func (e *Error) Is(target error) bool { return target == error(e.Code) }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// fail makes an Error of a code and a reason.
func fail(c Code, format string, args ...any) *Error {
	return &Error{Code: c, Err: fmt.Errorf(format, args...)}
}

// about names the operation and the object in an error that lacks them.
func about(err error, op, key string) error {
	if err == nil {
		return nil
	}
	var e *Error
	if !errors.As(err, &e) {
		return &Error{Code: Unavailable, Op: op, Key: key, Err: err}
	}
	named := *e
	if named.Op == "" {
		named.Op = op
	}
	if named.Key == "" {
		named.Key = key
	}
	return &named
}
