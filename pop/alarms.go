package pop

import (
	"cmp"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

// alarms are what a person should look at, by name and slice.
type alarms map[alarmKey]api.Alarm

type alarmKey struct {
	name  string
	slice policy.SliceID
}

// set raises or clears a POP-wide alarm and reports whether it was raised anew.
func (a alarms) set(name string, on bool, detail string, now time.Time) bool {
	return a.put(api.Alarm{Name: name, Detail: detail, Since: now}, on)
}

func (a alarms) put(al api.Alarm, on bool) bool {
	k := alarmKey{al.Name, al.Slice}
	old, had := a[k]
	if !on {
		delete(a, k)
		return false
	}
	if had {
		al.Since = old.Since
	}
	a[k] = al
	return !had
}

// guards replaces the alarms that guards raised and returns those that are new.
func (a alarms) guards(raised []policy.Alarm, names []string, now time.Time) []api.Alarm {
	var fresh []api.Alarm
	on := map[alarmKey]bool{}
	for _, r := range raised {
		al := api.Alarm{Name: r.Name, Detail: r.Detail, Since: now, Service: r.Service, Slice: r.Slice}
		on[alarmKey{r.Name, r.Slice}] = true
		if a.put(al, true) {
			fresh = append(fresh, al)
		}
	}
	for k := range a {
		if slices.Contains(names, k.name) && !on[k] {
			delete(a, k)
		}
	}
	return fresh
}

func (a alarms) list() []api.Alarm {
	var l []api.Alarm
	for _, al := range a {
		l = append(l, al)
	}
	slices.SortFunc(l, func(x, y api.Alarm) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), x.Slice.Prefix().Compare(y.Slice.Prefix()))
	})
	return l
}
