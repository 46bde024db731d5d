package api

import (
	"context"

	"github.com/catchment/catchment/policy"
)

// Reader answers questions about the POP. Its methods are called from many
// goroutines and return when the context ends at the latest.
type Reader interface {
	Status(context.Context) (Status, error)
	// Explain fails with NotFound for a prefix that is no slice.
	Explain(context.Context, policy.SliceID) (Explanation, error)
	// Journal gives the entries that match, oldest first, to yield, and stops
	// with its error if it has one.
	Journal(ctx context.Context, f JournalFilter, yield func(JournalEntry) error) error
	// Changed is closed when there is a status later than the one that a call
	// of Status would give now.
	Changed() <-chan struct{}
	Planner
	Fleeter
}

// Changer carries out what an operator asks. It fails with NotFound for a
// service or slice that does not exist and with Refused where a guard forbids.
// The call returns when the decision is made, not when a drain is over.
type Changer interface {
	Intent(context.Context, policy.Intent) (Result, error)
	Release(context.Context, Released) (Result, error)
	// Reload reads the configuration again; an error means nothing changed.
	Reload(ctx context.Context, by string) ([]string, error)
}

// Backend is what the Server speaks for.
type Backend interface {
	Reader
	Changer
	Maintainer
}
