package top

import (
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
)

// screen is a Model as Bubble Tea wants one.
type screen struct {
	m      Model
	calls  calls
	out    *output
	redraw redraw
}

// Messages of our own, besides Events.
type (
	due      struct{}               // it is time to ask again
	answered struct{ event Event }  // and this is what came
	second   struct{ at time.Time } // one has passed
	leave    struct{}               // the context has ended
)

// Init begins to ask, and to count seconds.
func (s screen) Init() tea.Cmd { return tea.Batch(s.wait(), tick()) }

func tick() tea.Cmd { return tea.Tick(time.Second, func(at time.Time) tea.Msg { return second{at} }) }

func (s screen) wait() tea.Cmd {
	return tea.Tick(s.calls.Interval, func(time.Time) tea.Msg { return due{} })
}

// Update translates messages to Events.
func (s screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case Event:
		return s.take(msg, nil)
	case tea.KeyPressMsg:
		return s.take(Key{Name: msg.String(), Text: msg.Text}, nil)
	case tea.PasteMsg:
		return s.take(Pasted{Text: msg.Content}, nil)
	case tea.WindowSizeMsg:
		if s.m.width > 0 && msg.Width > s.m.width {
			s.redraw = s.out.widened()
		}
		return s.take(Resized{Width: msg.Width, Height: msg.Height}, nil)
	case due:
		return s, func() tea.Msg { return answered{s.calls.ask()} }
	case answered:
		return s.take(msg.event, s.wait())
	case leave:
		// As ^C does: a cursor of ours must not stay in the terminal.
		return s.take(Key{Name: "ctrl+c"}, nil)
	case second:
		if s.out.ready(s.redraw) {
			s.redraw = redraw{}
			return s.take(Ticked{At: msg.at}, tea.Batch(tick(), tea.ClearScreen))
		}
		return s.take(Ticked{At: msg.at}, tick())
	}
	return s, nil
}

// take applies an Event, and makes commands of its Effects and more.
func (s screen) take(e Event, more tea.Cmd) (tea.Model, tea.Cmd) {
	m, effects := Update(s.m, e)
	s.m = m
	cmds := []tea.Cmd{more}
	for _, f := range effects {
		cmds = append(cmds, s.command(f))
	}
	return s, tea.Batch(cmds...)
}

func (s screen) command(f Effect) tea.Cmd {
	switch f := f.(type) {
	case Ask:
		return func() tea.Msg { return s.calls.ask() }
	case Explain:
		return func() tea.Msg { return s.calls.explain(f.IDs) }
	case Do:
		return func() tea.Msg { return s.calls.change(f) }
	case Suspend:
		return tea.Suspend
	case Repaint:
		return tea.ClearScreen
	}
	return tea.Quit
}

// View paints the lines.
func (s screen) View() tea.View {
	scr := View(s.m, s.m.width, s.m.height)
	painted := make([]string, len(scr.Lines))
	for i, l := range scr.Lines {
		painted[i] = l.Paint(!s.calls.Mono)
	}
	v := tea.NewView(strings.Join(painted, "\n"))
	v.AltScreen = true
	if c := scr.Cursor; c != nil {
		v.Cursor = tea.NewCursor(c.X, c.Y)
	}
	return v
}
