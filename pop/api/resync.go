package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/catchment/catchment/policy"
)

// ResyncStatus is how downloads go on at other POPs, and theirs here.
type ResyncStatus struct {
	POP       policy.POPID `json:"pop"`
	Now       time.Time    `json:"now"`
	Listen    string       `json:"listen,omitempty"`
	Advertise string       `json:"advertise,omitempty"`
	Flows     int64        `json:"flows"`               // of our own to tell of
	Own       int64        `json:"own"`                 // of them those of our cache server
	LeftOut   uint64       `json:"left_out,omitempty"`  // flows left out for want of room, in all
	Announced []string     `json:"announced,omitempty"` // addresses whose clients may be woken
	Moving    []string     `json:"moving,omitempty"`    // addresses whose clients are on their way elsewhere
	POPs      []ResyncPOP  `json:"pops,omitempty"`

	Takeovers []ResyncTakeover `json:"takeovers,omitempty"` // the last ones, newest first
	Resumed   uint64           `json:"resumed,omitempty"`   // requests that went on with a flow of another POP
	Jumps     ResyncJumps      `json:"jumps"`
	Warmed    ResyncWarmed     `json:"warmed"`
	Probes    ResyncProbes     `json:"probes"`
	Vacated   ResyncVacated    `json:"vacated"`
	Reset     uint64           `json:"reset,omitempty"` // connections reset after a withdraw
	// Refused are connections of who is no other POP of the fleet, Expired flows
	// that a POP told of which is not heard any more.
	Refused uint64      `json:"refused,omitempty"`
	Expired uint64      `json:"expired,omitempty"`
	Table   ResyncTable `json:"table"`
	Lacks   []string    `json:"lacks,omitempty"` // what the kernel or this process's rights keep from working
}

// ResyncPOP is another POP: our line to it, and what it says.
type ResyncPOP struct {
	POP     policy.POPID `json:"pop"`
	Address string       `json:"address,omitempty"` // empty: it is not told
	Up      bool         `json:"up,omitempty"`
	Since   time.Time    `json:"since,omitzero"`  // of Up
	Error   string       `json:"error,omitempty"` // why it is not up
	Told    int64        `json:"told,omitempty"`  // flows, with the last word
	Sent    uint64       `json:"sent,omitempty"`  // bytes, in all
	Known   int64        `json:"known,omitempty"` // flows that it has told us of
	Heard   time.Time    `json:"heard,omitzero"`  // its last word
	Talking bool         `json:"talking,omitempty"`
	Gone    bool         `json:"gone,omitempty"`   // the fleet takes it for gone
	Moving  []string     `json:"moving,omitempty"` // what it says is about to move: addresses, or "all"
	Foreign uint64       `json:"foreign,omitempty"`
	Full    uint64       `json:"full,omitempty"`
	Broken  uint64       `json:"broken,omitempty"` // connections ended for what was said on them
}

// ResyncTakeover is one of another POP's clients by this one.
type ResyncTakeover struct {
	POP     policy.POPID `json:"pop"`
	At      time.Time    `json:"at"`
	Flows   int64        `json:"flows"`
	Woken   int64        `json:"woken"`
	Resumed int64        `json:"resumed"` // came here since
	Silent  Duration     `json:"silent"`  // since its last word, then
}

// ResyncJumps count flows that came from another POP by how they began.
type ResyncJumps struct {
	Means     string `json:"means"` // bpf, route or plain
	Validated uint64 `json:"validated,omitempty"`
	Retreated uint64 `json:"retreated,omitempty"`
	Ended     uint64 `json:"ended,omitempty"` // too little was sent to know
	Failed    uint64 `json:"failed,omitempty"`
	// Refused are those that did not jump, by a stable word.
	Refused []ResyncReason `json:"refused,omitempty"`
	// Learned is what was earned by the networks that jumped last.
	Learned []ResyncLearned `json:"learned,omitempty"`
	// Pairs is what was earned by pairs of POPs for networks that have not
	// jumped yet.
	Pairs []ResyncPair `json:"pairs,omitempty"`
}

// ResyncPair is how much of its former rate a flow that comes from a POP may
// begin with where its client network has not jumped yet.
type ResyncPair struct {
	From     policy.POPID `json:"from"`
	Part     float64      `json:"part"`     // 0 to 1
	Networks int64        `json:"networks"` // that jumped last, of those that count for the next step
	Right    int64        `json:"right"`    // of them
}

// ResyncLearned is how much of its former rate a flow of a client network may
// begin with that comes from a POP.
type ResyncLearned struct {
	From    policy.POPID `json:"from"` // "client": by the client's own word
	Network string       `json:"network"`
	Part    float64      `json:"part"` // 0 to 1
	At      time.Time    `json:"at"`   // of the last jump
	// Rest is until when nothing jumps: it was too much too often.
	Rest time.Time `json:"rest,omitzero"`
}

// ResyncReason counts one reason.
type ResyncReason struct {
	Reason string `json:"reason"`
	Flows  uint64 `json:"flows"`
}

// ResyncVacated counts connections that other POPs have told of, by what stood
// in their place here: closed ones that would have kept clients from a reset.
type ResyncVacated struct {
	Looked  uint64 `json:"looked,omitempty"`
	Ended   uint64 `json:"ended,omitempty"`
	Refused uint64 `json:"refused,omitempty"` // by the kernel
	Full    uint64 `json:"full,omitempty"`    // not looked for: too many at once
}

