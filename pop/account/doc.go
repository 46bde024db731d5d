// Package account keeps the books of a running fleet: what the links of each POP
// carried, what they would have carried had no client been steered to another
// POP, what that saved, and what it cost the clients. A ceiling on that harm
// stops the steering by itself.
//
// Time is in slots of the length that links are billed by (five minutes). Each
// POP measures its own slots (Sample) and tells the others the last ones
// (Keeper.Message); each POP files what it hears, so that every one of them
// shows the same books. A slot is closed one slot after its end: what has not
// been heard by then is missing, and is said to be.
//
// What is measured: the rates of links, the answers of DNS by the POP nearest to
// the client and the POP given, what redirects asked of other POPs, and stalls
// where players tell them. What is estimated: how much traffic an answer of DNS
// stands for (policy/cost.Estimate), and by that all that would have been; and
// delay, by the distances of the configuration.
//
// The package moves nobody. It owns a directory with one file a day, judges
// harm (policy/cost.Ceiling), and answers Stopped to who steers.
package account
