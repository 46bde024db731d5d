package main

import (
	"encoding/json"
	"time"

	"github.com/catchment/catchment/pop"
	"github.com/catchment/catchment/pop/turns"
)

// buildTurns makes the keeper of this POP's place in the core's queue of
// drains; none where POPs share no core, nor in a dry run: the place is that of
// the daemon that announces. Without guards.drains it keeps nothing.
func (d *parts) buildTurns() {
	if core := d.shared(); core != nil && !d.dry {
		d.turns = turns.New(turns.Options{POP: d.cfg.POP, Store: sole{core.Core(), core}, Log: d.log, OnChange: func() { d.controller.Look() }})
	}
}

// turnsOf is the queue as the controller sees it; nil where there is none.
func (d *parts) turnsOf() pop.Turns {
	if d.turns == nil {
		return nil
	}
	return d.turns
}

// about is what this POP says of itself to the others.
func (d *parts) about() json.RawMessage {
	return d.steer.seen(d.cost.tell(d.controller.About()), time.Now())
}
