// Package cache is the cache server of a POP. It joins what its subpackages know into one Server: front has the
// connections, site says for whom a request is, rule decides by RFC 9111 whether a stored response may be used, store
// keeps bodies, fill and origin bring what is missing, ranges knows conditions and parts, purge what is no longer valid,
// accesslog what is written about it.
//
// What the package itself decides is the order of these steps, and what a client gets when one of them says no:
//
//	handler.go     a request comes: site, method, limits, token; then by method
//	lookup.go      which stored variant fits, and whether it may be served
//	miss.go        asking upstream, one request for all who want the same
//	judge.go       what becomes of upstream's answer: stored, refreshed, passed on
//	revalidate.go  304 and HEAD updates, refreshing in the background
//	serve.go       the head of an answer from a stored object; body.go its bytes, ranges.go parts of it
//	forward.go     everything that is not answered from the store; invalidate.go what unsafe methods invalidate
//	hit.go         the short way for plain hits, without net/http
//
// It owns the store, the fills and the background refreshes; Serve joins all of them. Two rules hold everywhere. A
// response is made from one version of an object: the bytes of two validators never meet (RFC 9110 §8.8.1, §15.3.7.3). And
// what a client does never ends what others read: fills belong to the server, not to the request that began them.
//
// It decides nothing about routing, drains when it is told to, and never proxies for a host that no site names.
package cache
