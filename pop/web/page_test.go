package web

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

const (
	wide  = 1360
	high  = 1000
	phone = 360
)

// visits opens the page and waits until it is drawn.
func visits(t *testing.T, d *daemon, width, height int64, scheme string) *tab {
	t.Helper()
	u := open(t, width, height, scheme)
	u.visit(d.url())
	u.until(`document.querySelector("#feed.good") && document.querySelector("#slices tbody") && !document.getElementById("whatif").hidden`)
	return u
}

func cell(pop, slice string) string {
	return `document.querySelector('#slices [data-pop="` + pop + `"][data-slice="` + slice + `"]')`
}

// TestTellsWhatIsWrong: the first words say it, worst first, and why.
func TestTellsWhatIsWrong(t *testing.T) {
	u := visits(t, start(t, atNight(), "", false), wide, high, "light")
	said := eval[string](u, `document.getElementById("verdict").innerText`)
	rest := said
	for _, want := range []string{
		"3 things are wrong, 3 more need a look", "video is down and withdrawn at LON", "connection refused", "resolver is down at LON, and still announced",
		"guarded (last-pop): 2 other POPs needed, 1 announces it; the rules want withdraw", "No session with 2001:db8:f1::1", "hold timer expired",
		"AMS is not heard", "i/o timeout", "NYC has withdrawn resolver", "SIN: web, resolver", "draining for uid 1001 (bob)", "mail is in an operator's hands at LON for 40m",
	} {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Fatalf("does not say %q after what comes before it:\n%s", want, said)
		}
		rest = after
	}
	if title := eval[string](u, "document.title"); title != "(6) LON · Catchment" {
		t.Errorf("title %q", title)
	}
	for pop, want := range map[string]string{"LON": "withdraw", "FRA": "announce"} {
		if got := eval[string](u, cell(pop, "198.51.100.0/24")+".dataset.action"); got != want {
			t.Errorf("%s: %s, want %s", pop, got, want)
		}
	}
	if got := eval[string](u, cell("SIN", "192.0.2.0/24")+".innerText"); !strings.Contains(got, "drain") || !strings.Contains(got, "new line cards") {
		t.Errorf("SIN: %q", got)
	}
}

// TestNothingIsWrong: a POP without others or problems says so.
func TestNothingIsWrong(t *testing.T) {
	b := many(1)
	b.POP.Fleet = nil
	u := visits(t, start(t, b, "", false), wide, high, "light")
	if got := eval[string](u, "document.querySelector('#verdict h1').innerText"); got != "All is well" {
		t.Errorf("says %q", got)
	}
	if got := eval[string](u, "document.getElementById('pops').innerText"); !strings.Contains(got, "No other POP is configured") {
		t.Errorf("fleet: %q", got)
	}
}

// TestLive: a change of one service is shown, and nothing else is touched: the
// focus stays, and so does the element of every other row.
func TestLive(t *testing.T) {
	b := atNight()
	u := visits(t, start(t, b, "", false), wide, high, "light")
	u.do(chromedp.Focus(chromedp.CSS(`#slices button[data-slice="192.0.2.0/24"]`)))
	eval[bool](u, `(window.row = `+cell("LON", "203.0.113.0/24")+`, window.focused = document.activeElement, true)`)
	b.Touch(func(b *apitest.Backend) {
		s := &b.POP.Services[0].Slices[0]
		s.Stance, s.Rung, s.Announced, s.Reason, s.Since = withdraw, "", nil, because(policy.CheckDown, "http-v4: HTTP 503"), now
	})
	u.until(cell("LON", "192.0.2.0/24") + `.dataset.action === "withdraw"`)
	u.until(`document.getElementById("verdict").innerText.includes("web is partly withdrawn at LON")`)
	if !eval[bool](u, `window.row === `+cell("LON", "203.0.113.0/24")+` && window.focused === document.activeElement`) {
		t.Error("more than what changed was made anew")
	}
	b.More <- api.JournalEntry{Seq: 99, Time: now, Kind: "decision", Service: "web", Slice: slice("192.0.2.0/24"), Text: "192.0.2.0/24: announce -> withdraw because check-down"}
	u.until(`document.querySelector("#entries li").innerText.includes("192.0.2.0/24")`)
}

