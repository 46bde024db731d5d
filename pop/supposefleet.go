package pop

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
)

// meant is a supposition with a POP's name in its place: what is no service
// may be the name of a POP.
func (s *situation) meant(what api.Supposition) api.Supposition {
	switch what.Kind {
	case api.SupposePOP, api.SupposeNeighbor, api.SupposeConfig, api.SupposeCheck, api.SupposeStop:
		return what
	}
	if what.POP == "" && what.Service != "" && s.service(what.Service) == nil {
		if id := policy.POPID(what.Service); id == s.cfg.POP || s.peer(id) >= 0 {
			what.POP, what.Service = id, ""
		}
	}
	if what.Kind != api.SupposeCapacity && what.POP == s.cfg.POP {
		what.POP = ""
	}
	return what
}

// peer is the place of another POP in the fleet, -1 if there is none such.
func (s *situation) peer(id policy.POPID) int {
	return slices.IndexFunc(s.in.Fleet.Peers, func(p policy.Peer) bool { return p.POP == id })
}

// noPOP says which POPs there are.
func (s *situation) noPOP(id policy.POPID) error {
	var names []string
	for _, p := range s.in.Fleet.Peers {
		names = append(names, string(p.POP))
	}
	if len(names) == 0 {
		return api.Errorf(api.NotFound, "no other POP is configured (fleet.peers or fleet.rib)")
	}
	return api.Errorf(api.NotFound, "no other POP %q; there are: %s", id, strings.Join(names, ", "))
}

// supposeRung pins to a rung by its name, or by how often it prepends.
func (s *situation) supposeRung(what api.Supposition) error {
	type pin struct {
		service policy.ServiceID
		stance  policy.Stance
	}
	var pins []pin
	for i := range s.cfg.Services {
		svc := &s.cfg.Services[i]
		if what.Service != "" && svc.ID != what.Service || what.Slice != (policy.SliceID{}) && !slices.Contains(svc.Slices, what.Slice) {
			continue
		}
		rung, err := rungOf(svc, what)
		if err != nil {
			return err
		}
		pins = append(pins, pin{svc.ID, policy.Stance{Action: policy.Announce, Rung: rung}})
	}
	if len(pins) == 0 {
		return api.Errorf(api.NotFound, "no slice %v of a service here", what.Slice)
	}
	what.Kind = api.SupposePin
	for _, p := range pins {
		one := what
		if what.Slice == (policy.SliceID{}) {
			one.Service = p.service
		}
		one.Stance = &p.stance
		if what.POP != "" {
			if err := s.supposeElsewhere(one); err != nil {
				return err
			}
			continue
		}
		s.ask(one)
	}
	return nil
}

// rungOf is the number of the rung that is meant.
func rungOf(svc *config.Service, what api.Supposition) (int, error) {
	n, err := strconv.Atoi(what.Rung)
	count := err == nil && n > 0 && what.Kind == api.SupposePrepend
	var names []string
	for i, r := range svc.Ladder {
		more := r.Prepend - svc.Normal.Prepend
		if r.Name == what.Rung || count && more == n && i > 0 {
			return i, nil
		}
		name := r.Name
		if more != 0 {
			name += fmt.Sprintf(" (prepends %d more)", more)
		}
		names = append(names, name)
	}
	if count {
		return 0, api.Errorf(api.NotFound, "no rung of %s prepends %d more than normal; there are: %s", svc.ID, n, strings.Join(names, ", "))
	}
	return 0, api.Errorf(api.NotFound, "%s has no rung %q; there are: %s", svc.ID, what.Rung, strings.Join(names, ", "))
}

// supposeElsewhere has another POP announce otherwise. Its guards are not
// asked: they are its own.
func (s *situation) supposeElsewhere(what api.Supposition) error {
	i := s.peer(what.POP)
	if i < 0 {
		return s.noPOP(what.POP)
	}
	if err := s.known(what.Service, what.Slice); err != nil {
		return err
	}
	var to policy.Stance
	switch what.Kind {
	case api.SupposeDrain, api.SupposeWithdraw:
	case api.SupposeUndrain:
		to.Action = policy.Announce
	case api.SupposePin:
		to = *what.Stance
	default:
		return api.Errorf(api.Invalid, "plan %s: of this POP only", what.Kind)
	}
	p := &s.in.Fleet.Peers[i]
	delete(s.quiet, p.POP)
	before := *p
	p.Heard = s.now
	if !p.Asked.IsZero() {
		p.Asked = s.now
	}
	was := p.Slices
	p.Slices = map[policy.SliceID]policy.PeerSlice{}
	for id, c := range was {
		p.Slices[id] = c
	}
	for j := range s.cfg.Services {
		svc := &s.cfg.Services[j]
		for _, id := range svc.Slices {
			if what.Service != "" && svc.ID != what.Service || what.Slice != (policy.SliceID{}) && id != what.Slice {
				continue
			}
			c := p.Slices[id]
			c.Stance, c.Leaving = to, false
			p.Slices[id] = c
			s.shift(p.POP, svc.ID, id, to)
		}
	}
	if !to.Announced() {
		s.lacking(before)
	}
	if note := fmt.Sprintf("What the guards of %s would say is not asked: only %s can tell (catchment plan there).", p.POP, p.POP); !slices.Contains(s.notes, note) {
		s.notes = append(s.notes, note)
	}
	return nil
}

// shift notes that a POP announces a slice otherwise; the last word counts.
func (s *situation) shift(id policy.POPID, svc policy.ServiceID, slice policy.SliceID, to policy.Stance) {
	s.shifts = slices.DeleteFunc(s.shifts, func(o shift) bool { return o.pop == id && o.slice == slice })
	s.shifts = append(s.shifts, shift{pop: id, service: svc, slice: slice, to: to})
}

// shiftAll notes it of all slices.
func (s *situation) shiftAll(id policy.POPID, to policy.Stance) {
	for i := range s.cfg.Services {
		for _, slice := range s.cfg.Services[i].Slices {
			s.shift(id, s.cfg.Services[i].ID, slice, to)
		}
	}
}

// supposeCapacity makes a POP one that can carry another part of what it can.
func (s *situation) supposeCapacity(what api.Supposition) error {
	if what.POP == "" && what.Service != "" {
		return s.noPOP(policy.POPID(what.Service))
	}
	if what.Slice != (policy.SliceID{}) {
		return api.Errorf(api.Invalid, "plan capacity: it is of a POP, not of a slice")
	}
	if what.POP == "" {
		what.POP = s.cfg.POP
	}
	if what.POP == s.cfg.POP {
		if s.in.Capacity == 0 {
			s.in.Capacity = 1
		}
		s.in.Capacity *= what.Capacity
	} else if i := s.peer(what.POP); i >= 0 {
		s.in.Fleet.Peers[i].Capacity *= what.Capacity
	} else {
		return s.noPOP(what.POP)
	}
	if s.capacity == nil {
		s.capacity = map[policy.POPID]float64{}
	}
	s.capacity[what.POP] = s.scale(what.POP) * what.Capacity
	return nil
}
