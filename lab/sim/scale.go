package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/catchment/catchment/lab/goal"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/plan"
	"github.com/catchment/catchment/policy/shed"
	"golang.org/x/sys/unix"
)

// Size is one point of the scale experiment.
type Size struct{ POPs, Slices, Networks int }

// Scale measures a planning round for a large fleet: demand by client network
// is folded into demand, catchments and hints of where load goes, a view is
// built, and one POP's round is played with a tenth of the POPs overloaded.
// Time and memory are those of the whole; the view and the matrix exist
// before, as they do in a daemon.
func Scale(largest Size, repeat int) (*Report, error) {
	rep := &Report{Name: "scale", Title: "One planning round",
		Head: []string{"POPs", "slices", "networks", "fold ms", "round ms", "together ms", "CPU ms", "peak MiB", "overloaded", "overload left %"}}
	sizes := []Size{
		{largest.POPs / 4, largest.Slices, largest.Networks}, {largest.POPs / 2, largest.Slices, largest.Networks},
		{largest.POPs, largest.Slices / 4, largest.Networks}, {largest.POPs, largest.Slices / 2, largest.Networks},
		{largest.POPs, largest.Slices, largest.Networks / 10}, {largest.POPs, largest.Slices, largest.Networks / 3}, largest,
	}
	var last measurement
	for _, s := range sizes {
		w := newNetworks(7, s)
		var err error
		if last, err = w.measure(repeat); err != nil {
			return nil, err
		}
		rep.Add(s.POPs, s.Slices, s.Networks, ms(last.fold), ms(last.round), ms(last.fold+last.round), ms(last.cpu), float64(last.peak)/(1<<20), last.over, 100*last.left)
	}
	rep.Notes = append(rep.Notes, fmt.Sprintf("Fastest of %d; GOMAXPROCS %d. The planner uses one core, so CPU time is what it takes where nothing else runs; the goal is judged by it.", repeat, runtime.GOMAXPROCS(0)))
	rep.Goals = append(rep.Goals, goal.AtMost("round-500-pops-cpu-ms", ms(last.cpu), 1000),
		goal.AtMost("round-500-pops-mib", float64(last.peak)/(1<<20), 1024))
	return rep, nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

type measurement struct {
	fold, round time.Duration
	cpu         time.Duration // of the process, in all its threads
	peak        uint64
	over        int
	left        float64 // part of the overload that the fleet's plan leaves
}

// networks is a world without a graph: each client network has POPs in order
// of distance, as measurements of all its paths would give.
type networks struct {
	size   Size
	names  []policy.POPID
	weight []float64
	next   []plan.Choice // of each network, nearest first
	cap    []float64
}

func newNetworks(seed uint64, size Size) *networks {
	r := rand.New(rand.NewPCG(seed, 71))
	w := &networks{size: size}
	x, y := make([]float64, size.POPs), make([]float64, size.POPs)
	for p := range size.POPs {
		x[p], y[p] = r.Float64(), r.Float64()
		w.names = append(w.names, policy.POPID(fmt.Sprintf("P%03d", p)))
	}
	for range size.Networks {
		cx, cy := r.Float64(), r.Float64()
		var c plan.Choice
		dist := [len(c.POP)]float64{}
		for p := range size.POPs {
			d := math.Hypot(x[p]-cx, y[p]-cy) * (0.8 + 0.4*r.Float64())
			for k := range c.POP {
				if k >= c.N || d < dist[k] {
					copy(c.POP[k+1:], c.POP[k:len(c.POP)-1])
					copy(dist[k+1:], dist[k:len(dist)-1])
					c.POP[k], dist[k] = int32(p), d
					c.N = min(c.N+1, len(c.POP))
					break
				}
			}
		}
		for k := range c.POP {
			c.Cost[k] = float32(dist[k])
		}
		w.next = append(w.next, c)
		w.weight = append(w.weight, r.ExpFloat64())
	}
	f := plan.NewFold(size.POPs, w.weight, w.next)
	for p, home := range f.Demand {
		room := 1.2 + 0.4*r.Float64()
		if p%10 == 0 {
			room = 0.75 + 0.2*r.Float64()
		}
		w.cap = append(w.cap, max(home, 0.2*float64(size.Networks)/float64(size.POPs))*room)
	}
	return w
}

// measure plays the round some times and returns the fastest.
func (w *networks) measure(repeat int) (measurement, error) {
	best := measurement{fold: time.Hour, round: time.Hour}
	for range repeat {
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start, cpu := time.Now(), spent()
		f := plan.NewFold(w.size.POPs, w.weight, w.next)
		fold, cpu := time.Since(start), spent()-cpu
		v := w.view(f)
		start, cpu = time.Now(), spent()-cpu
		cfg := shed.Defaults()
		cfg.Deepest = 2
		d, err := shed.Round(cfg, v, epoch.Add(time.Second))
		if err != nil {
			return best, err
		}
		round := time.Since(start)
		cpu = spent() - cpu
		runtime.ReadMemStats(&after)
		if fold+round < best.fold+best.round {
			best.fold, best.round, best.cpu = fold, round, cpu
		}
		best.peak = max(best.peak, after.Sys)
		before0, over := 0.0, 0
		for p, l := range f.Demand {
			if l > cfg.Trigger*w.cap[p] {
				over++
				before0 += l - cfg.Target*w.cap[p]
			}
		}
		best.over, best.left = over, d.Overload/max(before0, 1e-12)
	}
	return best, nil
}

// spent is the CPU time of this process so far.
func spent() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// view is what an overloaded POP of the fleet knows: each POP has responses
// that were seeded from where its networks would go next.
func (w *networks) view(f *plan.Fold) *shed.View {
	share := map[policy.POPID]float64{}
	all := 0.0
	for _, l := range f.Demand {
		all += l
	}
	for p, id := range w.names {
		share[id] = f.Demand[p] / all
	}
	m := shed.NewMatrix(shed.DefaultModel(), nil, 3)
	v := &shed.View{Me: w.names[0], Slices: Slices(w.size.Slices), Matrix: m}
	for p, id := range w.names {
		row := &shed.Row{Share: share[id], Levels: make([]shed.Response, 3), Split: shed.Split{}}
		for q, part := range f.Next(p) {
			row.Split[w.names[q]] = shed.Estimate{Mean: part, Var: part * (1 - part) / 60}
		}
		for l, leave := range []float64{0, 0.8, 1} {
			if l > 0 {
				row.Levels[l] = shed.Response{Leave: shed.Estimate{Mean: leave, Var: 0.001, Events: 1, At: epoch}, Split: row.Split}
			}
		}
		m.Rows[id] = row
		pop := shed.POP{ID: id, Capacity: w.cap[p], At: epoch, Load: map[policy.SliceID]float64{}, Level: map[policy.SliceID]shed.Level{}}
		for _, s := range v.Slices {
			pop.Load[s], pop.Level[s] = f.Demand[p]/float64(len(v.Slices)), 0
		}
		v.POPs = append(v.POPs, pop)
	}
	return v
}
