// Package session keeps what is known of clients that play a stream from this
// cache: which bytes of it they have acknowledged, and so how much they have at
// least in their buffer. It asks policy/redirect what is to be done with each
// request, and holds connections to a pace while their client's buffer is full.
//
// What it knows is a lower bound (to within Every), by three estimators of which the largest
// counts:
//
//   - what the client says (CMCD, CTA-5004), as policy/redirect believes it;
//   - bytes acknowledged (tcp_info) over the most that a second of the stream can
//     take, less the time since: bytes that are not told apart from another
//     answer's, or that are in our own buffers, do not count;
//   - a receive window that is shut, and has held us up since the last look
//     (rwnd_limited of tcp_info): what the client's kernel holds is not played yet,
//     and that is half of the largest window it has offered, at least.
//
// A client is its address, its program (User-Agent) and its connection, or the
// session that it names (CMCD sid): two behind one NAT are never taken for one.
// A player that goes on byte for byte on another connection is the same.
//
// Memory is bounded: beyond Keeper.Set's number the session that was heard of
// least lately, of some, is forgotten, and its client is one not seen before.
// Who is not known is served as fast as it goes.
package session
