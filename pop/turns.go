package pop

import "github.com/catchment/catchment/policy"

// Turns is this POP's place in the control core's queue of drains
// (turns.Keeper). Neither call blocks.
type Turns interface {
	// Want says whether the POP wants a place, or keeps the one it has.
	Want(bool)
	Queue() policy.Queue
}

// queue has the place in the core's queue taken or given up.
func (c *Controller) queue(d policy.Decision) {
	if c.opt.Turns != nil {
		c.opt.Turns.Want(d.Turn.Ticket > 0)
	}
}