// TestDaemonGoesAndComes: the page says at once that nobody answers and how
// old is what it shows, and goes on by itself.
func TestDaemonGoesAndComes(t *testing.T) {
	b := atNight()
	d := start(t, b, "", false)
	u := visits(t, d, wide, high, "light")
	d.stop()
	u.until(`document.querySelector("#feed.bad")?.innerText.includes("no answer for")`)
	u.until(`document.querySelector("#verdict .stale").innerText.includes("LON does not answer")`)
	u.until(`/[1-9]\d*s ago/.test(document.querySelector("#verdict .stale").innerText)`)
	if got := eval[string](u, "document.title"); !strings.HasPrefix(got, "?") {
		t.Errorf("title %q", got)
	}
	if got := eval[string](u, cell("LON", "198.51.100.0/24")+".dataset.action"); got != "withdraw" {
		t.Errorf("what was known is gone: %q", got)
	}
	b.Touch(func(b *apitest.Backend) { b.POP.Version = "v0.4.0" })
	start(t, b, d.addr, false)
	u.until(`document.querySelector("#feed.good") && !document.querySelector("#verdict .stale")`)
	u.until(`document.getElementById("about").innerText.includes("v0.4.0")`)
}

// TestNoAnswer: a connection that is taken and never answered, as by an SSH
// tunnel that leads nowhere, is given up and tried again.
func TestNoAnswer(t *testing.T) {
	d := start(t, atNight(), "", false)
	d.silent.Store(true)
	u := open(t, wide, high, "light")
	u.visit(d.url())
	u.until(`document.getElementById("feed").innerText.includes("connecting")`)
	for d.asked.Load() == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	d.silent.Store(false)
	eval[bool](u, `(Date.now = ((real) => () => real() + 60000)(Date.now.bind(Date)), true)`)
	u.until(`document.querySelector("#feed.good") && document.querySelector("#slices tbody")`)
}

// TestEndIsMeant: one touch ends no maintenance.
func TestEndIsMeant(t *testing.T) {
	b := atNight()
	u := visits(t, start(t, b, "", true), wide, high, "light")
	end := func(answer string) {
		eval[bool](u, `(window.confirm = (text) => { window.question = text; return `+answer+`; }, true)`)
		u.do(chromedp.Click(chromedp.CSS(`#intents button[data-do="end"]`)))
		u.until(`window.question === "End the hold of mail now?"`)
	}
	ended := func() int {
		b.Lock()
		defer b.Unlock()
		return len(b.Released)
	}
	end("false")
	if eval[bool](u, `true`); ended() != 0 {
		t.Error("it is ended though that was not meant")
	}
	end("true")
	for wait := time.Now().Add(patience); ended() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(wait) {
			t.Fatal("it is not ended")
		}
	}
	if n := ended(); n != 1 {
		t.Errorf("ended %d times", n)
	}
}

// TestKeyboard: everything can be done without a mouse.
func TestKeyboard(t *testing.T) {
	u := visits(t, start(t, atNight(), "", false), wide, high, "light")
	u.press(kb.Tab)
	if got := eval[string](u, "document.activeElement.className"); got != "skip" {
		t.Errorf("the first stop is %q, want the skip link", got)
	}
	if got := eval[string](u, "getComputedStyle(document.activeElement).outlineStyle"); got == "none" {
		t.Error("the focus is not shown")
	}
	u.press(kb.Enter)
	u.until(`location.hash === "#main" && document.activeElement.id === "main"`)
	u.press("n")
	if got := eval[string](u, "document.activeElement.innerText"); !strings.HasPrefix(got, "video is down") {
		t.Errorf("n goes to %q", got)
	}
	u.press(kb.Enter)
	u.until(`document.getElementById("explain").open && document.querySelector("#explain .now")`)
	u.press(kb.Escape)
	u.until(`!document.getElementById("explain").open`)
	if got := eval[string](u, "document.activeElement.innerText"); !strings.HasPrefix(got, "video is down") {
		t.Errorf("Escape goes back to %q", got)
	}
	u.slash()
	u.press("resolver")
	u.until(`document.querySelectorAll("#slices tbody").length === 1 && document.querySelector("#slices .id").innerText === "resolver"`)
	u.until(`document.querySelectorAll("#check-table tbody tr").length === 2`)
	u.press(kb.Escape)
	u.until(`document.querySelectorAll("#slices tbody").length === 4 && document.activeElement.id !== "filter"`)

	eval[bool](u, `(document.body.focus(), window.dark = () => getComputedStyle(document.documentElement).colorScheme, true)`)
	for _, want := range []string{"light", "dark", "light dark"} {
		u.press("t")
		u.until(`window.dark() === "` + want + `"`)
	}
	// From the filter on, Tab reaches every button of the tables.
	u.do(chromedp.Focus(chromedp.CSS("#filter")))
	for range 12 {
		u.press(kb.Tab)
		if eval[bool](u, `document.activeElement.matches('#slices button[data-slice="198.51.100.0/24"]')`) {
			u.press(kb.Enter)
			u.until(`document.querySelector("#explain .now")?.innerText.includes("withdraw")`)
			return
		}
	}
	t.Error("Tab does not reach the slices")
}

