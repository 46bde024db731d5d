package config

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/plan"
	"github.com/catchment/catchment/policy/shed"
)

// Modes of balance.
const (
	BalanceOff     = "off"
	BalanceObserve = "observe" // what it would do is journaled and shown
	BalanceAct     = "act"
)

// Balance says whether and how load moves slices to other POPs.
type Balance struct {
	Mode     string
	Every    time.Duration // between rounds
	Unit     load.Unit     // of loads and capacities
	Services []policy.ServiceID
	Shed     shed.Config
	// Cost is what a unit of load costs at each POP, where moved bytes cost 1.
	Cost map[policy.POPID]float64
	// Lend is what DNS may move before BGP does.
	Lend shed.Lending
}

// On reports whether there are rounds at all, Acts whether they move anything.
func (b Balance) On() bool   { return b.Mode == BalanceObserve || b.Mode == BalanceAct }
func (b Balance) Acts() bool { return b.Mode == BalanceAct }

// Moves reports whether load may move the slices of a service.
func (b Balance) Moves(id policy.ServiceID) bool { return slices.Contains(b.Services, id) }

type rawBalance struct {
	Mode      string        `mapstructure:"mode"`
	Every     time.Duration `mapstructure:"every"`
	Unit      string        `mapstructure:"unit"`
	Services  []string      `mapstructure:"services"`
	Trigger   float64       `mapstructure:"trigger"`
	Target    float64       `mapstructure:"target"`
	Return    float64       `mapstructure:"return"`
	Receive   float64       `mapstructure:"receive"`
	Margin    float64       `mapstructure:"margin"`
	Growth    float64       `mapstructure:"growth"`
	Noise     float64       `mapstructure:"noise"`
	Settle    time.Duration `mapstructure:"settle"`
	Turn      time.Duration `mapstructure:"turn"`
	Stale     time.Duration `mapstructure:"stale"`
	Hold      time.Duration `mapstructure:"hold"`
	Deepest   string        `mapstructure:"deepest"`
	Keep      int           `mapstructure:"keep"`
	Normal    int           `mapstructure:"normal"`
	Knobs     int           `mapstructure:"knobs"`
	Step      float64       `mapstructure:"step"`
	Tolerance float64       `mapstructure:"tolerance"`
	Surprise  float64       `mapstructure:"surprise"`
	Absorb    string        `mapstructure:"absorb"`
	Effort    int           `mapstructure:"effort"`
	Weights   struct {
		Cost float64 `mapstructure:"cost"`
		Move float64 `mapstructure:"move"`
		Jump float64 `mapstructure:"jump"`
		Hops float64 `mapstructure:"hops"`
		Step float64 `mapstructure:"step"`
	} `mapstructure:"weights"`
	Costs []rawCost `mapstructure:"costs"`
	DNS   struct {
		Most   float64       `mapstructure:"most"`
		Step   float64       `mapstructure:"step"`
		Part   float64       `mapstructure:"part"`
		Settle time.Duration `mapstructure:"settle"`
	} `mapstructure:"dns"`
}

type rawCost struct {
	POP  string  `mapstructure:"pop"`
	Cost float64 `mapstructure:"cost"`
}

// longestHold is how long the core keeps a reservation at most.
const longestHold = 10 * time.Minute

// balance checks the section of the load loop. Services, load, fleet and core
// are there already.
func (b *builder) balance() {
	r, c := &b.raw.Balance, &b.out.Balance
	b.oneOf("balance.mode", r.Mode, BalanceOff, BalanceObserve, BalanceAct)
	c.Mode, c.Every = r.Mode, r.Every
	if r.Every < time.Second {
		b.refuse("balance.every", "%s: want at least 1s", r.Every)
	}
	b.oneOf("balance.unit", r.Unit, "in", "out", "requests", "connections")
	if u, err := load.ParseUnit(r.Unit); err == nil {
		c.Unit = u
	}
	w := r.Weights
	c.Shed = shed.Config{
		Trigger: r.Trigger, Target: r.Target, Return: r.Return, Receive: r.Receive, Z: r.Margin, Growth: r.Growth, Noise: r.Noise,
		Settle: r.Settle, Turn: r.Turn, Stale: r.Stale, Hold: r.Hold, Keep: r.Keep, Normal: r.Normal, Knobs: r.Knobs,
		Step: r.Step, Tolerance: r.Tolerance, Surprised: r.Surprise, Effort: r.Effort, Deepest: 1,
		Weights: plan.Weights{Cost: w.Cost, Move: w.Move, Jump: w.Jump, Hops: w.Hops, Step: w.Step},
	}
	b.oneOf("balance.absorb", r.Absorb, "rest", "cascade", "all")
	c.Shed.Absorb = map[string]shed.Absorb{"cascade": shed.AbsorbCascade, "all": shed.AbsorbAll}[r.Absorb]
	if err := c.Shed.Check(); err != nil {
		b.refuse("balance", "%s", strings.TrimPrefix(err.Error(), "shed: "))
	}
	for key, x := range map[string]float64{"surprise": r.Surprise, "weights.cost": w.Cost, "weights.move": w.Move, "weights.jump": w.Jump, "weights.hops": w.Hops, "weights.step": w.Step} {
		if x < 0 {
			b.refuse("balance."+key, "%v: want zero or more", x)
		}
	}
	if r.Hold > longestHold {
		b.refuse("balance.hold", "%s: want at most %s, the longest that the core keeps a reservation", r.Hold, longestHold)
	}
	b.atLeast("balance.knobs", r.Knobs, 0)
	b.atLeast("balance.effort", r.Effort, 0)
	b.balanced()
	b.costs()
	if c.On() {
		b.balanceNeeds()
	}
}

