package cli

import (
	"fmt"
	"time"
)

// sinceText says how long ago t was, in whole seconds: "01:02:03", or with
// days "4d 01:02:03". A time to come counts as past.
func sinceText(t time.Time) string {
	d := time.Duration(time.Now().Unix()-t.Unix()) * time.Second
	day := d.Abs() / (24 * time.Hour)
	rest := d.Abs() % (24 * time.Hour)
	s := fmt.Sprintf("%02d:%02d:%02d", rest/time.Hour, rest%time.Hour/time.Minute, rest%time.Minute/time.Second)
	if day > 0 {
		s = fmt.Sprintf("%dd %s", day, s)
	}
	return s
}
