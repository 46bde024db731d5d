package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/catchment/catchment/lab/serve"
)

// second is what the clients saw in about one second.
type second struct {
	at     time.Time
	rate   map[string]float64            // POP: answers a second
	byURL  map[string]map[string]float64 // URL, then POP: answers a second
	failed int
	last   string // what the newest failure said
}

// traffic looks at the crowds' own reports.
type traffic struct {
	world world
	last  map[string]serve.LoadReport // by client
}

// look reads the reports and gives what is new since the look before. Without
// one before, or where a crowd has said nothing new, there is nothing to say.
func (tr *traffic) look(ctx context.Context) (second, error) {
	s := second{rate: map[string]float64{}, byURL: map[string]map[string]float64{}}
	for _, client := range clients {
		text, err := tr.world.Exec(ctx, client, "cat", reportFile)
		if err != nil {
			return second{}, err
		}
		var now serve.LoadReport
		if err := json.Unmarshal([]byte(text), &now); err != nil {
			return second{}, fmt.Errorf("%s: %s: %w", client, reportFile, err)
		}
		before, ok := tr.last[client]
		tr.last[client] = now
		if span := now.Time.Sub(before.Time).Seconds(); ok && span > 0 {
			s.add(before, now, span)
		}
	}
	return s, nil
}

// add counts what a crowd got between two of its reports.
func (s *second) add(before, now serve.LoadReport, span float64) {
	s.at = now.Time
	s.failed += now.Failed - before.Failed
	if now.Failed > before.Failed {
		s.last = now.Last
	}
	for url, pops := range now.By {
		if s.byURL[url] == nil {
			s.byURL[url] = map[string]float64{}
		}
		for pop, n := range pops {
			rate := float64(n-before.By[url][pop]) / span
			s.rate[pop] += rate
			s.byURL[url][pop] += rate
		}
	}
}

// mean is the rate of each POP over the last n seconds.
func mean(all []second, n int) map[string]float64 {
	all = all[max(0, len(all)-n):]
	out := map[string]float64{}
	for _, s := range all {
		for pop, r := range s.rate {
			out[pop] += r / float64(len(all))
		}
	}
	return out
}