// balanced finds the services that load may move, and the deepest rung.
func (b *builder) balanced() {
	r, c := &b.raw.Balance, &b.out.Balance
	named := func(s *Service) bool { return slices.Contains(r.Services, string(s.ID)) }
	for i, name := range r.Services {
		if b.names[name] == "" {
			b.refuse("balance.services["+strconv.Itoa(i)+"]", "%q: want the name of a service", name)
		}
	}
	var first *Service
	for i := range b.out.Services {
		s := &b.out.Services[i]
		switch {
		case s.Always && named(s):
			b.refuse("balance.services", "%s is announced always: load does not move it", s.ID)
			continue
		case s.Always || len(r.Services) > 0 && !named(s):
			continue
		case first == nil:
			first = s
		case c.On() && !sameRungs(first, s):
			b.refuse("balance.services", "the ladders of %s and %s have other rungs: how load moves is learned by rung, name services of one ladder", first.ID, s.ID)
		}
		c.Services = append(c.Services, s.ID)
	}
	if first == nil || r.Deepest == "" {
		return
	}
	names := []string{"normal"}
	for _, rung := range first.Ladder[1:] {
		names = append(names, rung.Name)
	}
	names = append(names, "withdraw")
	l := slices.Index(names, r.Deepest)
	if l < 1 {
		b.refuse("balance.deepest", "%q: want one of %s", r.Deepest, strings.Join(names[1:], ", "))
		return
	}
	c.Shed.Deepest = shed.Level(l)
}

func sameRungs(a, b *Service) bool {
	return slices.EqualFunc(a.Ladder[1:], b.Ladder[1:], func(x, y Rung) bool { return x.Name == y.Name })
}

func (b *builder) costs() {
	for i, r := range b.raw.Balance.Costs {
		path := "balance.costs[" + strconv.Itoa(i) + "]"
		if !b.name(path+".pop", "the name of a POP", r.POP) {
			continue
		}
		if _, twice := b.out.Balance.Cost[policy.POPID(r.POP)]; twice {
			b.refuse(path+".pop", "%s is in the list already", r.POP)
		}
		if b.out.Balance.Cost == nil {
			b.out.Balance.Cost = map[policy.POPID]float64{}
		}
		b.out.Balance.Cost[policy.POPID(r.POP)] = r.Cost
	}
}

// balanceNeeds checks what the loop cannot do without.
func (b *builder) balanceNeeds() {
	c := &b.out.Balance
	if c.Acts() && b.out.Core.Mode == "" {
		b.refuse("balance.mode", "act needs the control core, where room is reserved (core.mode); observe does not")
	}
	if c.Acts() && b.out.Core.Alone {
		b.refuse("balance.mode", "act needs a control core that the POPs share (core.listen, or core.mode follow): in its own "+
			"nobody else sees what is reserved; observe does not")
	}
	if len(c.Services) == 0 {
		b.refuse("balance.services", "no service that load could move: all are announced always")
	}
	for i := range b.out.Services {
		s := &b.out.Services[i]
		if c.Moves(s.ID) && len(s.Slices) < 2 {
			b.warnf("balance.services", "%s has one prefix: load can move all of it or nothing; several prefixes make small steps", s.ID)
		}
		if c.Moves(s.ID) && s.Rungs < 2 {
			b.warnf("balance.services", "%s has no ladder: load can only withdraw its prefixes", s.ID)
		}
	}
	if b.out.Load.Capacity[c.Unit] == 0 && b.out.Load.HostCapacity[c.Unit] == 0 && !(c.Unit <= load.Out && len(b.out.Load.Links) > 0) {
		b.warnf("balance.unit", "no capacity in %s (load.capacity): nothing is shed, and nobody sends us anything", c.Unit)
	}
	if n := b.others(); n > 0 && n < c.Shed.Normal {
		b.warnf("balance.normal", "%d, but fleet names %d other: no step ever leaves so many at the normal announcement, nothing is shed", c.Shed.Normal, n)
	}
	if len(b.out.Fleet.Peers) == 0 && (b.out.Core.Mode == "" || b.out.Core.Alone) {
		b.warnf("balance.mode", "no fleet.peers: nobody says what he carries, so nobody gets anything")
	}
}
