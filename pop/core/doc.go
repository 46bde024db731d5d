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
// # How it fails
//
//   - No quorum: writes and plain reads are Unavailable, Stale reads and Status
//     go on, watches wait and go on afterwards. The engine elects a new leader
//     after Embedded.Election, writes pass again about twice that later.
//   - Disk nearly full (Embedded.MinFree): writes are Full, reads go on.
//   - Database over its quota: writes are Full at all members until a
//     compaction (hourly, or Compact) and a defragmentation made room; then the
//     alarm is taken back without anybody's help.
//   - The engine breaks (bad disk, damaged files): where etcd would end the
//     process it ends the engine only. It is started again where that is
//     possible; otherwise Run returns and only a new process can go on. Either
//     way the POP is isolated from its core, which is no reason to stop.
//
// # Operation
//
// Members. Begin alone, or with Peers.First, the same at each. To add a member
// to a core: Admit at any member, then start it with what Admit returned and
// Peers.Join; it votes once it has caught up. A core that is alone must be
// restarted with Peers first, then it can admit; go from one to three without
// a long stop at two, which live only both. To replace a member that is dead:
// Remove, then Admit another. To go: Leave, then delete the directory. The
// engine refuses changes until it has seen all voters for five seconds, and
// such that would lose the quorum.
//
// Backup and restore. Backup writes one file from any running member. To
// restore, stop every member, move the directories away, call Restore with
// that file and the same Peers.First at each, start them. Revisions go on
// above all that was written before, so watchers and DNS serials never go
// back. One lost member of three needs no restore: replace it.
//
// Certificates. OpenCA once for a fleet, in one POP; its directory is the one
// secret to be kept and backed up. NewToken for each POP that is to join, Join
// there with a key it keeps, Renew at two thirds of the certificate's life.
// Revoke and Publish; every member runs FollowTrust. To change the authority:
// Rotate, Publish, let everybody renew, Forget, Publish.
//
// # What it never does
//
// It judges no health, moves no traffic and decides no policy. Logs, samples,
// per-flow and per-query data are not for it. Constructors start nothing; Run
// joins everything it started.
package core
