// Package fleet is what this POP knows of the others, and what they may
// believe of it. It makes the policy.Fleet that the last-pop, stale and
// correlated guards judge by. It decides nothing about announcements.
//
// # Sources
//
// Exchange asks every configured peer over HTTP for its status. One exchange
// is a POST with our own status, and the reply is theirs: a question tells as
// well as asks. RIB sees other POPs' routes in our own BGP table, told apart
// by the site community that each POP puts on its announcements. Both feed one
// State; Merge (State.View) is a pure function of it. Tree is the third: what
// POPs state unasked, carried by the relay tree (pop/relay) with proof, order
// and age, believed as what it was when it was made; only what acknowledges a
// statement of ours counts as an answer.
//
// # What is believed, and why two POPs cannot both leave
//
// A POP may withdraw a slice when enough others say that they announce it.
// Three rules make that safe although messages cross, get lost, are repeated
// and arrive late, and although no two clocks agree:
//
//   - Claims that weaken (down, draining, leaving, withdrawn) are believed at
//     once from any authenticated message. Claims that strengthen (announces,
//     up) are believed only from the answer to a question of our own, bound to
//     it by its nonce, and only if nothing newer came from that peer since.
//   - Who is asked takes in what the asker says of itself before it answers,
//     and the answer is made by the goroutine that decides (Local). So of two
//     POPs that want to leave at the same moment, at least one sees the other
//     leaving: either its question arrives before the other has decided, and
//     then the other knows, or after, and then the answer says so.
//   - policy.Peer.Asked is the time at which our own status for a question was
//     asked for, before it was made. An answer with Asked after a decision was
//     therefore given by somebody who had been told of that decision.
//
// Order within one life of a daemon comes from a sequence number in its
// messages; a restart has a new boot identifier, and one that has been
// superseded is refused for good. No message carries a time: Heard, Asked and
// DownSince are readings of our own monotonic clock.
//
// What depends on none of this is the reason of a claim: words for people.
// They are told to a POP whose own message had a Catchment-Reasons header;
// older ones refuse a field that they do not know.
//
// The caller owes three things: take View at the start of each decision, in
// the goroutine that Local goes through, and never keep it; say in Local that
// a slice is Leaving from the decision that wanted it on; and say Withdraw for
// what no router hears (it is on no established session, or could not be set).
//
// # Wire
//
// POST <url>/v1/exchange with a JSON Message, headers Catchment-Nonce (32 hex
// digits) and Catchment-MAC: HMAC-SHA256 over version, kind ("ask" or
// "reply"), method, nonce and body, each with its length before it. The reply
// repeats the kind of proof over the asker's nonce. All POPs share the secret,
// so each could speak as another: it keeps strangers out, not one's own. The
// body is readable on the way; use https URLs or a private network where that
// matters. During a change of secret the file has both lines: the first signs,
// all are accepted.
//
// # The RIB as a witness
//
// A POP that says it announces what our RIB does not show counts as not
// announcing, but only where the RIB has shown that POP's route beside our own
// for a minute. A router that sends its best path alone hides the others
// behind ours; then the RIB says nothing and only the status counts. Where the
// status cannot be had, the RIB alone speaks: it can say announced or drained,
// never up, and what it shows counts against a weaker last word of the POP
// only if it appeared later.
package fleet
