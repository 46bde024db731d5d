// Package slowness remembers, per client network (/24, /48), how fast clients
// take what they are sent, and what limits them: the path, or the receiver.
//
// Samples come from the cache server at the end of transfers, and for servers
// that are not ours from the kernel (Follow, over server/resync/flow). A Store
// adds them up in a bounded table; a Report joins networks that are sparse with
// their neighbours and keeps those apart that differ; Book puts the stores of
// the fleet together. A network is slow when most of its transfers were, with
// confidence, limited by its path or its receivers to less than Options.Slow,
// which the POP could have sent.
//
// No client speaks for its network: of six clients, those that sent most, is
// kept what they have sent, and none of them counts for more than eight samples
// where there are others. One that is alone counts for itself, which moves its
// /24, and for no network wider than that.
//
// What a network keeps is 104 bytes: the delivery rate as the buckets of a
// DDSketch (github.com/DataDog/sketches-go) from 4 kB/s to 9 GB/s that grow by
// the factor 1.6, so that a quantile is right to +-23 %, each of them one byte,
// and counts by class likewise. When a byte is full all of the network's are
// halved, which is also how data decays. Networks and POPs are added up, and
// quantiles read, by the library, over a store of our own of fixed size: its
// stores need some hundred to thousand bytes and pointers each.
//
// The package steers nobody: policy/steer takes the networks that Guard lets
// pass, with Lists.
package slowness
