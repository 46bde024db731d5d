// Package balance is the load loop: it makes a POP above its limit shed what
// other POPs have reserved room for, in steps that were predicted, and take it
// back when there is room again. policy/shed decides; this package puts
// together what it decides from and carries out what it decided.
//
// It owns what a POP remembers of its own steps (when it last stepped back,
// what is being checked), and writes to the control core only the POP's own
// reservations, claims and row of the response matrix. It announces nothing:
// what it wants goes to the controller as a wish (policy.Shed), which every
// guard judges, and is taken back where one refuses.
//
// # A round
//
//  1. Facts are gathered: own load by slice (Measure), those of the others as
//     they say (fleet.Load), reservations, claims and matrix at one revision
//     of the core. Facts.View makes a shed.View of them; it is pure.
//  2. shed.Round says which reservations are over and which steps to make.
//  3. For each step one transaction writes its reservations and its claim,
//     only if shed.Admit says so of the very revision it is made on.
//  4. The wish goes to the controller. If a guard refuses it, reservations and
//     claim are given back.
//  5. When every POP has a sample from after the settle time, what happened is
//     compared with what was forecast (shed.Surprise), and learned from.
//
// # What holds
//
//   - No step without room: reservations are in the core before the wish is,
//     and the guard headroom asks for them again when the route changes.
//   - A claim is in the core before the route is below normal, and goes only
//     after it is normal again. So the core's count of POPs that are normal on
//     a slice is never too high.
//   - With the core out of reach, with its own load unknown, or with a step
//     not settled, nothing moves in either direction.
//   - A restart moves nothing: wishes are in the state of the controller,
//     times and checks in a file of this package.
//   - No wall clock is compared with another POP's: ages travel, not times, and
//     a reservation counts as applied from when this POP first saw it so.
package balance
