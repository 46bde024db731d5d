package main

import (
	"context"
	"net/netip"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/pop/fleet"
	"github.com/catchment/catchment/pop/journal"
	"github.com/catchment/catchment/pop/metrics"
)

// announcer is the speaker, with BFD's word on each neighbor. It is looked up
// late because controller and speaker know each other.
type announcer struct{ d *parts }

func (a announcer) Set(ctx context.Context, set []bgp.Announcement) error {
	return a.d.set(ctx, set)
}

func (a announcer) Announced() []bgp.Announcement { return a.d.announced() }

func (a announcer) Peers() []bgp.PeerState {
	peers := a.d.speaker.Peers()
	state := map[netip.Addr]string{}
	for _, s := range a.d.bfd.Sessions() {
		state[s.Neighbor.WithZone("")] = s.State.String()
	}
	for i := range peers {
		peers[i].BFD = state[peers[i].Address.WithZone("")]
	}
	return peers
}

func journalStats(j *journal.Journal) metrics.Journal {
	s := j.Stats()
	return metrics.Journal{Written: s.Written, Errors: s.Errors, Dropped: s.Dropped, Failing: j.Err() != nil}
}

// fleetStats tells what the exchange with other POPs counts, with every
// reason to refuse from the start.
func fleetStats(f *fleet.Fleet, now time.Time) metrics.Fleet {
	refused := f.Refused()
	if refused == nil {
		return metrics.Fleet{} // neither asked nor asking
	}
	out := metrics.Fleet{Refused: map[string]uint64{}}
	for _, why := range []fleet.Refusal{
		fleet.Forged, fleet.Malformed, fleet.TooLarge, fleet.UnknownPOP, fleet.WrongPOP, fleet.Replayed, fleet.Overtaken,
	} {
		out.Refused[string(why)] = refused[why]
	}
	for _, p := range f.Peers(now) {
		if p.URL != "" {
			out.Peers = append(out.Peers, metrics.FleetPeer{POP: p.POP, RTT: p.RTT, Exchanges: p.Exchanges, Failures: p.Failures})
		}
	}
	return out
}
