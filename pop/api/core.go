package api

import (
	"context"
	"encoding/json"
	"strings"
	"time"
	"unicode"
)

// CoreStatus is the control core as this POP sees it.
type CoreStatus struct {
	Mode      string    `json:"mode"`            // embedded, follow or external
	Alone     bool      `json:"alone,omitempty"` // it is of this POP only, nobody shares it
	Reachable bool      `json:"reachable"`       // it answers, with a majority behind it
	Since     time.Time `json:"since,omitzero"`  // of Reachable
	Name      string    `json:"name,omitempty"`  // of the member here
	Leader    string    `json:"leader,omitempty"`
	Revision  int64     `json:"revision,omitempty"`
	// Members are those of the core; of external clusters those they tell of.
	Members  []CoreMember `json:"members,omitempty"`
	Database int64        `json:"database,omitempty"` // bytes on disk
	InUse    int64        `json:"in_use,omitempty"`   // of them
	Quota    int64        `json:"quota,omitempty"`
	Free     int64        `json:"free,omitempty"` // bytes left on the disk
	Trouble  string       `json:"trouble,omitempty"`
	// Authority: the fleet's certificates are made here, POPs join here.
	Authority bool   `json:"authority,omitempty"`
	Written   uint64 `json:"written,omitempty"` // writes of this process that the core took
	Refused   uint64 `json:"refused,omitempty"` // and did not
	// Config is the fleet's configuration in force here; nil: it does not come
	// from the core.
	Config *CoreApplied `json:"config,omitempty"`
	Relay  *CoreRelay   `json:"relay,omitempty"` // nil: in no relay tree
}

// CoreRelay is this POP's place in the tree by which POPs follow the core.
type CoreRelay struct {
	// Standing is how the top of the path stands: "rooted" (it hears the core),
	// "anchored" (it is with a core that does not answer) or "orphan".
	Standing string    `json:"standing"`
	Path     []string  `json:"path"`           // POPs from the top to here
	Since    time.Time `json:"since,omitzero"` // of the followed POP, or of its loss
	Heard    time.Time `json:"heard,omitzero"` // when that said something last
	Why      string    `json:"why,omitempty"`  // the last one was left
	Revision int64     `json:"revision,omitempty"`
	Behind   int64     `json:"behind,omitempty"` // revisions known above and not here
	// Followers are the POPs that follow this one; Below counts all that do so
	// through it and itself, and BehindBelow is what the last of them lacks.
	Followers   []string `json:"followers,omitempty"`
	Below       int64    `json:"below,omitempty"`
	BehindBelow int64    `json:"below_behind,omitempty"`
	POPs        int64    `json:"pops,omitempty"` // whose word on how they are counts here
}

// CoreMember is a member of the core.
type CoreMember struct {
	Name    string `json:"name"` // empty: it was admitted and has not come yet
	Address string `json:"address,omitempty"`
	Leader  bool   `json:"leader,omitempty"`
	Learner bool   `json:"learner,omitempty"` // gets everything, has no vote yet
}

// CoreApplied is what became of the fleet's configuration at a POP.
type CoreApplied struct {
	POP      string    `json:"pop"`
	Number   int64     `json:"number"`            // of the configuration that is in force
	Newest   int64     `json:"newest,omitempty"`  // that it has seen
	Refused  string    `json:"refused,omitempty"` // why the newest is not in force
	Restart  bool      `json:"restart,omitempty"` // it will be after a restart
	At       time.Time `json:"at,omitzero"`       // of the last change of this, by the POP's clock
	Revision int64     `json:"revision,omitempty"`
	// Worse is what has gone wrong here since the configuration is in force:
	// alarms that were not there before, slices that are not announced any more.
	Worse []string `json:"worse,omitempty"`
}

// CoreRollout is a change of the configuration that goes to some POPs first.
type CoreRollout struct {
	From int64 `json:"from"` // number of the configuration before
	To   int64 `json:"to"`   // and of the new one
	// State is going, done or rolled-back.
	State   string             `json:"state"`
	Because string             `json:"because,omitempty"` // of State, or what the stage waits for
	Wait    Duration           `json:"wait,omitempty"`    // how long each stage has to be well
	Who     string             `json:"who,omitempty"`
	Why     string             `json:"why,omitempty"`
	Stages  []CoreRolloutStage `json:"stages,omitempty"`
}

// CoreRolloutStage is one stage of a rollout.
type CoreRolloutStage struct {
	POPs  []string `json:"pops,omitempty"` // none: all others
	State string   `json:"state"`          // done, now or later
}

// CoreObject is an object of the core, or one former state of it.
type CoreObject struct {
	Key      string    `json:"key"` // kind/name
	Revision int64     `json:"revision,omitempty"`
	Version  int64     `json:"version,omitempty"` // of a config object
	Who      string    `json:"who,omitempty"`
	Why      string    `json:"why,omitempty"`
	At       time.Time `json:"at,omitzero"` // by the writer's clock
	Deleted  bool      `json:"deleted,omitempty"`
	// Value is left out where it may hold secrets.
	Value json.RawMessage `json:"value,omitempty"`
	// Text is that of a config object, where it was asked for by name.
	Text   string `json:"text,omitempty"`
	Format string `json:"format,omitempty"` // of Text: yaml or toml
}

