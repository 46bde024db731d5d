package api

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/catchment/catchment/policy"
)

// SlownessStatus is what is known of client networks, in all.
type SlownessStatus struct {
	POP   policy.POPID `json:"pop"`
	Now   time.Time    `json:"now"`
	Rate  float64      `json:"rate"`            // bit/s below which a client is slow; 0: nothing is measured, lists alone count
	At    time.Time    `json:"judged,omitzero"` // last judgement; zero: none yet
	Took  Duration     `json:"took,omitempty"`
	Judge Duration     `json:"judge"` // from one judgement to the next

	Kept     int64 `json:"kept"`              // networks (/24, /48) that this POP keeps samples of
	Evicted  int64 `json:"evicted,omitempty"` // forgotten for want of room, in all
	Networks int64 `json:"networks"`          // judged, of the fleet; sparse ones are joined with their neighbours
	Slow     int64 `json:"slow"`              // of them
	Unsure   int64 `json:"unsure"`            // with too few samples to be judged

	Samples []SlownessSamples `json:"samples,omitempty"` // of this POP, in all
	Own     int64             `json:"own"`               // connections of our cache server looked at now
	Table   *ResyncTable      `json:"table,omitempty"`   // the kernel's flows, of other servers
	POPs    []SlownessPOP     `json:"pops,omitempty"`

	Steer bool   `json:"steer"`           // the DNS server is told
	Moved int64  `json:"moved"`           // networks that were measured, whose clients are sent to cheap POPs
	Stale int64  `json:"stale,omitempty"` // slow, and not seen for too long to be moved
	Held  string `json:"held,omitempty"`  // why what was measured moves nobody
	// Lists of slow networks beside those measured, by ranges of addresses.
	Lists  []SlownessList `json:"lists,omitempty"`
	Errors []string       `json:"errors,omitempty"` // what could not be read or written last time
}

// SlownessSamples counts transfers by what limited them.
type SlownessSamples struct {
	Class string `json:"class"`
	Count uint64 `json:"count"`
}

// SlownessPOP is what another POP has told.
type SlownessPOP struct {
	POP      policy.POPID `json:"pop"`
	Networks int64        `json:"networks"`
	At       time.Time    `json:"at,omitzero"`     // zero: never
	Error    string       `json:"error,omitempty"` // of the last question
}

// SlownessList is one of the lists.
type SlownessList struct {
	Name   string `json:"name"` // operator, places or providers
	Ranges int64  `json:"ranges"`
}

// SlownessNetwork is one client network. Rates are in bytes a second.
type SlownessNetwork struct {
	Network    netip.Prefix `json:"network"`
	Class      string       `json:"class"` // what limits most of its transfers; unclear: not known
	Slow       bool         `json:"slow"`
	Confidence float64      `json:"confidence"`
	Why        string       `json:"why"`
	Samples    int64        `json:"samples"` // that count still
	Clients    int64        `json:"clients"` // at least so many sent them
	P10        float64      `json:"p10"`
	P50        float64      `json:"p50"`
	P90        float64      `json:"p90"`
	Receiver   float64      `json:"receiver_limited"` // share of the time that the clients were the limit
	RTT        Duration     `json:"rtt"`
	MinRTT     Duration     `json:"min_rtt"`
	Loss       float64      `json:"loss"`
	Seen       time.Time    `json:"seen,omitzero"`
	// Verdict is what counts: slow or fast, and unsure where too little is known;
	// By says whose word it is, measured, or that of a list with its reason.
	Verdict string `json:"verdict"`
	By      string `json:"by,omitempty"`
	// Moved: the DNS server sends its clients to cheap POPs.
	Moved bool `json:"moved"`
}

// SlownessQuery chooses networks.
type SlownessQuery struct {
	Network string `json:"network,omitempty"` // those of an address, or in a prefix
	Slow    bool   `json:"slow,omitempty"`    // those that are slow
	Sort    string `json:"sort,omitempty"`    // one of SlownessSorts; empty: rate
	Limit   int32  `json:"limit,omitempty"`   // 0: all
}

// SlownessSorts are the orders: the slowest first, the most samples, the last
// seen, the most loss, the longest round trip, or by address.
var SlownessSorts = []string{"rate", "samples", "seen", "loss", "rtt", "network"}

// Slowness is what operators see of it.
type Slowness interface {
	SlownessStatus(context.Context) (SlownessStatus, error)
	SlownessNetworks(context.Context, SlownessQuery) ([]SlownessNetwork, error)
	// SlownessExport writes all networks as CSV.
	SlownessExport(context.Context, io.Writer) error
}

