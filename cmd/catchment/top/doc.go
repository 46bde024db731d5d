// Package top is `catchment top`: the POP on a full screen, for a terminal of
// any size, with or without colour, near or at the end of a slow link.
//
// It decides what is worth a line when lines are scarce, and nothing about
// routes: a key that changes something asks for a reason and a confirmation,
// and then makes the same call of pop/api as the command of that name, without
// force, so the guards are asked as always.
//
// Three parts that do not know of one another's business:
//
//   - Model and Update (pure): what is known and what the keys mean. Update
//     takes an Event, returns the next Model, and the Effects to carry out.
//   - View (pure): a Model as lines of styled text at a width and height.
//   - Run: the terminal, the calls to the daemon and the clock. It owns the
//     terminal from its start to its return and gives it back as it was, also
//     on SIGTERM, SIGHUP, SIGQUIT and a panic.
//
// The terminal is driven by Bubble Tea v2: its renderer sends only the cells
// that changed, at most framesPerSecond times a second, and it is the same
// loop of events and effects as ours. Its sister lipgloss is not used: eight
// styles of the 16 basic colours, which any terminal has and whose look is the
// user's own choice, need no library.
//
// Colour only repeats what a word or a mark says: "!" needs a look, "*" is an
// operator's doing, ">" is the cursor. All marks and lines are ASCII.
package top
