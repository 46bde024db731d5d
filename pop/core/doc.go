// Package core is the control core: what the POPs of a fleet share, and only
// that. It holds config objects with their history, membership, operators'
// intents, reservations and the response matrix, one key per object, behind a
// small interface of its own. The engine beneath is etcd: one member embedded
// in the daemon by default, three or five for a fleet, an external cluster by
// endpoints, or a model in memory for tests and simulations.
//
// # Use
//
//	c, err := core.NewEmbedded(core.Embedded{Dir: dir}, core.Options{Log: log})
//	go c.Run(ctx)                 // starts the engine, returns when all of it has stopped
//	<-c.Ready()
//	o, err := c.Put(ctx, core.Write{Who: "ann", Why: "ticket 7"}, key, value, core.Absent)
//	err = c.Watch(ctx, core.All(core.KindIntent), 0, func(b core.Batch) error { ... })
//
// # What holds
//
//   - Every state of the core has one number, its revision. It only grows, it
//     orders everything, and no wall clock ever does. Object.At is for people.
//   - A Txn happens at one revision or not at all. Its conditions are on
//     revisions of objects, so that who lost a race learns it (Conflict).
//   - An error that is Uncertain leaves open whether the write happened. Read
//     again, or repeat it under the same condition.
//   - Watch delivers each revision once, in order, whole. Where the history it
//     needs is gone it delivers a snapshot and says so.
//   - Reads are linearizable, or local and possibly old with Stale; those work
//     without a quorum.
//   - Every write says who and why, is bounded in size, and is limited in rate
//     for each writer. The limit is this process's: it protects the core from
//     a loop in one daemon, not from a forger.
//
// # What it never does
//
// It judges no health, moves no traffic and decides no policy. Logs, samples,
// per-flow and per-query data are not for it. Constructors start nothing; Run
// joins everything it started.
package core