func (s *Server) slowness() (Slowness, error) {
	if s.opt.Slowness == nil {
		return nil, Errorf(NotFound, "client networks are not measured here: slowness.rate is not set in its configuration")
	}
	return s.opt.Slowness, nil
}

// handleSlowness adds its calls.
func (s *Server) handleSlowness(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/slowness", func(w http.ResponseWriter, r *http.Request) {
		reply(w, r, func(r *http.Request) (any, error) {
			x, err := s.slowness()
			if err != nil {
				return nil, err
			}
			return x.SlownessStatus(r.Context())
		})
	})
	mux.HandleFunc("GET /v1/slowness/networks", func(w http.ResponseWriter, r *http.Request) {
		reply(w, r, func(r *http.Request) (any, error) {
			x, err := s.slowness()
			if err != nil {
				return nil, err
			}
			q, err := slownessQuery(r.URL.Query())
			if err != nil {
				return nil, err
			}
			l, err := x.SlownessNetworks(r.Context(), q)
			return nonNil(l), err
		})
	})
	mux.HandleFunc("GET /v1/slowness/export", func(w http.ResponseWriter, r *http.Request) {
		x, err := s.slowness()
		if err != nil {
			fail(w, err)
			return
		}
		out := http.NewResponseController(w)
		soon, stop := prompt(r.Context(), out)
		defer stop()
		w.Header().Set("Content-Type", "text/csv; charset=utf-8; header=present")
		if err := x.SlownessExport(r.Context(), timely{w, soon}); err != nil && r.Context().Err() == nil {
			panic(http.ErrAbortHandler) // so that an answer cut short does not look whole
		}
	})
}

// timely writes an answer that goes on, as long as its reader takes it.
type timely struct {
	io.Writer
	soon func() error
}

func (t timely) Write(b []byte) (int, error) {
	if err := t.soon(); err != nil {
		return 0, err
	}
	return t.Writer.Write(b)
}

func slownessQuery(v url.Values) (q SlownessQuery, err error) {
	for key, v := range v {
		switch key {
		case "network":
			q.Network = v[0]
		case "slow":
			q.Slow = v[0] == "true"
		case "sort":
			q.Sort = v[0]
		case "limit":
			n, err := strconv.ParseInt(v[0], 10, 32)
			if err != nil || n < 0 {
				return q, Errorf(Invalid, "limit %q: want a number", v[0])
			}
			q.Limit = int32(n)
		default:
			return q, Errorf(Invalid, "slowness: no parameter %q; there are network, slow, sort and limit", key)
		}
	}
	if _, err := q.Prefix(); err != nil {
		return q, err
	}
	return q, q.checkSort()
}

func (q *SlownessQuery) checkSort() error {
	words := ""
	for _, s := range SlownessSorts {
		if q.Sort == s || q.Sort == "" {
			return nil
		}
		words += " " + s
	}
	return Errorf(Invalid, "sort %q: want one of%s", q.Sort, words)
}

// Prefix is the network asked for; an address is one of 32 or 128 bits. Not
// valid: all.
func (q *SlownessQuery) Prefix() (netip.Prefix, error) {
	if q.Network == "" {
		return netip.Prefix{}, nil
	}
	if p, err := netip.ParsePrefix(q.Network); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(q.Network)
	if err != nil {
		return netip.Prefix{}, Errorf(Invalid, "network %q: want an address or a network such as 203.0.113.0/24", q.Network)
	}
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// SlownessStatus asks what is known of client networks.
func (c *Client) SlownessStatus(ctx context.Context) (SlownessStatus, error) {
	return get[SlownessStatus](ctx, c, "slowness")
}

// SlownessNetworks asks for client networks.
func (c *Client) SlownessNetworks(ctx context.Context, q SlownessQuery) ([]SlownessNetwork, error) {
	v := url.Values{"limit": {strconv.Itoa(int(q.Limit))}}
	for key, s := range map[string]string{"network": q.Network, "sort": q.Sort} {
		if s != "" {
			v.Set(key, s)
		}
	}
	if q.Slow {
		v.Set("slow", "true")
	}
	return get[[]SlownessNetwork](ctx, c, "slowness/networks?"+v.Encode())
}

// SlownessExport copies all networks to w, as CSV.
func (c *Client) SlownessExport(ctx context.Context, w io.Writer) error {
	res, err := c.do(ctx, http.MethodGet, "slowness/export", nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(w, res.Body)
	return err
}
