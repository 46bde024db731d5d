package host

import (
	"context"
	"errors"
	"time"

	"github.com/catchment/catchment/pop/core"
	"github.com/catchment/catchment/pop/lapse"
)

const (
	probeEvery   = time.Second
	probeAlone   = 5 * time.Second // nobody else's change is to be seen, and little depends on it
	probeTimeout = 2 * time.Second
	// patience is how long the core may be silent before a person should know:
	// longer than an election takes.
	patience = 10 * time.Second
)

// probed is an object that every answer to a probe is about; it need not be there.
var probed = core.Key{Kind: core.KindManifest, Name: "config"}

// probe asks the core over and over for an answer that all members agree to.
func (h *Host) probe(ctx context.Context) {
	for {
		began := time.Now()
		ask, cancel := context.WithTimeout(ctx, probeTimeout)
		_, err := h.core.Get(ask, probed)
		cancel()
		if ctx.Err() != nil {
			return
		}
		status, serr := h.status(ctx)
		answers := err == nil || errors.Is(err, core.NotFound)
		h.found(answers, began, status, serr)
		pause := probeEvery
		if answers && h.cfg.Alone {
			pause = probeAlone
		}
		if !lapse.Of(ctx, pause) {
			return
		}
	}
}

func (h *Host) status(ctx context.Context) (core.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return h.core.Status(ctx)
}

// found takes the outcome of a probe that began at a time.
func (h *Host) found(ok bool, at time.Time, status core.Status, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil && (status.Revision > 0 || h.last.Revision == 0) {
		h.last = status
	} else {
		h.last.Quorum, h.last.Leader = false, ""
	}
	if ok == h.reached {
		return
	}
	h.reached, h.since = ok, at
	close(h.changed)
	h.changed = make(chan struct{})
	if ok {
		h.log.Info("the core answers", "engine", h.last.Engine, "revision", h.last.Revision, "leader", h.last.Leader, "members", len(h.last.Members))
	} else {
		h.log.Warn("the core does not answer, announcing goes on")
	}
}

// Reachable reports whether the core answers this POP, with a majority behind
// it, and since when that is so. It does not block.
func (h *Host) Reachable() (ok bool, since time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reached, h.since
}

// Changed is closed when Reachable says something else than it would now.
func (h *Host) Changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}

// Status is the core as it was seen last, a second ago or a few.
func (h *Host) Status() core.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}
