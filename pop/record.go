package pop

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/guard"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/journal"
)

// guardNames are the alarms that come and go with the guards' words.
var guardNames = []string{
	guard.NameOwnPrefix, guard.NameDeadman, guard.NameLastPOP, guard.NameStale, guard.NameCorrelated, guard.NameIsolated, guard.NameBlast, policy.AlarmInvalid,
}

// record writes down what a decision changed: in the journal, the log, the
// metrics and the state on disk, and reports whether there was anything. A reason whose detail alone differs (a time
// that runs) is no change.
func (c *Controller) record(d policy.Decision, in policy.Input, now time.Time) (changed bool) {
	for _, s := range d.Slices {
		old := c.reasons[s.Slice]
		if !s.Changed && old.Code == s.Reason.Code && old.Guard == s.Reason.Guard {
			continue
		}
		changed = true
		c.reasons[s.Slice] = s.Reason
		c.note(c.entryDecision(s, in, now))
		c.log.Info("decision", "slice", s.Slice, "service", s.Service, "stance", s.Stance, "before", s.Before, "reason", s.Reason)
		c.meter.count(s)
	}
	for _, al := range c.alarms.guards(d.Alarms, guardNames, now) {
		c.log.Warn("alarm", "name", al.Name, "slice", al.Slice, "detail", al.Detail)
		c.note(entryAlarm(al))
	}
	if err := c.opt.Journal.Err(); c.alarms.set("journal", err != nil, fmt.Sprintf("the journal is not written: %v", err), now) {
		c.log.Error("the journal is not written", "err", err)
	}
	if err := c.opt.Store.Err(); c.alarms.set("state", err != nil, fmt.Sprintf("the state is not written, a restart would begin from an older one: %v", err), now) {
		c.log.Error("intents and stances would not survive a restart", "err", err)
	}
	c.orphans(now)
	c.overdue(d, now)
	if changed {
		c.opt.Store.Save(c.saved())
	}
	return changed
}

func (c *Controller) note(e journal.Entry) {
	e.POP = c.cfg.POP
	c.opt.Journal.Append(e)
}

// entryDecision says when and what was decided, from what, and what the guards
// said. The time is the one that they reckon with.
func (c *Controller) entryDecision(s policy.SliceDecision, in policy.Input, now time.Time) journal.Entry {
	e := journal.Entry{
		Time: now, Kind: journal.Decision, Service: s.Service, Slice: s.Slice,
		Before: &s.Before, After: &s.Stance, Reason: &s.Reason,
		Text: fmt.Sprintf("%s: %v because %v", s.Slice, s.Stance, s.Reason),
	}
	if s.Before != s.Stance {
		e.Text = fmt.Sprintf("%s: %v -> %v because %v", s.Slice, s.Before, s.Stance, s.Reason)
	}
	if a, _, ok := c.index.decided(s); ok {
		e.Attributes = encode(api.AttributesOf(a))
	}
	for _, g := range s.Guards {
		e.Guards = append(e.Guards, journal.GuardVerdict{Name: g.Guard, Verdict: g.Answer.String(), Detail: g.Detail})
	}
	inputs := in
	inputs.Services = nil // in the configuration; one service only matters here
	inputs.Health = map[policy.ServiceID]policy.Health{s.Service: in.Health[s.Service]}
	inputs.Invalid = nil
	if why := in.Invalid[s.Slice]; why != "" {
		inputs.Invalid = map[policy.SliceID]string{s.Slice: why}
	}
	inputs.Shed = nil
	if w, ok := in.Shed[s.Slice]; ok {
		inputs.Shed = map[policy.SliceID]policy.Shed{s.Slice: w}
	}
	inputs.Fleet.Peers = nil
	for _, p := range in.Fleet.Peers {
		p.Slices = map[policy.SliceID]policy.PeerSlice{s.Slice: p.Slices[s.Slice]}
		inputs.Fleet.Peers = append(inputs.Fleet.Peers, p)
	}
	e.Inputs = encode(inputs)
	return e
}

// encode never fails for our own plain types; what cannot be said is left out.
func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return b
}

func entryStart(version string, slices, intents int) journal.Entry {
	return journal.Entry{Kind: journal.Start, Text: fmt.Sprintf("catchmentd %s started; %d slices and %d intents remembered", version, slices, intents)}
}

func entryIntent(in policy.Intent, what, by string) journal.Entry {
	kind := string(in.Kind)
	if in.Route != nil {
		kind = in.What()
	}
	text := fmt.Sprintf("%s of %s %s", kind, scope(in.Service, in.Slice), what)
	if in.Why != "" {
		text += ": " + in.Why
	}
	if in.Force && in.Route == nil {
		text += " (forced: guards do not count)"
	}
	return journal.Entry{Kind: journal.Intent, Service: in.Service, Slice: in.Slice, By: by, Text: text, Inputs: encode(in)}
}

func entryAlarm(al api.Alarm) journal.Entry {
	return journal.Entry{Kind: journal.Alarm, Service: al.Service, Slice: al.Slice, Text: al.Name + ": " + al.Detail}
}

func scope(svc policy.ServiceID, slice policy.SliceID) string {
	switch {
	case slice != policy.SliceID{}:
		return slice.String()
	case svc != "":
		return string(svc)
	}
	return "all services"
}

// OnPeer is for the speaker: a session changed its state.
func (c *Controller) OnPeer(e bgp.PeerEvent) {
	text := fmt.Sprintf("neighbor %v (AS %d): %s -> %s", e.Peer.Address, e.Peer.AS, e.Was, e.Peer.State)
	if e.Peer.LastError != "" {
		text += ": " + e.Peer.LastError
	}
	c.opt.Journal.Append(journal.Entry{POP: c.opt.Config.POP, Kind: journal.Peer, Text: text})
	c.Look()
}

// OnBFD is for the BFD sessions: one changed its state.
func (c *Controller) OnBFD(neighbor netip.Addr, state, was, diagnostic string) {
	c.opt.Journal.Append(journal.Entry{
		POP: c.opt.Config.POP, Kind: journal.Peer, Text: fmt.Sprintf("BFD with %v: %s -> %s: %s", neighbor, was, state, diagnostic),
	})
	c.Look()
}
