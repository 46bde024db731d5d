// Package accesslog writes what became of each request: one line of JSON, with
// the reason of a hit or a miss, the times, and what TCP saw of the transfer.
//
// Add encodes a Record without allocation into a queue of bounded size and never
// waits; what finds no room is counted, and said in the log when there is room
// again. One goroutine, in Run, writes, rotates and reopens the files. A disk
// that is full or gone costs lines, never a request.
//
// Requests that were slow go to a file of their own as well, with what made
// them so. The last lines are kept in memory, for the operator's command.
package accesslog
