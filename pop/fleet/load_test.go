package fleet

import (
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func someLoad() Load {
	level := 1
	return Load{Unit: "out", Capacity: 1e9, SD: 1e6, AgeMS: 1500, Split: "connections", Other: 5, Slices: []SliceLoad{
		{Slice: web4, Load: 4e8, Level: &level}, {Slice: web6, Load: 1e8},
	}}
}

// TestLoadReachesPeers: with answers, and with the age that it had.
func TestLoadReachesPeers(t *testing.T) {
	nodes := world(t, 20*time.Millisecond, "127.0.0.1", "LON", "FRA")
	lon, fra := nodes["LON"], nodes["FRA"]
	if r := fra.Peers(time.Now())[0]; r.Load != nil {
		t.Fatalf("a load that nobody told: %+v", r.Load)
	}
	asked := time.Now()
	lon.take(Answered{Message: Message{From: "FRA", To: "LON", Boot: "b", Sequence: 1, Load: someLoad().Encode()}, Asked: asked, At: asked.Add(time.Second)})
	r := lon.Peers(time.Now())[0]
	if r.Load == nil || r.Load.Slices[0].Load != 4e8 || *r.Load.Slices[0].Level != 1 || r.Load.Slices[1].Level != nil {
		t.Fatalf("heard %+v", r.Load)
	}
	if want := asked.Add(-1500 * time.Millisecond); !r.LoadAt.Equal(want) {
		t.Errorf("sample of %v, want %v: counted back from the question", r.LoadAt, want)
	}
}

// TestLoadOnlyForThoseThatTakeIt: an older POP refuses a message with a field
// that it does not know, and a POP without loads never has one.
func TestLoadOnlyForThoseThatTakeIt(t *testing.T) {
	for _, c := range []struct {
		header string
		has    bool
		want   bool
	}{{"", true, false}, {"yes", true, true}, {"yes", false, false}} {
		f := newNode(t, "LON", "FRA")
		if f.say(up(web4)); c.has {
			f.exchange.cfg.Load = func() json.RawMessage { return someLoad().Encode() }
		}
		r := signed(string(encode(t, message("b", 1, up(web4)))))
		if c.header != "" {
			r.Header.Set(loadHeader, c.header)
		}
		w := httptest.NewRecorder()
		f.exchange.Handler(f.take).ServeHTTP(w, r)
		if w.Code != http.StatusOK || strings.Contains(w.Body.String(), `"load"`) != c.want {
			t.Errorf("%+v: %d %s", c, w.Code, w.Body)
		}
	}
}

// TestLoadInQuestionsIsNotBelieved: anybody may replay a question to a POP
// that has just begun.
func TestLoadInQuestionsIsNotBelieved(t *testing.T) {
	f := newNode(t, "LON", "FRA")
	m := message("b", 1, up(web4))
	m.Load = someLoad().Encode()
	if err := f.take(AskedUs{Message: m, At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if r := f.Peers(time.Now())[0]; r.Load != nil {
		t.Errorf("believed %+v", r.Load)
	}
}

func TestDecodeLoad(t *testing.T) {
	good := string(someLoad().Encode())
	for name, c := range map[string]struct {
		body string
		ok   bool
	}{
		"as encoded":      {good, true},
		"a newer field":   {strings.Replace(good, `{`, `{"newer":[1],`, 1), true},
		"negative":        {strings.Replace(good, `"load":4`, `"load":-4`, 1), false},
		"beyond reason":   {strings.Replace(good, `400000000`, `4e18`, 1), false},
		"negative level":  {strings.Replace(good, `"level":1`, `"level":-1`, 1), false},
		"from the future": {strings.Replace(good, `"age_ms":1500`, `"age_ms":-1`, 1), false},
		"very old":        {strings.Replace(good, `"age_ms":1500`, `"age_ms":90000000`, 1), false},
		"no unit":         {strings.Replace(good, `"unit":"out"`, `"unit":""`, 1), false},
		"host bits":       {strings.Replace(good, web4.String(), "192.0.2.1/24", 1), false},
		"twice":           {strings.Replace(good, web6.String(), web4.String(), 1), false},
		"empty":           {``, false},
	} {
		if c.body == good && name != "as encoded" {
			t.Errorf("%s: nothing replaced in %s", name, good)
		}
		if l, err := DecodeLoad([]byte(c.body)); (err == nil) != c.ok {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
	if b := (Load{Unit: "out", Capacity: math.NaN()}).Encode(); b != nil {
		t.Errorf("what is no number is said: %s", b)
	}
}

// FuzzDecodeLoad: what is taken is within the limits and can be said again.
func FuzzDecodeLoad(f *testing.F) {
	f.Add([]byte(someLoad().Encode()))
	f.Add([]byte(`{"unit":"in","slices":[{"slice":"0.0.0.0/0","load":1e17,"level":255}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := DecodeLoad(b)
		if err != nil {
			return
		}
		total := l.Other
		for _, s := range l.Slices {
			total += s.Load
		}
		if !amount(l.Capacity) || total < 0 || math.IsNaN(total) || l.Age() < 0 {
			t.Errorf("%+v from %s", l, b)
		}
		if _, err := DecodeLoad(l.Encode()); err != nil {
			t.Errorf("cannot be said again: %v", err)
		}
	})
}