// ResyncWarmed counts what was fetched for clients that were about to come.
type ResyncWarmed struct {
	Wanted uint64 `json:"wanted,omitempty"` // parts of objects
	Done   uint64 `json:"done,omitempty"`
	Failed uint64 `json:"failed,omitempty"`
	Full   uint64 `json:"full,omitempty"`
	Bytes  uint64 `json:"bytes,omitempty"`
}

// ResyncProbes count the segments that wake clients.
type ResyncProbes struct {
	Sent    uint64 `json:"sent,omitempty"`
	Waiting int64  `json:"waiting,omitempty"` // flows
	Foreign uint64 `json:"foreign,omitempty"` // flows refused: the address is not ours, or is not announced
	Stale   uint64 `json:"stale,omitempty"`
	Full    uint64 `json:"full,omitempty"`
	Calm    uint64 `json:"calm,omitempty"` // flows not asked in doubt again so soon
	Failed  uint64 `json:"failed,omitempty"`
	Done    uint64 `json:"done,omitempty"` // flows whose clients came here meanwhile
}

// ResyncTable tells of the passes over the kernel's sockets.
type ResyncTable struct {
	By      string   `json:"by,omitempty"` // bpf: only large flows are looked at; sock_diag: all sockets
	Sockets int64    `json:"sockets,omitempty"`
	Flows   int64    `json:"flows,omitempty"`
	Cost    Duration `json:"cost,omitempty"` // CPU time of the last pass
	Every   Duration `json:"every,omitempty"`
	Left    uint64   `json:"left,omitempty"`
	Error   string   `json:"error,omitempty"`
}

// ResyncQuery chooses flows.
type ResyncQuery struct {
	From  policy.POPID `json:"from,omitempty"` // those that a POP told of; empty: our own
	Limit int32        `json:"limit,omitempty"`
}

// ResyncFlow is one download.
type ResyncFlow struct {
	POP    policy.POPID `json:"pop"`
	Client string       `json:"client"`
	VIP    string       `json:"vip"`
	URL    string       `json:"url,omitempty"`
	ETag   string       `json:"etag,omitempty"`
	Offset uint64       `json:"offset"`
	Left   *int64       `json:"left,omitempty"` // bytes to send; nil: not known
	Rate   uint64       `json:"rate"`           // bytes a second
	RTT    Duration     `json:"rtt"`
	// ClientLimited: the client's own window was the limit.
	ClientLimited bool      `json:"client_limited,omitempty"`
	At            time.Time `json:"at,omitzero"` // when this was said
}

// Resync is what operators see of it.
type Resync interface {
	ResyncStatus(context.Context) (ResyncStatus, error)
	ResyncFlows(context.Context, ResyncQuery) ([]ResyncFlow, error)
}

func (s *Server) resync() (Resync, error) {
	if s.opt.Resync == nil {
		return nil, Errorf(NotFound, "flows do not go on at other POPs here: resync.listen is not set in its configuration")
	}
	return s.opt.Resync, nil
}

func (s *Server) resyncStatus(ctx context.Context) (ResyncStatus, error) {
	r, err := s.resync()
	if err != nil {
		return ResyncStatus{}, err
	}
	return r.ResyncStatus(ctx)
}

func (s *Server) resyncFlows(ctx context.Context, q ResyncQuery) ([]ResyncFlow, error) {
	r, err := s.resync()
	if err != nil {
		return nil, err
	}
	l, err := r.ResyncFlows(ctx, q)
	return nonNil(l), err
}

// handleResync adds its calls.
func (s *Server) handleResync(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/resync", func(w http.ResponseWriter, r *http.Request) {
		reply(w, r, func(r *http.Request) (any, error) { return s.resyncStatus(r.Context()) })
	})
	mux.HandleFunc("GET /v1/resync/flows", func(w http.ResponseWriter, r *http.Request) {
		reply(w, r, func(r *http.Request) (any, error) {
			var q ResyncQuery
			for key, v := range r.URL.Query() {
				switch key {
				case "from":
					q.From = policy.POPID(v[0])
				case "limit":
					n, err := strconv.ParseInt(v[0], 10, 32)
					if err != nil || n < 0 {
						return nil, Errorf(Invalid, "limit %q: want a number", v[0])
					}
					q.Limit = int32(n)
				default:
					return nil, Errorf(Invalid, "resync: no parameter %q; there are from and limit", key)
				}
			}
			return s.resyncFlows(r.Context(), q)
		})
	})
}

// ResyncStatus asks how downloads go on at other POPs.
func (c *Client) ResyncStatus(ctx context.Context) (ResyncStatus, error) {
	return get[ResyncStatus](ctx, c, "resync")
}

// ResyncFlows asks for flows.
func (c *Client) ResyncFlows(ctx context.Context, q ResyncQuery) ([]ResyncFlow, error) {
	path := "resync/flows?limit=" + strconv.Itoa(int(q.Limit))
	if q.From != "" {
		path += "&from=" + string(q.From)
	}
	return get[[]ResyncFlow](ctx, c, path)
}
