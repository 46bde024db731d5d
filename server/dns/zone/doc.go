// Package zone is what an authoritative server knows of one zone: it reads a
// zone file (RFC 1035 §5), keeps names with their record sets, answers
// questions (RFC 1034 §4.3.2, wildcards RFC 4592, negative answers RFC 2308),
// signs what it answers (RFC 4033 to 4035, NSEC, one ECDSA P-256 key) and lists
// what a secondary gets (RFC 5936, differences RFC 1995).
//
// A [Zone] is one version and never changes; a reload builds another. Names may
// be dynamic: their addresses come from a [Chooser] for each question, out of
// prebuilt [Pool]s, so that their signatures can be kept.
//
// It opens no socket and starts nothing; the only clock is the epoch that
// [Build] is given. DNAME, NSEC3 and files that are signed already are refused.
package zone
