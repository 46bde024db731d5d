package fill

import (
	"context"
	"errors"
	"fmt"

	"github.com/catchment/catchment/server/cache/origin"
	"github.com/catchment/catchment/server/cache/store"
)

// Range is the half-open range [Off, End) of bytes of a body; End -1: its end,
// not known yet.
type Range = store.Range

// Object is what a fill needs of a stored object: one version of one variant.
// *store.Object is one, by FromStore.
type Object interface {
	// ID is unique for the version.
	ID() uint64
	ChunkSize() int64
	// Size is the length of the body, -1 if not known yet.
	Size() int64
	Whole() bool
	// Err tells why the object failed.
	Err() error
	// Available counts the bytes that can be read from off on.
	Available(off int64) int64
	// Missing lists what has to come so that [off, end) is there, up to the ends
	// of chunks, each from where the chunk's arrived part ends.
	Missing(off, end int64) []Range
	// WriteAt adds bytes from a chunk's front or behind what has arrived of it;
	// bytes that are there already are skipped.
	WriteAt(p []byte, off int64) (int, error)
	ReadAt(p []byte, off int64) (int, error)
	// Complete marks the object as whole; Fail as not to be trusted. Delete leaves
	// it to those who have it: nobody else finds it.
	Complete(size int64) error
	Fail(err error)
	Delete()
	// Hold takes one more reference, Release gives one back.
	Hold()
	Release()
}

// FromStore is a store's object as a fill needs it. It takes no reference.
func FromStore(o *store.Object) Object { return stored{o} }

type stored struct{ *store.Object }

func (s stored) Hold() { s.Retain() }

// StoreObject is the store's object behind o, nil if it is another kind.
func StoreObject(o Object) *store.Object {
	s, _ := o.(stored)
	return s.Object
}

// Doer asks an upstream; *origin.Upstream does.
type Doer interface {
	Do(ctx context.Context, r *origin.Request) (*origin.Response, error)
}

// Source is how to get bytes of one version.
type Source struct {
	// Upstream is asked, Name is by what its limits are counted.
	Upstream Doer
	Name     string
	// Request is what is asked: a GET without Range and If-Range for objects (the
	// fill puts them on), anything for Group.Pass. It is not changed.
	Request *origin.Request
	// Validator is that of the stored version; Lead takes it from the response.
	Validator Validator
	// Whole is called when all bytes are there and their digests are right, before
	// the object is marked as whole, so that the digest gets into its metadata.
	// Nil: nobody wants to know.
	Whole func(Object, Sum)
}

// Errors of readers and flights. What an upstream did is an *origin.Error or a
// *StatusError.
var (
	// ErrBusy: too many fills or waiters.
	ErrBusy = errors.New("too many fills under way")
	// ErrClosed: the group has ended.
	ErrClosed = errors.New("fills have ended")
	// ErrChanged: the upstream has another version now, and of this one the bytes
	// wanted cannot be had any more. The request has to be led anew.
	ErrChanged = errors.New("another version at the upstream")
	// ErrNoValidator: the version has no strong validator, so what is missing of it
	// cannot be asked for. The request has to be led anew.
	ErrNoValidator = errors.New("missing parts, and no strong validator to get them by")
	// ErrTooLong: more bytes came than the head said.
	ErrTooLong = errors.New("body longer than its head says")
	// ErrDigest: the bytes are not those that the origin's digest is of.
	ErrDigest = errors.New("digest differs")
	// ErrStore: the store did not take the bytes.
	ErrStore = errors.New("store")
	// ErrRelay is Reader.Next's: the bytes come past the store, which takes no more
	// of them. Read gives them.
	ErrRelay = errors.New("bytes come past the store")
	// ErrDeadline: the fill took longer than it may (Options.Deadline).
	ErrDeadline = errors.New("the fill took too long")
	// ErrAbandoned: nobody was left who wanted the body.
	ErrAbandoned = errors.New("no reader was left")
	// ErrPart: a 206 that does not say what it holds, or holds what was not asked.
	ErrPart = errors.New("bad partial response")
)

// StatusError is an answer that holds no bytes of the version: an error status
// to a request for a part.
type StatusError struct {
	Status int
	From   origin.From
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s answered %d to a request for a part", e.From, e.Status)
}
