// Package steer plays what steering by cost does in virtual time: video players
// with buffers against policy/redirect, and a month of traffic with prices
// against policy/cost, beside sending everybody to the nearest POP, to the
// cheapest one, and pacing alone. It measures nothing real: what it says is what
// the decisions would do in worlds that are written down here.
package steer
