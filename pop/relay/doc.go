// Package relay is the tree by which POPs that are no members of the control
// core follow it, POP to POP, each by one connection to its parent. It carries
// the core's state downward and presence both ways; it passes requests that
// only a member can answer upward.
//
// # Use
//
//	n, err := relay.New(relay.Options{POP: "LON", Core: member, Listen: ":9796", Files: files})       // at a member
//	n, err := relay.New(relay.Options{POP: "AMS", Parents: parents, Dir: dir, Files: files})          // elsewhere
//	go n.Run(ctx)
//	c := core.NewFollower(n.Engine(), core.Options{})  // reads, watches and writes as if it had a member
//	others := n.Fleet()
//
// # State
//
// A child says which revision it has and the hash of its state (the sum modulo
// 2^256 of a SHA-256 of each key, so that it is kept up by adding and
// subtracting). Its parent goes on from there with deltas, each with the hash
// after it, where its log reaches back to a state with that hash, and with a
// snapshot where not. A child takes nothing over whose hash is another than
// told: it keeps what it has, says so, and asks for a snapshot. Revisions of
// one core never go back. What it has is on disk, too, at most a second old
// while that costs little, verified when it is loaded, and used until a parent
// is found.
//
// There is no queue for a child: its parent's log is the queue of all. Who
// falls behind the log gets a snapshot, and few of those are sent at once.
//
// # The tree
//
// Each node tells its children the path from the top to itself and how the top
// stands: rooted (it hears the core), anchored (it is with a core that does not
// answer) or orphan. Who finds itself in a parent's path leaves it, and is
// refused by it. A parent that says nothing for three seconds is left for the
// next of the list; now and then, at random times, a node tries to get back to
// an earlier one, or to any better rooted one while its own is not. Orphans
// join each other only toward the lower name, so that they make no circle.
//
// Each member is the top of a tree of its own. Tops exchange presence with all
// other tops that they are told of (Parents), and nothing else: the state comes
// from the core.
//
// # Presence
//
// About once a second each POP makes a statement: its life (boot), a sequence
// number, for how long it counts, and a payload that others made (pop/fleet).
// It signs it with its certificate's key, so that whoever carries it on can
// hold it back but not change it, and nobody can speak for another POP. A
// child is not heard on its parents or on the POP it talks to. Ages are told
// at each hop and never too low: both ends of a link learn from each other's
// echoes how much the one's monotonic clock is behind the other's at least. No
// wall clock is read, but for the validity of certificates.
//
// A statement that asks is acknowledged by everyone in the next statement (at
// once, if it is urgent), whose payload is made after the question was handed
// to OnPresence. So an
// answer through the tree proves what an answer to a poll does.
//
// # What is believed
//
// All ends show certificates of the fleet, read anew for each connection;
// revoked ones are shut out, open connections included. A parent is believed
// about the core's state. A request is passed on for a child itself and for
// those whose presence comes from it, and a member refuses from the tree what
// would let a POP make itself more (tokens, trust, voters) and writes in
// another POP's name.
//
// # What it never does
//
// It judges nobody's health and decides nothing. Constructors start nothing;
// Run joins everything it started.
package relay
