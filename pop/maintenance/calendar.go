// Package maintenance is the calendar of maintenance windows: what "02:00 in
// London" is on a day when the clocks change, and which occurrence of a window
// is under way or comes next. It is pure: it reads no clock and starts
// nothing. What a window does is pop.Controller's and policy's business.
package maintenance

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // for hosts that have no time zones
)

// When is a time by the calendar and the clock on the wall of a time zone:
// once, on each day, or on each of some day of the week.
type When struct {
	repeat       repeat
	year, day    int
	month        time.Month
	weekday      time.Weekday
	hour, minute int
	zone         *time.Location
}

type repeat uint8

const (
	once repeat = iota
	daily
	weekly
)

// form says how to write a When.
const form = `want a time with its zone such as "2026-12-01 02:00 Europe/London", "Sun 02:00 Europe/London" for each week or "daily 02:00 UTC"`

var weekdays = map[string]time.Weekday{
	"sun": time.Sunday, "mon": time.Monday, "tue": time.Tuesday, "wed": time.Wednesday, "thu": time.Thursday, "fri": time.Friday, "sat": time.Saturday,
}

// Parse reads "2026-12-01 02:00 Europe/London", "Sun 02:00 Europe/London" or
// "daily 02:00 UTC". The zone is one of the IANA database.
func Parse(s string) (When, error) {
	bad := func(why string) (When, error) { return When{}, fmt.Errorf("%q: %s%s", s, why, form) }
	words := strings.Fields(s)
	if len(words) != 3 {
		return bad("")
	}
	var w When
	switch weekday, named := weekdays[strings.ToLower(words[0])]; {
	case strings.EqualFold(words[0], "daily"):
		w.repeat = daily
	case named:
		w.repeat, w.weekday = weekly, weekday
	default:
		d, err := time.Parse(time.DateOnly, words[0])
		if err != nil {
			return bad(words[0] + " is no day; ")
		}
		w.year, w.month, w.day = d.Date()
	}
	clock, err := time.Parse("15:04", words[1])
	if err != nil {
		return bad(words[1] + " is no time of a day; ")
	}
	w.hour, w.minute = clock.Hour(), clock.Minute()
	if words[2] == "Local" { // means another thing on each host
		return bad("the zone must be named; ")
	}
	if w.zone, err = time.LoadLocation(words[2]); err != nil {
		return bad("there is no time zone " + strconv.Quote(words[2]) + "; ")
	}
	return w, nil
}

// String is what Parse reads.
func (w When) String() string {
	if w.zone == nil {
		return ""
	}
	day := "daily"
	switch w.repeat {
	case once:
		day = fmt.Sprintf("%04d-%02d-%02d", w.year, w.month, w.day)
	case weekly:
		day = w.weekday.String()[:3]
	}
	return fmt.Sprintf("%s %02d:%02d %s", day, w.hour, w.minute, w.zone)
}

// Repeats reports whether there is another after each.
func (w When) Repeats() bool { return w.repeat != once }

// Period is the least time between two of those that repeat; 0: it is once.
func (w When) Period() time.Duration {
	switch w.repeat {
	case daily:
		return 23 * time.Hour // when the clocks go forward
	case weekly:
		return 7*24*time.Hour - time.Hour
	}
	return 0
}

// Next returns the first time after t; false: there is none any more.
func (w When) Next(t time.Time) (time.Time, bool) {
	if w.repeat == once {
		at := w.on(w.year, w.month, w.day)
		return at, at.After(t)
	}
	local := t.In(w.zone)
	for d := -1; d <= 8; d++ { // what a day's clock shows may be before or after the day
		y, m, day := local.Date()
		noon := time.Date(y, m, day+d, 12, 0, 0, 0, time.UTC)
		if w.repeat == weekly && noon.Weekday() != w.weekday {
			continue
		}
		if at := w.on(noon.Date()); at.After(t) {
			return at, true
		}
	}
	return time.Time{}, false
}

// on is the instant at which the clock on the wall shows the time on that day.
// As in RFC 5545 section 3.3.5 a time that the clocks skip is taken by the
// offset before they did, and of one that they show twice the first counts.
func (w When) on(year int, month time.Month, day int) time.Time {
	wall := time.Date(year, month, day, w.hour, w.minute, 0, 0, time.UTC)
	const around = 26 * time.Hour // more than any offset: a change of clocks in between is the one in question
	before, after := w.offset(wall.Add(-around)), w.offset(wall.Add(around))
	for _, o := range []time.Duration{max(before, after), min(before, after)} { // the greater is the earlier
		if at := wall.Add(-o); w.offset(at) == o {
			return at.In(w.zone)
		}
	}
	return wall.Add(-before).In(w.zone)
}

func (w When) offset(at time.Time) time.Duration {
	_, s := at.In(w.zone).Zone()
	return time.Duration(s) * time.Second
}
