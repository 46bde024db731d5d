package fleet

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/catchment/catchment/bgp"
)

func encode(t testing.TB, m Message) []byte {
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(f, message("b", 1, because(up(web4), "a\tb: "+strings.Repeat("ä", 150)), down(web6))))
	f.Add([]byte(`{"from":"FRA","to":"LON","boot":"b","sequence":1,"slices":null}`))
	f.Add([]byte(`{"slices":[{"slice":"::/0","stance":{"action":"drain","rung":-1}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := decode(body)
		if err != nil {
			return
		}
		again, err := decode(encode(t, m))
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("%+v became %+v: %v", m, again, err)
		}
	})
}

func TestReadSecrets(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		mode       os.FileMode
		keys       int
		want       string
	}{
		{"one", "0123456789abcdef\n", 0o600, 1, ""},
		{"two, a comment and an empty line", "# new\n0123456789abcdef\n\nfedcba9876543210\n", 0o640, 2, ""},
		{"short", "hunter2\n", 0o600, 0, "a key of 7 bytes; want at least 16"},
		{"empty", "# nothing\n", 0o600, 0, "no key in it"},
		{"open to all", "0123456789abcdef\n", 0o644, 0, "lets everybody at it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(path, []byte(tc.text), tc.mode); err != nil {
				t.Fatal(err)
			}
			keys, err := ReadSecrets(path)
			if len(keys) != tc.keys || (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%d keys, %v; want %d, %q", len(keys), err, tc.keys, tc.want)
			}
		})
	}
}

// TestSecretChange: a POP with the new line first and one with only the old.
func TestSecretChange(t *testing.T) {
	old, both := Secrets{[]byte("the old one, 16 bytes")}, Secrets{[]byte("the new one, 16 bytes"), []byte("the old one, 16 bytes")}
	proof := old.sign(kindAsk, "POST", "n", []byte("x"))
	if !both.verify(proof, kindAsk, "POST", "n", []byte("x")) {
		t.Error("the old key is refused while both are listed")
	}
	if old.verify(both.sign(kindAsk, "POST", "n", []byte("x")), kindAsk, "POST", "n", []byte("x")) {
		t.Error("an unknown key is accepted")
	}
	if old.verify(old.sign(kindAsk, "POST", "nx", nil), kindAsk, "POST", "n", []byte("x")) {
		t.Error("fields run into one another")
	}
}

func TestValidate(t *testing.T) {
	peer := Peer{POP: "FRA", URL: "http://192.0.2.9:9799/"}
	for _, tc := range []struct {
		name string
		cfg  Config
		want string // empty: valid
	}{
		{"nothing", Config{POP: "LON"}, ""},
		{"one peer", Config{POP: "LON", Secrets: secret, Peers: []Peer{peer}}, ""},
		{"no secret", Config{POP: "LON", Peers: []Peer{peer}}, "a secret is needed"},
		{"itself", Config{POP: "FRA", Secrets: secret, Peers: []Peer{peer}}, "own name"},
		{"twice", Config{POP: "LON", Secrets: secret, Peers: []Peer{peer, peer}}, "given twice"},
		{"url", Config{POP: "LON", Secrets: secret, Peers: []Peer{{POP: "FRA", URL: "10.0.0.1:9799"}}}, "want http://HOST:PORT/"},
		{"same community", Config{POP: "LON", Sites: []Site{{POP: "FRA", Community: siteFRA}, {POP: "AMS", Community: siteFRA}}}, "community given twice"},
		{"own site", Config{POP: "LON", Sites: []Site{{POP: "LON", Community: bgp.LargeCommunity{}}}}, "own name"},
	} {
		err := tc.cfg.Validate()
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}
