package get

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestRedirect: redirects are followed, with what the URL says of the user; and
// where the server that one led to is gone, the first URL is asked again.
func TestRedirect(t *testing.T) {
	content := some(1_000_000, 12)
	near := serve(t, content, first(300_000, false))
	far := serve(t, content, nil)
	var asked, strangers atomic.Int32
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "secret" {
			strangers.Add(1)
		}
		to := near.URL
		if asked.Add(1) > 1 {
			to = far.URL
		}
		http.Redirect(w, r, to+"/film", http.StatusFound)
	}))
	defer front.Close()
	near.fault = func(n int) (int, bool) { return []int{300_000, -503}[min(n, 1)], false }
	path := filepath.Join(t.TempDir(), "x")
	res, err := New(Options{}).File(t.Context(), Job{URL: strings.Replace(front.URL, "//", "//me:secret@", 1), Path: path})
	if err != nil || res.Resyncs != 1 || asked.Load() != 2 || strangers.Load() != 0 {
		t.Errorf("%+v, %v, asked %d times, %d without the name", res, err, asked.Load(), strangers.Load())
	}
	same(t, path, content)
	if want := []string{"bytes=300000-"}; !slices.Equal(far.asked, want) {
		t.Errorf("the other was asked for %q", far.asked)
	}
}

// TestRedirectElsewhere: where the first URL leads to another version by then,
// what has come is kept, and the first server is asked on.
func TestRedirectElsewhere(t *testing.T) {
	content := some(1_000_000, 13)
	near := serve(t, content, func(n int) (int, bool) { return []int{300_000, -503, never}[min(n, 2)], false })
	far := serve(t, some(900_000, 14), nil)
	far.tag = `"v2"`
	var asked atomic.Int32
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, []string{near.URL, far.URL}[min(asked.Add(1)-1, 1)], http.StatusFound)
	}))
	defer front.Close()
	got, err := fetch(t, Options{}, front.URL)
	if err != nil || !bytes.Equal(got, content) || asked.Load() != 2 {
		t.Errorf("%d bytes, %v, asked %d times", len(got), err, asked.Load())
	}
}

// TestNothingToGoOnWith: without a validator what has come is of no use, and
// does not stay.
func TestNothingToGoOnWith(t *testing.T) {
	content := some(1_000_000, 15)
	o := serve(t, content, first(300_000, false))
	o.tag = `W/"v1"`
	path := filepath.Join(t.TempDir(), "x")
	res, err := New(Options{}).File(t.Context(), Job{URL: o.URL, Path: path})
	if left, _ := filepath.Glob(path + "*"); err == nil || res.Bytes != 0 || len(left) > 0 {
		t.Errorf("%+v, %v, it leaves %q", res, err, left)
	}
	// What another URL left is not its to throw away.
	os.WriteFile(path+".part", content[:10], 0o600)
	os.WriteFile(path+".part.json", []byte(`{"url":"http://other/","validator":"\"v1\"","size":20}`), 0o600)
	o.fault = func(int) (int, bool) { return -404, false }
	if _, err := New(Options{}).File(t.Context(), Job{URL: o.URL, Path: path}); err == nil {
		t.Error("no error")
	}
	if b, _ := os.ReadFile(path + ".part"); len(b) != 10 {
		t.Errorf("%d bytes of the other stay", len(b))
	}
}

// TestDigestStays: what the server said of the whole counts in the next call,
// also where nothing is missing then.
func TestDigestStays(t *testing.T) {
	content := some(100_000, 16)
	sum := sha256.Sum256(content)
	repr := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	path := filepath.Join(t.TempDir(), "x")
	o := serve(t, content, nil)
	for _, have := range []int{50_000, 100_000} {
		for _, bad := range []bool{false, true} {
			b := bytes.Clone(content[:have])
			if bad {
				b[7]++
			}
			os.WriteFile(path+".part", b, 0o600)
			os.WriteFile(path+".part.json", fmt.Appendf(nil, `{"url":%q,"validator":"\"v1\"","size":100000,"digest":[%q]}`, o.URL, repr), 0o600)
			res, err := New(Options{}).File(t.Context(), Job{URL: o.URL, Path: path})
			if (err != nil) != bad || !bad && res.Checked != "Repr-Digest sha-256" {
				t.Errorf("%d bytes, wrong %v: %+v, %v", have, bad, res, err)
			}
		}
	}
	o.extra.Set("Repr-Digest", repr)
	o.fault = first(60_000, false)
	o.asked = nil
	tr := New(Options{Patience: 50 * time.Millisecond})
	o.fault = func(n int) (int, bool) { return map[bool]int{true: 60_000, false: -503}[n == 0], false }
	if _, err := tr.File(t.Context(), Job{URL: o.URL, Path: path}); err == nil {
		t.Fatal("no error")
	}
	if b, _ := os.ReadFile(path + ".part.json"); !strings.Contains(string(b), repr) {
		t.Errorf("it keeps %s", b)
	}
}

// TestHead: over several connections nothing is asked for twice, a part that is
// refused at first is asked for again, and where there are no parts all comes
// over one.
func TestHead(t *testing.T) {
	content := some(3_000_001, 17)
	path := filepath.Join(t.TempDir(), "x")
	o := serve(t, content, func(n int) (int, bool) { return map[bool]int{true: -503, false: never}[n == 2], false })
	var failed atomic.Int32
	tr := New(Options{OnEvent: func(e Event) {
		if e.Kind == Failed {
			failed.Add(1)
		}
	}})
	if res, err := tr.File(t.Context(), Job{URL: o.URL, Path: path, Parallel: 4}); err != nil || res.Resyncs != 0 || failed.Load() != 1 {
		t.Errorf("%+v, %v, %d attempts failed", res, err, failed.Load())
	}
	same(t, path, content)
	all := map[string]int{}
	for _, r := range o.asked {
		all[r]++
	}
	if len(o.asked) != 6 || len(all) != 5 || o.asked[0] != "bytes=0-1048575" {
		t.Errorf("asked for %q", o.asked)
	}
	for what, set := range map[string]func(*origin){
		"no ranges": func(o *origin) { o.plain = true },
		"small":     func(o *origin) { o.content = content[:100] },
		"nothing":   func(o *origin) { o.content = nil },
		"weak":      func(o *origin) { o.tag = `W/"v1"` },
	} {
		o := serve(t, content, nil)
		set(o)
		if res, err := tr.File(t.Context(), Job{URL: o.URL, Path: path, Parallel: 4}); err != nil || res.Bytes != int64(len(o.content)) {
			t.Errorf("%s: %+v, %v, asked for %q", what, res, err, o.asked)
		}
		same(t, path, o.content)
	}
	// It is another version by now: begun anew, in parts.
	o = serve(t, content, nil)
	os.WriteFile(path+".part", content[:10], 0o600)
	os.WriteFile(path+".part.json", fmt.Appendf(nil, `{"url":%q,"validator":"\"v0\"","size":3000001}`, o.URL), 0o600)
	if res, err := tr.File(t.Context(), Job{URL: o.URL, Path: path, Parallel: 2}); err != nil || res.Kept != 0 || len(o.asked) != 4 {
		t.Errorf("%+v, %v, asked for %q", res, err, o.asked)
	}
	same(t, path, content)
}
