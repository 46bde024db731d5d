package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/catchment/catchment/policy"
)

// CostStatus is what traffic costs, what steering saved of it and what harm it
// did. Bills are estimates of what providers will write, amounts in Currency.
type CostStatus struct {
	POP      policy.POPID `json:"pop"`
	Now      time.Time    `json:"now"`
	Currency string       `json:"currency,omitempty"`
	Slot     Duration     `json:"slot"`
	Month    CostPeriod   `json:"month"`            // the one that now is in, so far
	Before   *CostPeriod  `json:"before,omitempty"` // the one before; nil: nothing is known of it
	Days     []CostPeriod `json:"days,omitempty"`   // the newest first
	Steering CostSteering `json:"steering"`
	// Measured and Estimated say which is which, in words.
	Measured  []string `json:"measured"`
	Estimated []string `json:"estimated"`
	// Notes are what is wrong or missing.
	Notes []string `json:"notes,omitempty"`
}

// CostSteering is whether clients are steered for cost and slowness.
type CostSteering struct {
	Means   []string  `json:"means,omitempty"` // "dns", "redirects"; empty: nothing is configured
	Stopped bool      `json:"stopped"`         // by the ceiling on harm
	Since   time.Time `json:"since,omitzero"`
	Why     string    `json:"why,omitempty"` // "stalls" or "latency"
	Detail  string    `json:"detail,omitempty"`
	Window  CostHarm  `json:"window"` // what the ceiling judges
	// The ceiling: more stalls a request, and ms later in the mean.
	Stalls  float64 `json:"ceiling_stalls"`
	Latency float64 `json:"ceiling_latency_ms"`
}

// CostPeriod is a time. Bill and Without are the parts of a month's bill that
// it would be if all the month were like it.
type CostPeriod struct {
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Slots int64     `json:"slots"` // that have been
	POPs  []CostPOP `json:"pops"`
	All   CostPOP   `json:"all"`
}

// CostPOP is one POP in a time.
type CostPOP struct {
	POP     policy.POPID `json:"pop,omitempty"` // empty: all of them
	Sent    float64      `json:"sent_gb"`
	Moved   float64      `json:"moved_gb"` // sent by others for it; below 0: by it for others; of all: that were moved
	Bill    float64      `json:"bill"`
	Without float64      `json:"bill_without"` // steering
	Saved   float64      `json:"saved"`
	Known   int64        `json:"known_slots"`
	Harm    CostHarm     `json:"harm"`
}

// CostHarm is what steering did to clients.
type CostHarm struct {
	Latency     float64 `json:"latency_ms"`   // later in the mean of all traffic
	Moved       float64 `json:"moved"`        // requests of players that were moved, and speak (CMCD)
	Left        float64 `json:"left"`         // of those that could have been and were not
	MovedStalls float64 `json:"moved_stalls"` // of them
	LeftStalls  float64 `json:"left_stalls"`
	ExtraStalls float64 `json:"extra_stalls"` // a request
}

// Cost is what operators see of the books.
type Cost interface {
	// CostStatus gives the month and so many days; not found without prices.
	CostStatus(ctx context.Context, days int) (CostStatus, error)
}

// maxCostDays bounds a question.
const maxCostDays = 366

func (s *Server) costStatus(r *http.Request) (any, error) {
	days := 7
	for key, v := range r.URL.Query() {
		n, err := strconv.Atoi(v[0])
		if key != "days" || err != nil || n < 0 || n > maxCostDays {
			return nil, Errorf(Invalid, "cost: %s=%s: there is days, 0 to %d", key, v[0], maxCostDays)
		}
		days = n
	}
	if s.opt.Cost == nil {
		return nil, Errorf(NotFound, "no books are kept here of what traffic costs: cost.pops is not set in its configuration")
	}
	return s.opt.Cost.CostStatus(r.Context(), days)
}

// CostStatus asks for the books: the month and so many days.
func (c *Client) CostStatus(ctx context.Context, days int) (CostStatus, error) {
	return get[CostStatus](ctx, c, "cost?days="+strconv.Itoa(days))
}
