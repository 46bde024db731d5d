package top

import (
	"maps"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

// Sizes of what is remembered.
const (
	keepEntries = 200              // of the journal
	rateSpan    = 10 * time.Second // over which a rate is measured
)

// Model is all that the view shows. Update makes the next one; nothing else
// writes to it.
type Model struct {
	now           time.Time // of this machine, when the last event came
	width, height int

	status  api.Status
	have    bool      // whether there is a status
	heard   time.Time // when it came
	problem string    // why there is no newer one; empty: the last call went well
	oldAge  time.Duration

	entries []api.JournalEntry // oldest first
	lost    string             // why the journal is not followed; empty: it is
	samples map[policy.ServiceID][]sample

	focus    paneID
	selected [panes]string // key of the row with the cursor; empty: the first one
	page     *page
	prompt   *prompt
	message  Span   // what became of the last key; empty: nothing to say
	busy     string // the change that is under way; empty: none
}

// sample is a load at a time of the daemon's clock.
type sample struct {
	at   time.Time
	load float64
}

// New makes a Model. Data older than oldAge is said to be old.
func New(width, height int, oldAge time.Duration) Model {
	return Model{width: width, height: height, oldAge: oldAge, focus: services}
}

// Event is what happens to a Model.
type Event interface{ apply(Model) (Model, []Effect) }

// Events from outside. Keys are in keys.go.
type (
	// Answered is a status from the daemon.
	Answered struct {
		Status api.Status
		At     time.Time // by the clock of this machine
	}
	// Failed is a call for the status that was in vain.
	Failed struct {
		Why string
		At  time.Time
	}
	// Journaled is an entry of the journal. First is true for the first one of
	// a connection: what is known so far will come again.
	Journaled struct {
		Entry api.JournalEntry
		First bool
	}
	// JournalLost is that no more entries come for now.
	JournalLost struct{ Why string }
	// Explained is the answer to Explain.
	Explained struct {
		IDs []policy.SliceID // as asked
		All []api.Explanation
		Err string
	}
	// Changed is the answer to Do.
	Changed struct {
		Do     Do
		Result api.Result
		Err    string
	}
	// Resized is a new size of the terminal, in cells.
	Resized struct{ Width, Height int }
	// Ticked is that time has passed.
	Ticked struct{ At time.Time }
)

// Effect is what Update wants done.
type Effect interface{ effect() }

// Effects.
type (
	// Ask is for a status at once.
	Ask struct{}
	// Explain asks why slices are as they are.
	Explain struct{ IDs []policy.SliceID }
	// Do makes a call that changes something.
	Do struct {
		Verb   Verb
		Change api.Change
	}
	// Quit ends the program.
	Quit struct{}
	// Suspend stops it until SIGCONT.
	Suspend struct{}
	// Repaint draws all of the screen.
	Repaint struct{}
)

func (Ask) effect()     {}
func (Explain) effect() {}
func (Do) effect()      {}
func (Quit) effect()    {}
func (Suspend) effect() {}
func (Repaint) effect() {}

// Update is the model after an event, and what to do about it.
func Update(m Model, e Event) (Model, []Effect) { return e.apply(m) }

func (e Answered) apply(m Model) (Model, []Effect) {
	m.status, m.have, m.heard, m.now, m.problem = e.Status, true, e.At, e.At, ""
	m.samples = maps.Clone(m.samples)
	if m.samples == nil {
		m.samples = map[policy.ServiceID][]sample{}
	}
	for _, s := range e.Status.Services {
		if s.Load == nil {
			delete(m.samples, s.ID)
			continue
		}
		old := slices.DeleteFunc(slices.Clone(m.samples[s.ID]), func(o sample) bool {
			return e.Status.Now.Sub(o.at) > rateSpan || !o.at.Before(e.Status.Now)
		})
		m.samples[s.ID] = append(old, sample{e.Status.Now, *s.Load})
	}
	if m.page != nil && len(m.page.ids) > 0 {
		return m, []Effect{Explain{m.page.ids}} // it stays as fresh as the rest
	}
	return m, nil
}

// rate is the change of a service's load a second; false: not known.
func (m Model) rate(id policy.ServiceID) (float64, bool) {
	s := m.samples[id]
	if len(s) < 2 {
		return 0, false
	}
	first, last := s[0], s[len(s)-1]
	span := last.at.Sub(first.at).Seconds()
	if span < 1 {
		return 0, false
	}
	return (last.load - first.load) / span, true
}

func (e Failed) apply(m Model) (Model, []Effect) {
	m.problem, m.now = clean(e.Why), e.At
	return m, nil
}

func (e Journaled) apply(m Model) (Model, []Effect) {
	if e.First {
		m.entries, m.lost = nil, ""
	}
	from := max(0, len(m.entries)+1-keepEntries)
	m.entries = append(slices.Clone(m.entries[from:]), e.Entry)
	return m, nil
}

func (e JournalLost) apply(m Model) (Model, []Effect) {
	m.lost = clean(e.Why)
	return m, nil
}

func (e Explained) apply(m Model) (Model, []Effect) {
	if m.page == nil || !slices.Equal(m.page.ids, e.IDs) {
		return m, nil // closed meanwhile
	}
	p := *m.page
	if e.Err != "" {
		p.note = clean(e.Err)
	} else {
		p.note, p.text = "", explanations(e.All)
	}
	m.page = &p
	return m, nil
}

func (e Changed) apply(m Model) (Model, []Effect) {
	m.busy = ""
	if e.Err != "" {
		m.message = Span{e.Do.Verb.String() + ": " + clean(e.Err), Bad}
		return m, nil
	}
	m.message = Span{clean(e.Result.Text), Good}
	return m, []Effect{Ask{}}
}

func (e Resized) apply(m Model) (Model, []Effect) {
	m.width, m.height = e.Width, e.Height
	return m, nil
}

func (e Ticked) apply(m Model) (Model, []Effect) {
	m.now = e.At
	return m, nil
}

// old reports whether the status is not of now, and why.
func (m Model) old() (why string, old bool) {
	switch {
	case m.problem != "":
		return m.problem, true
	case m.have && m.now.Sub(m.heard) > m.oldAge:
		return "the daemon does not answer", true
	}
	return "", false
}
