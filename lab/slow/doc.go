// Package slow is the lab of clients that take little. Flows whose limit is
// known from how they are made (a slow path, a slow reader, a full buffer,
// losses, or none) cross lines of their own between network namespaces; what
// the kernel tells of them is judged by package pop/slowness, and the judgement
// compared with the truth.
//
// It owns the namespaces, the lines (package lab/wire), the senders and the
// readers, and decides nothing of what is judged.
package slow