// CoreConfig is the fleet's configuration.
type CoreConfig struct {
	Number   int64         `json:"number"` // of changes since the beginning
	Revision int64         `json:"revision,omitempty"`
	Who      string        `json:"who,omitempty"` // made the last one
	Why      string        `json:"why,omitempty"`
	Objects  []CoreObject  `json:"objects,omitempty"`
	POPs     []CoreApplied `json:"pops,omitempty"` // those that take their configuration from the core
}

// CoreChange is the body of a call that changes the core; each call takes some
// of it. Why is needed by all.
type CoreChange struct {
	Name    string   `json:"name,omitempty"`    // of the POP, the member or the config object; of a certificate to revoke serial:HEX
	Address string   `json:"address,omitempty"` // of a member, host:port
	Hosts   []string `json:"hosts,omitempty"`   // of a token: what else the certificate is good for
	For     Duration `json:"for,omitempty"`     // of a token: how long it can be used
	Version int32    `json:"version,omitempty"` // of a config object, to go back to
	Number  int32    `json:"number,omitempty"`  // of the whole configuration, to go back to
	Format  string   `json:"format,omitempty"`  // of Text: yaml or toml
	Text    string   `json:"text,omitempty"`    // of a config object
	Force   bool     `json:"force,omitempty"`   // although it is wrong for some POP
	// Stages let it go to some POPs first: names with commas, or a share of
	// all so far, such as 25%.
	Stages []string `json:"stages,omitempty"`
	Wait   Duration `json:"wait,omitempty"` // how long each stage has to be well
	Why    string   `json:"why,omitempty"`
}

// CoreResult is what became of a CoreChange.
type CoreResult struct {
	Text   string       `json:"text"`            // one line, for people
	Token  string       `json:"token,omitempty"` // a secret, until it is used
	First  []CoreMember `json:"first,omitempty"` // what core.first of an admitted member has to be
	Number int64        `json:"number,omitempty"`
}

// CoreQuery asks for objects: those of Kind, or the history of Key, the newest
// first; or for one former Version of a config object.
type CoreQuery struct {
	Kind    string `json:"kind,omitempty"`
	Key     string `json:"key,omitempty"`
	Version int32  `json:"version,omitempty"`
	Limit   int32  `json:"limit,omitempty"`
}

// Core is the control core as operators use it. Errors of a Core carry codes
// of this package.
type Core interface {
	CoreStatus(context.Context) (CoreStatus, error)
	CoreConfig(context.Context) (CoreConfig, error)
	// CoreShow is one config object with its text.
	CoreShow(context.Context, CoreQuery) (CoreObject, error)
	CoreObjects(context.Context, CoreQuery) ([]CoreObject, error)
	CoreHistory(context.Context, CoreQuery) ([]CoreObject, error)
	// CoreRollout is the last one; NotFound: there was none.
	CoreRollout(context.Context) (CoreRollout, error)
	// CoreWatch gives what changes from now on to yield.
	CoreWatch(ctx context.Context, q CoreQuery, yield func(CoreObject) error) error
	// CoreBackup gives a backup to yield, in pieces.
	CoreBackup(ctx context.Context, yield func([]byte) error) error
	// CoreOrder has the POP that the change names carry it out, and waits for
	// its answer for a while.
	CoreOrder(ctx context.Context, call, by string, c Change) (Result, error)
	// CoreChange carries out one of CoreVerbs.
	CoreChange(ctx context.Context, verb, by string, c CoreChange) (CoreResult, error)
}

// CoreVerbs are the changes of the core.
var CoreVerbs = []string{"token", "admit", "remove", "forget", "revoke", "leave", "put", "delete", "rollback", "abort", "finish"}

var errNoCore = Errorf(NotFound, "this POP has no control core: core.mode is none in its configuration, or it has no services")

func (s *Server) core() (Core, error) {
	if s.opt.Core == nil {
		return nil, errNoCore
	}
	return s.opt.Core, nil
}

// coreChange carries out a change for a caller who MayChange.
func (s *Server) coreChange(ctx context.Context, verb string, c CoreChange) (CoreResult, error) {
	b, err := s.core()
	if err != nil {
		return CoreResult{}, err
	}
	c.Why = strings.TrimSpace(c.Why)
	if c.Why == "" || len(c.Why) > 1000 || strings.ContainsFunc(c.Why, unicode.IsControl) {
		return CoreResult{}, Errorf(Invalid, "why: the core keeps why something was changed: want 1 to 1000 bytes of text on one line")
	}
	return b.CoreChange(ctx, verb, Caller(ctx), c)
}