// TestExplain: a slice, and a decision of the timeline, with the live state.
func TestExplain(t *testing.T) {
	b := atNight()
	d := start(t, b, "", false)
	u := visits(t, d, wide, high, "light")
	u.do(chromedp.Click(chromedp.CSS(`#entries li.warn button[data-slice="2001:db8:5353::/48"]`)))
	u.until(`document.querySelector("#explain .now")?.innerText.includes("announce, backup")`)
	said := eval[string](u, `document.getElementById("explain").innerText`)
	for _, want := range []string{
		"of resolver at LON", "because guarded (last-pop)", "The rules want withdraw", "What would change it", "Decided 2030-03-01 03:08:40 UTC", "last-pop weaken",
		"dns-udp down", "FRA announce, healthy", "counts as announcing", "own AS 3× more",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("does not say %q:\n%s", want, said)
		}
	}
	if eval[bool](u, `Boolean(document.getElementById("change-form"))`) {
		t.Error("offers changes though it may only read")
	}
	b.Touch(func(b *apitest.Backend) { b.POP.Services[2].Slices[0].Reason.Detail = "another reason" })
	u.until(`document.querySelector("#explain .now").innerText.includes("another reason")`)

	u.visit(d.url() + "#/explain/192.0.2.0/24")
	u.until(`document.querySelector("#explain[open] .now")?.innerText.includes("announce")`)
}

// TestLanes: what became of the slices that changed in the last hour, and a
// filter that concerns the timeline too.
func TestLanes(t *testing.T) {
	u := visits(t, start(t, atNight(), "", false), wide, high, "light")
	u.until(`document.querySelectorAll("#lanes .lane").length === 4`)
	if got := eval[string](u, `document.querySelector('#lanes .lane[data-key="192.0.2.0/24"] svg').getAttribute("aria-label")`); got !=
		"192.0.2.0/24: announce before; 2030-03-01 02:25:40 drain; 2030-03-01 02:28:40 withdraw; 2030-03-01 02:39:40 announce" {
		t.Errorf("web: %s", got)
	}
	if got := eval[string](u, `[...document.querySelectorAll('#lanes .lane[data-key="192.0.2.0/24"] rect')].map((e) => e.getAttribute("class")).join(" ")`); got != "good notice bad good" {
		t.Errorf("web: %s", got)
	}
	u.slash()
	u.press("video")
	u.until(`document.querySelectorAll("#lanes .lane").length === 2`)
	u.do(chromedp.Click(chromedp.CSS(`#lanes button[data-slice="198.51.100.0/24"]`)))
	u.until(`document.querySelector("#explain .then")?.innerText.includes("03:11:52")`)
}

// TestChange: where it is allowed, with a reason, and the answer is shown.
func TestChange(t *testing.T) {
	b := atNight()
	u := visits(t, start(t, b, "", true), wide, high, "light")
	u.do(chromedp.Click(chromedp.CSS(`#slices button[data-slice="192.0.2.0/24"]`)))
	u.until(`document.querySelector("#change-form input[name=why]")`)
	u.do(chromedp.Focus(chromedp.CSS("#change-form input[name=why]")))
	u.press("new disks")
	u.press(kb.Enter)
	u.until(`document.getElementById("change-said").innerText.includes("drain: noted for")`)
	b.Lock()
	defer b.Unlock()
	if len(b.Intents) != 1 || b.Intents[0].Slice != slice("192.0.2.0/24") || b.Intents[0].Why != "new disks" || !strings.Contains(b.Intents[0].By, "page") {
		t.Errorf("asked for %+v", b.Intents)
	}
}

