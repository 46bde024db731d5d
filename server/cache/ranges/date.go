package ranges

import (
	"strings"
	"time"
)

// ParseDate reads an HTTP date in one of its three forms (RFC 9110 §5.6.7): IMF-fixdate, RFC 850, asctime. Names of days,
// months and the zone are taken in any case, and the day of the week is not compared with the date; everything else is
// exact, so that "UTC", a two-digit year in the first form, or a missing digit make it invalid. A two-digit year that
// would lie more than 50 years after now is in the century before.
func ParseDate(s string, now time.Time) (time.Time, bool) {
	s = trimOWS(s)
	switch comma := strings.IndexByte(s, ','); {
	case comma == 3 && len(s) == 29:
		return parseFixdate(s)
	case comma >= 6:
		return parse850(s[:comma], s[comma+1:], now)
	case comma < 0 && len(s) == 24:
		return parseAsctime(s)
	}
	return time.Time{}, false
}

// parseFixdate reads "Sun, 06 Nov 1994 08:49:37 GMT".
func parseFixdate(s string) (time.Time, bool) {
	if !isDay(s[:3]) || s[4] != ' ' || s[7] != ' ' || s[11] != ' ' || s[16] != ' ' || !isZone(s[25:]) {
		return time.Time{}, false
	}
	return makeDate(s[12:16], s[8:11], s[5:7], s[17:25])
}

// parse850 reads the two halves of "Sunday, 06-Nov-94 08:49:37 GMT".
func parse850(day, s string, now time.Time) (time.Time, bool) {
	if !isLongDay(day) || len(s) != 23 || s[0] != ' ' || s[3] != '-' || s[7] != '-' || s[10] != ' ' || !isZone(s[19:]) {
		return time.Time{}, false
	}
	yy, ok := digits(s[8:10])
	if !ok {
		return time.Time{}, false
	}
	now = now.UTC()
	year := now.Year()/100*100 + yy
	t, ok := makeDateYear(year, s[4:7], s[1:3], s[11:19])
	if ok && t.After(now.AddDate(50, 0, 0)) {
		t, ok = makeDateYear(year-100, s[4:7], s[1:3], s[11:19])
	}
	return t, ok
}

// parseAsctime reads "Sun Nov  6 08:49:37 1994".
func parseAsctime(s string) (time.Time, bool) {
	if !isDay(s[:3]) || s[3] != ' ' || s[7] != ' ' || s[10] != ' ' || s[19] != ' ' {
		return time.Time{}, false
	}
	day := s[8:10]
	if day[0] == ' ' {
		day = day[1:]
	}
	return makeDate(s[20:], s[4:7], day, s[11:19])
}

// isZone accepts " GMT".
func isZone(s string) bool { return len(s) == 4 && s[0] == ' ' && strings.EqualFold(s[1:], "GMT") }

const (
	shortDays = "SunMonTueWedThuFriSat"
	months    = "JanFebMarAprMayJunJulAugSepOctNovDec"
)

func isDay(s string) bool { return nameIndex(shortDays, s) >= 0 }

func isLongDay(s string) bool {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if strings.EqualFold(d.String(), s) {
			return true
		}
	}
	return false
}

// nameIndex finds a three-letter name in a row of them, -1 if it is none.
func nameIndex(row, s string) int {
	for i := 0; i < len(row); i += 3 {
		if strings.EqualFold(row[i:i+3], s) {
			return i / 3
		}
	}
	return -1
}

func makeDate(year, month, day, clock string) (time.Time, bool) {
	y, ok := digits(year)
	if !ok {
		return time.Time{}, false
	}
	return makeDateYear(y, month, day, clock)
}

// makeDateYear checks each part and that the day exists. Second 60 is a leap second.
func makeDateYear(year int, month, day, clock string) (time.Time, bool) {
	m := nameIndex(months, month)
	d, ok1 := digits(day)
	if len(clock) != 8 || clock[2] != ':' || clock[5] != ':' {
		return time.Time{}, false
	}
	h, ok2 := digits(clock[:2])
	mi, ok3 := digits(clock[3:5])
	sec, ok4 := digits(clock[6:])
	if m < 0 || !ok1 || !ok2 || !ok3 || !ok4 || h > 23 || mi > 59 || sec > 60 {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(m+1), d, 0, 0, 0, 0, time.UTC)
	if t.Day() != d || d == 0 {
		return time.Time{}, false
	}
	return time.Date(year, time.Month(m+1), d, h, mi, sec, 0, time.UTC), true
}

// digits reads a short number of digits only.
func digits(s string) (int, bool) {
	n := 0
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			return 0, false
		}
		n = n*10 + int(d)
	}
	return n, s != ""
}

// dateForm is the IMF-fixdate form in package time's terms.
const dateForm = "Mon, 02 Jan 2006 15:04:05 GMT"

// AppendDate appends t as an IMF-fixdate, the only form we send.
func AppendDate(b []byte, t time.Time) []byte { return t.UTC().AppendFormat(b, dateForm) }
