package main

import (
	"context"

	"github.com/catchment/catchment/pop/api"
)

// share asks other POPs what they know, until ctx ends.
func (s *slowNets) share(ctx context.Context) { <-ctx.Done() }

// told is what other POPs have told.
func (s *slowNets) told() (out []api.SlownessPOP) {
	for _, h := range s.book.Heard() {
		out = append(out, api.SlownessPOP{POP: h.POP, Networks: int64(h.Networks), At: h.At})
	}
	return out
}
