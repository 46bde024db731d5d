// Package fill brings bodies from the upstream into the store: once, however
// many ask, and to all of them while they arrive.
//
// It decides who asks the upstream (the first for a key leads, the others wait
// for the head), which chunks are asked for and by which ranges (RFC 9110 §14),
// whether what comes belongs to the version that is stored (validator, total and
// Content-Range of each part), whether a fill that broke goes on by Range, and
// whether a body is whole and right (framing, length, digests of RFC 9530). It
// owns the goroutines, contexts and buffers of fills: a fill belongs to nobody
// who reads, and no reader can end it or slow it.
//
// It never decides whether a response may be stored: the caller does, when the
// head is there (Fetch.Judge). It never sends anything to a client, and never
// puts bytes of two versions into one object.
package fill