// TestWhatIf: the form asks, and shows what would happen.
func TestWhatIf(t *testing.T) {
	b := atNight()
	u := visits(t, start(t, b, "", false), wide, high, "light")
	eval[bool](u, `(() => { const s = document.querySelector("#plan-form select[name=kind]"); s.value = "drain"; s.dispatchEvent(new Event("change", { bubbles: true })); return true; })()`)
	u.until(`document.querySelector("#plan-form select[name=service]")`)
	eval[bool](u, `(() => { const s = document.querySelector("#plan-form select[name=service]"); s.value = "web"; s.dispatchEvent(new Event("change", { bubbles: true })); return true; })()`)
	u.do(chromedp.Focus(chromedp.CSS("#plan-form button")))
	u.press(kb.Enter)
	u.until(`document.getElementById("plan").innerText.includes("drain of web")`)
	b.Lock()
	defer b.Unlock()
	if len(b.Plans) != 1 || len(b.Plans[0].Suppose) != 1 || b.Plans[0].Suppose[0].Kind != api.SupposeDrain || b.Plans[0].Suppose[0].Service != "web" {
		t.Errorf("asked %+v", b.Plans)
	}
	said := eval[string](u, `document.getElementById("plan").innerText`)
	for _, want := range []string{"192.0.2.0/24", "after the drain wait", "guard last-pop", "Nothing was done"} {
		if !strings.Contains(said, want) {
			t.Errorf("does not say %q:\n%s", want, said)
		}
	}
}

// TestNoPlan: a daemon that knows no such call has no form.
func TestNoPlan(t *testing.T) {
	d := start(t, atNight(), "", false)
	d.without = "/v1/plan"
	u := open(t, wide, high, "light")
	u.visit(d.url())
	u.until(`document.querySelector("#feed.good") && document.querySelector("#entries li")`)
	if !eval[bool](u, `document.getElementById("whatif").hidden`) {
		t.Error("offers what cannot be asked")
	}
}

// TestManyServices: of a thousand a page is drawn; the filter finds the rest,
// and what is wrong is found without it.
func TestManyServices(t *testing.T) {
	b := many(1000)
	u := visits(t, start(t, b, "", false), wide, high, "light")
	count := `document.querySelectorAll("#slices tbody").length`
	if n := eval[int](u, count); n > 50 {
		t.Errorf("%d services are drawn at once", n)
	}
	if n := eval[int](u, `document.querySelectorAll("*").length`); n > 6000 {
		t.Errorf("%d elements", n)
	}
	b.Touch(func(b *apitest.Backend) {
		s := &b.POP.Services[777]
		s.Health = policy.Health{Verdict: policy.Down, Since: now, Failing: []policy.Failure{{Check: "http-v4", Detail: "HTTP 503"}}}
		s.Slices[0].Stance, s.Slices[0].Reason = withdraw, because(policy.CheckDown, "http-v4: HTTP 503")
	})
	u.until(`document.getElementById("verdict").innerText.includes("service-0777 is partly withdrawn at LON")`)
	u.do(chromedp.Click(chromedp.CSS("#only")))
	u.until(count + ` === 1 && document.querySelector("#slices .id").innerText === "service-0777"`)
	u.do(chromedp.Click(chromedp.CSS("#only")))
	u.slash()
	u.press("0999")
	u.until(count + ` === 1 && document.querySelector("#slices .id").innerText === "service-0999"`)
	u.press(kb.Escape)
	u.do(chromedp.Click(chromedp.CSS(`#pager button[data-by="1"]`)))
	u.until(`document.querySelector("#slices .id").innerText === "service-0040"`)
}

