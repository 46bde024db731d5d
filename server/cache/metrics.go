package cache

import (
	"net/http"
	"sync/atomic"

	"github.com/catchment/catchment/server/cache/rule"
)

// result is what became of a request, in one word for log and metrics.
type result uint8

const (
	resultNone        result = iota
	resultHit                // from the store, fresh
	resultStale              // from the store, stale
	resultMiss               // fetched and stored
	resultPartial            // stored in part, the rest fetched
	resultExpired            // was stored, fetched anew
	resultRevalidated        // was stored, confirmed
	resultPass               // not stored
	resultPurge
	resultRefused // by us, before anything was looked up
	resultError   // upstream failed
	resultAborted // the client went
	resultCount
)

var resultText = [resultCount]string{
	"none", "hit", "stale", "miss", "partial", "expired", "revalidated", "pass", "purge", "refused", "error", "aborted",
}

func (r result) String() string { return resultText[r] }

// siteStats counts what became of the requests of one site.
type siteStats struct {
	results [resultCount]atomic.Uint64
	reasons [reasonLimit]atomic.Uint64 // why requests went upstream
	bytes   atomic.Uint64              // of bodies, to clients
}

// reasonLimit is above every rule.Reason.
const reasonLimit = 64

func (s *siteStats) count(r result, why rule.Reason, bytes int64) {
	s.results[r].Add(1)
	if r != resultHit {
		s.reasons[min(int(why), reasonLimit-1)].Add(1)
	}
	s.bytes.Add(uint64(max(bytes, 0)))
}

// metrics are the counters that belong to no site.
type metrics struct {
	unknown        siteStats // requests that no site has
	shed           atomic.Uint64
	broken         atomic.Uint64
	refreshes      atomic.Uint64
	refreshDropped atomic.Uint64
	panics         atomic.Uint64
	hooksFailed    atomic.Uint64
}

// finish ends an exchange: counters, log record. It runs also when the handler panics to cut the connection.
func (x *exchange) finish() {
	v := recover()
	if v != nil {
		x.s.recovered("request", v)
	}
	stats := &x.s.metrics.unknown
	if x.site != nil {
		stats = x.c.stats[x.site.Name]
	}
	stats.count(x.done.result, x.done.status.Detail, x.w.bytes)
	x.log()
	x.arrived()
	if x.site != nil && x.site.Limited() {
		x.site.Charge(x.client, x.w.bytes, x.s.clock())
	}
	if v != nil {
		panic(http.ErrAbortHandler)
	}
}
