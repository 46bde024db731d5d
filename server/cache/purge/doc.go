// Package purge decides whether a stored object was invalidated since it was
// stored: by its URL, a prefix of its path, its host, its site, one of its tags
// (RFC 9875, or the customer's own), or because everything was.
//
// No purge ever walks the store. Each has a number, the Epoch; an object notes
// the newest one when its fill starts, and is compared with the purges that
// name it when it is looked up. It is purged if and only if a purge that names
// it is newer than what it notes; so an object whose fill was under way when
// the purge came counts as older. A hard purge takes the object away, a soft
// one makes it stale.
//
// What is kept is bounded: purges that no stored object can be older than are
// forgotten (Forget), and above a limit the oldest ones are folded into a purge
// of their whole host or site, which invalidates more and never less.
//
// Purges are in effect and on disk when Purge returns. The journal is read
// again by Open; other POPs may follow it by List. The package starts no
// goroutine. Epochs grow with the clock too, so that a journal that was lost
// does not let numbers come twice.
package purge
