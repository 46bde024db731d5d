package config

import (
	"math"
	"strconv"

	"github.com/catchment/catchment/policy"
)

// Matrix says what is known beforehand of where load goes when a POP steps
// back. What is observed counts above it.
type Matrix struct {
	File      string // of measured catchments, see pop/matrix; empty: none
	Receivers []Receiver
}

// Receiver is a POP that gets a part of another's load.
type Receiver struct {
	Of    policy.POPID // whose load it is
	POP   policy.POPID
	Share float64 // of all that the receivers of Of get; they need not add up to 1
}

type rawMatrix struct {
	File      string        `mapstructure:"file"`
	Receivers []rawReceiver `mapstructure:"receivers"`
}

type rawReceiver struct {
	Of    string  `mapstructure:"of"`
	POP   string  `mapstructure:"pop"`
	Share float64 `mapstructure:"share"`
}

// matrix checks what is known of responses. The fleet is there already.
func (b *builder) matrix(o Options) {
	r := &b.raw.Matrix
	if r.File != "" {
		b.absolute("matrix.file", r.File)
		if o.Matrix != nil {
			if err := o.Matrix(r.File); err != nil {
				b.refuse("matrix.file", "%v", err)
			}
		}
	}
	b.out.Matrix.File = r.File
	pops := map[string]bool{b.raw.POP: true}
	for _, p := range b.out.Fleet.Peers {
		pops[string(p.POP)] = true
	}
	for _, p := range b.out.Fleet.RIB {
		pops[string(p.POP)] = true
	}
	seen := map[[2]string]bool{}
	for i, e := range r.Receivers {
		path := "matrix.receivers[" + strconv.Itoa(i) + "]"
		if e.Of == "" {
			e.Of = b.raw.POP
		}
		if !b.name(path+".pop", "the POP that gets load", e.POP) || !b.name(path+".of", "the POP whose load it is", e.Of) {
			continue
		}
		switch key := [2]string{e.Of, e.POP}; {
		case e.POP == e.Of:
			b.refuse(path+".pop", "%s cannot receive its own load", e.POP)
		case seen[key]:
			b.refuse(path+".pop", "%s is in the list already as a receiver of %s", e.POP, e.Of)
		default:
			seen[key] = true
		}
		if !(e.Share > 0) || math.IsInf(e.Share, 0) {
			b.refuse(path+".share", "%v: want more than zero, such as 0.6", e.Share)
		}
		for key, pop := range map[string]string{"pop": e.POP, "of": e.Of} {
			if !pops[pop] && !b.out.Relay.On() { // the tree tells of POPs that no key names
				b.warnf(path+"."+key, "%s is not a POP of the fleet section: not used until it is", pop)
			}
		}
		b.out.Matrix.Receivers = append(b.out.Matrix.Receivers, Receiver{Of: policy.POPID(e.Of), POP: policy.POPID(e.POP), Share: e.Share})
	}
}