// TestFits: nothing is wider than the screen, at any width.
func TestFits(t *testing.T) {
	d := start(t, atNight(), "", true)
	for _, width := range []int64{320, phone, 768, 1024, wide} {
		u := visits(t, d, width, 780, "light")
		if got := eval[int64](u, "document.documentElement.scrollWidth"); got > width {
			t.Errorf("%d wide on a screen of %d: %s", got, width, eval[string](u, widest))
		}
		u.do(chromedp.Click(chromedp.CSS(`#slices button[data-slice="2001:db8:5353::/48"]`)))
		u.until(`document.querySelector("#change-form")`)
		if got := eval[int64](u, `document.getElementById("explain").scrollWidth`); got > width {
			t.Errorf("the drawer is %d wide on a screen of %d", got, width)
		}
	}
}

const widest = `[...document.querySelectorAll("main *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll, .sections"))
	.map((e) => e.tagName + "." + e.className).slice(0, 5).join(" ")`

// TestContrast: every text stands out from its ground as WCAG 2 asks (AA, 4.5
// to 1), in light and dark.
func TestContrast(t *testing.T) {
	d := start(t, atNight(), "", true)
	for _, scheme := range []string{"light", "dark"} {
		u := visits(t, d, wide, high, scheme)
		u.do(chromedp.Click(chromedp.CSS(`#entries li.warn button[data-slice="2001:db8:5353::/48"]`)))
		u.until(`document.querySelector("#change-form")`)
		for _, bad := range eval[[]string](u, contrast) {
			t.Errorf("%s: %s", scheme, bad)
		}
		if n := eval[int](u, "window.texts"); n < 100 {
			t.Errorf("%s: %d texts were looked at", scheme, n)
		}
	}
}

const contrast = `(() => {
	const parse = (c) => {
		const m = c.match(/[\d.]+/g).map(Number);
		if (c.startsWith("color(srgb")) return [m[0] * 255, m[1] * 255, m[2] * 255, m[3] ?? 1];
		return [m[0], m[1], m[2], m[3] ?? 1];
	};
	const light = ([r, g, b]) => [r, g, b].map((v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)).reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
	const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
	const ground = (e) => {
		const layers = [];
		for (; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
		return layers.reverse().reduce((below, c) => over(c, below), [255, 255, 255, 1]);
	};
	const bad = new Set();
	window.texts = 0;
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walk.nextNode()) {
		const e = walk.currentNode.parentElement, style = getComputedStyle(e);
		if (!walk.currentNode.data.trim() || e.closest("svg, .hidden, noscript, option, [hidden]") || e.disabled) continue;
		window.texts++;
		const under = ground(e), ink = over(parse(style.color), under);
		const [a, b] = [light(ink), light(under)].sort((x, y) => y - x);
		const ratio = (a + 0.05) / (b + 0.05);
		if (ratio < 4.5) bad.add(ratio.toFixed(2) + " " + e.tagName + "." + e.className + " " + walk.currentNode.data.trim().slice(0, 30));
	}
	return [...bad];
})()`

// TestSchemes: the page follows the system's light and dark.
func TestSchemes(t *testing.T) {
	d := start(t, atNight(), "", false)
	ground := `getComputedStyle(document.documentElement).backgroundColor`
	light, dark := eval[string](visits(t, d, wide, high, "light"), ground), eval[string](visits(t, d, wide, high, "dark"), ground)
	if light == dark {
		t.Errorf("both are %s", light)
	}
}

// TestStrangeWords: what checks and operators say is text, whatever it says.
func TestStrangeWords(t *testing.T) {
	b := atNight()
	const evil = `<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>`
	b.POP.Services[0].Slices[0].Reason.Detail = evil
	b.POP.Services[0].Slices[0].Stance = withdraw
	b.POP.Services[0].Checks[0].Detail = evil
	b.POP.Neighbors[0].Description = evil
	b.POP.Fleet[0].Slices[0].Reason = evil
	b.POP.Fleet[1].Error = evil
	b.POP.Intents[0].Why = evil
	b.Entries[0].Text = evil
	u := visits(t, start(t, b, "", false), wide, high, "light")
	u.until(`document.querySelector("#entries li")`)
	time.Sleep(50 * time.Millisecond) // an image would have failed by now
	if eval[bool](u, `Boolean(window.pwned || document.querySelector("main img, main script"))`) {
		t.Error("words became code")
	}
	if got := eval[string](u, cell("FRA", "192.0.2.0/24")+".innerText"); !strings.Contains(got, evil) {
		t.Errorf("says %q", got)
	}
}
