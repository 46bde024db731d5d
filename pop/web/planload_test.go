package web

import (
	"strings"
	"testing"

	"github.com/catchment/catchment/pop/api"
)

// TestWhatIfLoads: a plan shows who would carry how much, as bars and words,
// and what could be done instead.
func TestWhatIfLoads(t *testing.T) {
	b := atNight()
	u := visits(t, start(t, b, "", false), wide, high, "light")
	choose := func(name, value string) {
		t.Helper()
		u.until(`document.querySelector("#plan-form select[name=` + name + `]")`)
		eval[bool](u, `(() => { const s = document.querySelector("#plan-form select[name=`+name+`]"); s.value = "`+value+`"; s.dispatchEvent(new Event("change", { bubbles: true })); return s.value === "`+value+`"; })()`)
	}
	choose("kind", "prepend")
	choose("where", "FRA")
	choose("rung", "3")
	eval[bool](u, `(() => { document.querySelector("#plan-form button").click(); return true; })()`)
	u.until(`document.getElementById("plan").innerText.includes("If ")`)
	choose("kind", "capacity")
	choose("capacity", "0.7")
	eval[bool](u, `(() => { document.getElementById("plan").replaceChildren(); document.querySelector("#plan-form button").click(); return true; })()`)
	u.until(`document.getElementById("plan").innerText.includes("If ")`)
	choose("kind", "withdraw")
	eval[bool](u, `(() => { document.getElementById("plan").replaceChildren(); document.querySelector("#plan-form button").click(); return true; })()`)
	u.until(`document.getElementById("plan").innerText.includes("cheapest")`)
	b.Lock()
	asked := b.Plans
	b.Unlock()
	if len(asked) != 3 || asked[0].Suppose[0].POP != "FRA" || asked[0].Suppose[0].Rung != "3" || asked[0].Suppose[0].Kind != api.SupposePrepend ||
		asked[1].Suppose[0].Capacity != 0.7 || asked[1].Suppose[0].Kind != api.SupposeCapacity || asked[2].Suppose[0].Kind != api.SupposeWithdraw {
		t.Errorf("asked %+v", asked)
	}
	said := eval[string](u, `document.getElementById("plan").innerText`)
	for _, want := range []string{"82 %", "116 %", "109 % to 124 %", "too much", "+2.5 Gbit/s", "does not tell its load", "The cheapest of 7 alternatives", "catchment drain --slice 192.0.2.0/24"} {
		if !strings.Contains(said, want) {
			t.Errorf("does not say %q:\n%s", want, said)
		}
	}
	if n := eval[int](u, `document.querySelectorAll("#plan svg.plan-bars[aria-label]").length`); n != 4 {
		t.Errorf("%d pictures of bars, want 4: LON and FRA, twice", n)
	}
	if wide := eval[bool](u, `(() => { const r = document.querySelector("#plan .after.over").getBoundingClientRect(), l = document.querySelector("#plan .limit").getBoundingClientRect(); return r.right > l.left; })()`); !wide {
		t.Error("the bar of a POP that carries too much does not reach beyond its capacity")
	}
}
