package api_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
	"github.com/catchment/catchment/pop/api/catchmentv1"
)

// remote is a POP whose API is reached by TCP: HTTP and gRPC.
type remote struct {
	ca            apitest.Authority
	files         api.TLS
	backend       *apitest.Backend
	http, grpc    string // addresses
	socket, local string // Unix sockets: control, gRPC
	renewed       int64  // serial number of the daemon's certificate
}

func newRemote(t *testing.T) *remote {
	t.Helper()
	dir := t.TempDir()
	r := &remote{ca: apitest.NewAuthority(t, "ours"), backend: apitest.World(), socket: filepath.Join(dir, "c"), local: filepath.Join(dir, "g")}
	r.files = api.TLS{Certificate: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key"), ClientCA: filepath.Join(dir, "ca"), Change: []string{"ann"}}
	r.renew(t, r.ca)
	srv, err := api.New(api.Options{Socket: r.socket, Listen: "127.0.0.1:0", TLS: &r.files, Backend: r.backend, Logger: quiet(),
		Page: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "the page") })})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	<-srv.Ready()
	r.http = srv.Addr().String()
	g := grpc.NewServer(grpc.Creds(srv.Credentials()))
	srv.Register(g)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unix, err := net.Listen("unix", r.local)
	if err != nil {
		t.Fatal(err)
	}
	go g.Serve(tcp)
	go g.Serve(unix)
	r.grpc = tcp.Addr().String()
	t.Cleanup(func() {
		g.Stop()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return r
}

// renew writes a new certificate of the daemon, and who signs clients'.
func (r *remote) renew(t *testing.T, clients apitest.Authority) {
	t.Helper()
	r.renewed++
	cert, key := r.ca.Issue(t, "lon.example.net", 100+r.renewed)
	for path, text := range map[string][]byte{r.files.Certificate: cert, r.files.Key: key, r.files.ClientCA: clients.PEM} {
		text = append(text, "\n\n\n\n\n\n\n\n"...) // sizes of keys and signatures differ by a few bytes
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// replace puts another certificate and key in the place of the daemon's, of
// the same time and size.
func (r *remote) replace(t *testing.T) {
	t.Helper()
	r.renewed++
	cert, key := r.ca.Issue(t, "lon.example.net", 100+r.renewed)
	for path, text := range map[string][]byte{r.files.Certificate: cert, r.files.Key: key} {
		old, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, bytes.Repeat([]byte("\n"), max(0, int(old.Size())-len(text)))...)
		side := path + ".new"
		if err := errors.Join(os.WriteFile(side, text, 0o600), os.Chtimes(side, old.ModTime(), old.ModTime()), os.Rename(side, path)); err != nil {
			t.Fatal(err)
		}
	}
}

// do asks over HTTPS.
func (r *remote) do(c *tls.Config, method, path, body string) (int, string, error) {
	tr := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequest(method, "https://"+r.http+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	res, err := (&http.Client{Transport: tr, Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

func (r *remote) dial(t *testing.T, target string, c credentials.TransportCredentials) catchmentv1.CatchmentClient {
	t.Helper()
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(c))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return catchmentv1.NewCatchmentClient(conn)
}

// TestRemoteRights: no certificate, no answer; one of ours reads; one that is
// named changes things, under its own name.
func TestRemoteRights(t *testing.T) {
	r := newRemote(t)
	other := apitest.NewAuthority(t, "other")
	for _, tc := range []struct {
		name          string
		client        *tls.Config
		reads, change bool
	}{
		{"no certificate", r.ca.Client(t, r.ca, ""), false, false},
		{"another's certificate", other.Client(t, r.ca, "ann"), false, false},
		{"a reader", r.ca.Client(t, r.ca, "bob"), true, false},
		{"an operator", r.ca.Client(t, r.ca, "ann"), true, true},
	} {
		before := len(r.backend.Intents)
		code, text, err := r.do(tc.client, "GET", "/v1/status", "")
		if reads := err == nil && code == 200 && strings.Contains(text, `"pop":"LON"`); reads != tc.reads {
			t.Errorf("%s: status over HTTPS: %d %v", tc.name, code, err)
		}
		code, text, err = r.do(tc.client, "POST", "/v1/drain", `{"service":"web"}`)
		if changes := err == nil && code == 200; changes != tc.change || tc.reads && !tc.change && code != 403 {
			t.Errorf("%s: drain over HTTPS: %d %s %v", tc.name, code, text, err)
		}
		if code, text, err = r.do(tc.client, "GET", "/", ""); tc.reads != (err == nil && code == 200 && text == "the page") {
			t.Errorf("%s: the page: %d %q %v", tc.name, code, text, err)
		}
		c := r.dial(t, r.grpc, credentials.NewTLS(tc.client))
		st, err := c.Status(t.Context(), &catchmentv1.StatusRequest{})
		if reads := err == nil && st.GetPop() == "LON"; reads != tc.reads {
			t.Errorf("%s: status over gRPC: %v", tc.name, err)
		}
		mine, err := c.Rights(t.Context(), &catchmentv1.RightsRequest{})
		if tc.reads && (err != nil || mine.GetChange() != tc.change || !strings.HasPrefix(mine.GetBy(), "certificate ")) {
			t.Errorf("%s: rights over gRPC: %v, %v", tc.name, mine, err)
		}
		if code, text, err := r.do(tc.client, "GET", "/v1/rights", ""); tc.reads && (err != nil || code != 200 || strings.Contains(text, `"change":true`) != tc.change) {
			t.Errorf("%s: rights over HTTPS: %d %s %v", tc.name, code, text, err)
		}
		_, err = c.Drain(t.Context(), &catchmentv1.Change{Service: "web"})
		if changes := err == nil; changes != tc.change || tc.reads && !tc.change && status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: drain over gRPC: %v", tc.name, err)
		}
		_, err = c.Plan(t.Context(), &catchmentv1.PlanRequest{Suppose: []*catchmentv1.Supposition{{Kind: "config", Config: "pop: LON"}}})
		if plans := err == nil; plans != tc.change || tc.reads && !tc.change && status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: plan config over gRPC: %v", tc.name, err)
		}
		new := r.backend.Intents[before:]
		if len(new) != map[bool]int{true: 2}[tc.change] {
			t.Errorf("%s: %d intents", tc.name, len(new))
		}
		for _, in := range new {
			if in.By != "certificate ann (127.0.0.1)" {
				t.Errorf("by %q", in.By)
			}
		}
	}
}

// TestOtherOrigins: a page of somebody else's cannot use the certificate of
// its reader.
func TestOtherOrigins(t *testing.T) {
	r := newRemote(t)
	tr := &http.Transport{TLSClientConfig: r.ca.Client(t, r.ca, "ann")}
	defer tr.CloseIdleConnections()
	req, _ := http.NewRequest("POST", "https://"+r.http+"/v1/drain", strings.NewReader("{}"))
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusForbidden || len(r.backend.Intents) > 0 {
		t.Errorf("%d, intents %v", res.StatusCode, r.backend.Intents)
	}
}

// TestCertificatesReload: new files count for the next connection, without a
// restart; files that cannot be used change nothing.
func TestCertificatesReload(t *testing.T) {
	r := newRemote(t)
	ann := r.ca.Client(t, r.ca, "ann")
	serial := func(c *tls.Config) (int64, error) {
		conn, err := tls.Dial("tcp", r.http, c)
		if err != nil {
			return 0, err
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /v1/slices HTTP/1.0\r\nHost: x\r\n\r\n"); err != nil {
			return 0, err
		}
		text, err := io.ReadAll(conn)
		if err != nil || !strings.Contains(string(text), "200 OK") {
			return 0, errors.Join(err, errors.New(string(text)))
		}
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
	}
	await := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(15 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: not seen", what)
			}
		}
	}
	if n, err := serial(ann); n != 101 || err != nil {
		t.Fatalf("serial %d, %v", n, err)
	}
	r.renew(t, r.ca)
	await("the new certificate", func() bool { n, _ := serial(ann); return n == 102 })
	r.replace(t)
	await("a certificate of the same time and size", func() bool { n, _ := serial(ann); return n == 103 })
	if err := os.WriteFile(r.files.Certificate, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond) // the files are looked at once a second
	if n, err := serial(ann); n != 103 || err != nil {
		t.Errorf("after a broken file: serial %d, %v", n, err)
	}
	other := apitest.NewAuthority(t, "other")
	r.renew(t, other)
	await("the new authority", func() bool { _, err := serial(ann); return err != nil })
	if n, err := serial(other.Client(t, r.ca, "carol")); n != 104 || err != nil {
		t.Errorf("who the new authority signed: %d, %v", n, err)
	}
}

// TestRotationReachesOpenConnections: who is connected when the files change
// changes nothing more than who connects then would.
func TestRotationReachesOpenConnections(t *testing.T) {
	r := newRemote(t)
	ann := r.ca.Client(t, r.ca, "ann")
	tr := &http.Transport{TLSClientConfig: ann, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	c := r.dial(t, r.grpc, credentials.NewTLS(ann))
	drain := func() (int, error) {
		req, err := http.NewRequest("POST", "https://"+r.http+"/v1/drain", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		res, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body)
		_, err = c.Drain(t.Context(), &catchmentv1.Change{})
		return res.StatusCode, err
	}
	if code, err := drain(); code != http.StatusOK || err != nil {
		t.Fatalf("before: %d, %v", code, err)
	}
	r.renew(t, apitest.NewAuthority(t, "other"))
	time.Sleep(1100 * time.Millisecond) // the files are looked at once a second
	if code, err := drain(); code != http.StatusForbidden || status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "certificate ann (127.0.0.1)") {
		t.Errorf("after: %d, %v", code, err)
	}
	if len(r.backend.Intents) != 2 {
		t.Errorf("intents %+v", r.backend.Intents)
	}
}

// TestGRPCLikeHTTP: both say the same, the failures too.
func TestGRPCLikeHTTP(t *testing.T) {
	r := newRemote(t)
	c := r.dial(t, "unix:"+r.local, insecure.NewCredentials())
	want, _ := r.backend.Status(t.Context())
	st, err := c.Status(t.Context(), &catchmentv1.StatusRequest{})
	if err != nil || len(st.GetServices()) != len(want.Services) || st.GetServices()[0].GetSlices()[0].GetSlice() != want.Services[0].Slices[0].Slice.String() {
		t.Errorf("status: %v, %v", st, err)
	}
	if s, err := c.Slices(t.Context(), &catchmentv1.SlicesRequest{}); err != nil || len(s.GetSlices()) != 4 {
		t.Errorf("slices: %v, %v", s, err)
	}
	if s, err := c.Services(t.Context(), &catchmentv1.ServicesRequest{}); err != nil || len(s.GetServices()) != len(want.Services) {
		t.Errorf("services: %v, %v", s, err)
	}
	e, err := c.Explain(t.Context(), &catchmentv1.ExplainRequest{Slice: "2001:db8:100::/48"})
	if err != nil || e.GetSlice().GetSlice() != "2001:db8:100::/48" || len(e.GetWouldChange()) == 0 {
		t.Errorf("explain: %v, %v", e, err)
	}
	for slice, code := range map[string]codes.Code{"nonsense": codes.InvalidArgument, "192.0.2.1/24": codes.InvalidArgument, "10.0.0.0/8": codes.NotFound} {
		if _, err := c.Explain(t.Context(), &catchmentv1.ExplainRequest{Slice: slice}); status.Code(err) != code {
			t.Errorf("explain %s: %v", slice, err)
		}
	}
	if _, err := c.Pin(t.Context(), &catchmentv1.Change{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a pin without a stance: %v", err)
	}
	if _, err := c.Drain(t.Context(), &catchmentv1.Change{Slice: "192.0.2.1/24"}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("host bits: %v", err)
	}
	if _, err := c.Pin(t.Context(), &catchmentv1.Change{Service: "web", Stance: &catchmentv1.Stance{Action: "announce", Rung: 1}}); err != nil {
		t.Error(err)
	}
	if in := r.backend.Intents; len(in) != 1 || in[0].Stance.Rung != 1 || !strings.HasPrefix(in[0].By, "uid ") {
		t.Errorf("intents %+v", in)
	}
	journal, err := c.Journal(t.Context(), &catchmentv1.JournalRequest{Limit: 2})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; ; n++ {
		e, err := journal.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || e.GetText() == "" {
			t.Fatalf("journal: %v, %v", e, err)
		}
	}
	if n != 2 {
		t.Errorf("%d entries", n)
	}
	watch, err := c.Watch(t.Context(), &catchmentv1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := watch.Recv()
	if err != nil || first.GetKind() != "status" {
		t.Fatalf("watch: %v, %v", first, err)
	}
	var over api.Status // gRPC's JSON reads as ours
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(first.GetStatus())
	if err != nil || json.Unmarshal(text, &over) == nil && !reflect.DeepEqual(over.Slices(), want.Slices()) {
		t.Errorf("%v: %+v, want %+v", err, over.Slices(), want.Slices())
	}
}
