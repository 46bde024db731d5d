package steered

import (
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/steer"
)

// Why an answer is not that of the POP nearest to the client.
type Why uint8

// Whys.
const (
	Near Why = iota // it is
	Slow            // the client's network is slow
	Room            // the POP has lent its clients to one that has room reserved
	whys
)

func (w Why) String() string { return [...]string{"", "slow", "room"}[w] }

// Answered is how many answers sent clients to a POP who without steering would
// have been sent to Near.
type Answered struct {
	Near, To policy.POPID
	Why      Why
	N        uint64
}

// shards keep the servers' goroutines from counting at one place.
const shards = 8

// count notes an answer. Where the cheap list was used, the nearest POP is the
// one that the same throw of the dice gives of the normal list. Names under the
// slow label are asked for as such: nobody was moved by their answers.
func (n *Names) count(live *steer.Live, place steer.Place, got *steer.Share, named bool, random uint64) {
	near, why := got.POP, Near
	switch {
	case named:
	case place.Cheap():
		if near = draw(live.Shares(place.Normal()), random).POP; near != got.POP {
			why = Slow
		}
	case got.From >= 0:
		near, why = got.From, Room
	}
	n.counts[random%shards][(int(why)*n.pops+near)*n.pops+got.POP].Add(1)
}

// Answered gives the answers since n was made, those of each kind that there
// were.
func (n *Names) Answered() (out []Answered) {
	pops := n.now.Load().live.Chooser().POPs()
	for i := range n.counts[0] {
		sum := uint64(0)
		for k := range n.counts {
			sum += n.counts[k][i].Load()
		}
		if sum > 0 {
			out = append(out, Answered{pops[i/n.pops%n.pops], pops[i%n.pops], Why(i / n.pops / n.pops), sum})
		}
	}
	return out
}
