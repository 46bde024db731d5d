// Package redirect decides, request by request, whether a client is served
// here, served at a pace, or sent to a cheaper POP, so that nobody can tell the
// difference: a player with a full buffer waits for the new place, its viewer
// does not.
//
// The caller keeps a Session for each client and stream, tells it of each
// request (Request) and of what the client has acknowledged (Got), and carries
// out what Decide says: Pace by SO_MAX_PACING_RATE, Redirect by 302 with
// Cache-Control: no-store, Move by 301.
//
// What is never done, whatever else is so, is Never: a list of rules, each with
// its name, that Decide asks before any redirect and the tests play against
// random schedules. Pacing goes before redirects: often it is enough.
//
// The package is pure: time comes in as an argument. It knows nothing of HTTP but
// CMCD (CTA-5004), which it parses.
package redirect
