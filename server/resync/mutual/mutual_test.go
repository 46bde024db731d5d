package mutual

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority issues certificates into a directory.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte{1},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) write(name, kind string, der []byte) string {
	path := filepath.Join(a.dir, name)
	if kind != "" {
		der = pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	if err := os.WriteFile(path, der, 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

func (a *authority) issue(name string, serial int64, over bool, usages ...x509.ExtKeyUsage) Files {
	a.t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: usages}
	if over {
		tmpl.NotAfter = time.Now().Add(-time.Minute)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	private, _ := x509.MarshalPKCS8PrivateKey(key)
	return Files{
		Certificate: a.write(name+".pem", "CERTIFICATE", der), Key: a.write(name+".key", "PRIVATE KEY", private),
		CA: filepath.Join(a.dir, "ca.pem"), Revoked: filepath.Join(a.dir, "revoked.crl"),
	}
}

func (a *authority) revoke(serial int64) {
	a.t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(serial), RevocationTime: time.Now()}},
	}, a.cert, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write("revoked.crl", "", der)
}

// meet has two sides shake hands, and returns what each says of the other.
func meet(t *testing.T, caller, called Files) (atCaller, atCalled string, errs [2]error) {
	t.Helper()
	c, err := caller.Client()
	if err != nil {
		t.Fatal(err)
	}
	s, err := called.Server()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		raw, err := l.Accept()
		if err != nil {
			errs[1] = err
			return
		}
		conn := tls.Server(raw, s)
		defer conn.Close()
		if errs[1] = conn.Handshake(); errs[1] == nil {
			atCalled, errs[1] = Name(conn.ConnectionState())
		}
	}()
	conn, err := tls.Dial("tcp", l.Addr().String(), c)
	if err == nil {
		defer conn.Close()
		atCaller, err = Name(conn.ConnectionState())
	}
	errs[0] = err
	<-done
	return atCaller, atCalled, errs
}

// TestMeet: POPs of one authority know each other by name; everybody else is
// refused by who looks at them.
func TestMeet(t *testing.T) {
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "ours")
	lon, fra := ours.issue("LON", 2, false, both...), ours.issue("FRA", 3, false, both...)
	forged := theirs.issue("LON", 2, false, both...)
	forged.CA = ours.issue("other", 9, false, both...).CA // it trusts ours; ours does not trust it
	if a, b, errs := meet(t, lon, fra); a != "FRA" || b != "LON" || errs != [2]error{} {
		t.Errorf("%s and %s, %v", a, b, errs)
	}
	for _, tc := range []struct {
		what           string
		caller, called Files
		at             int // who refuses
		why            string
	}{
		{"another authority of the same name calls", forged, fra, 1, "not of our fleet"},
		{"another authority of the same name is called", fra, forged, 0, "not of our fleet"},
		{"expired", ours.issue("OLD", 4, true, both...), fra, 1, "expired"},
		{"for servers alone", ours.issue("SRV", 5, false, x509.ExtKeyUsageServerAuth), fra, 1, "not of our fleet"},
		{"without a name", ours.issue("", 6, false, both...), fra, 1, "without a name"},
	} {
		if _, _, errs := meet(t, tc.caller, tc.called); errs[tc.at] == nil || !strings.Contains(errs[tc.at].Error(), tc.why) {
			t.Errorf("%s: %v, want %q", tc.what, errs[tc.at], tc.why)
		}
	}
	ours.revoke(2) // counts from the next connection on
	if _, _, errs := meet(t, lon, fra); errs[1] == nil || !strings.Contains(errs[1].Error(), "revoked") {
		t.Errorf("revoked: %v", errs)
	}
	ours.write("revoked.crl", "", []byte("junk"))
	if _, err := fra.Server(); err == nil {
		t.Error("a revocation list that cannot be read is passed over")
	}
}

// TestOf: files that are not there, of another POP or over are told of at home.
func TestOf(t *testing.T) {
	a, now := newAuthority(t, "lab"), time.Now()
	right := a.issue("LON", 2, false, x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth)
	for _, c := range []struct {
		what string
		f    Files
		at   time.Time
		want string
	}{
		{"right", right, now, ""},
		{"over", right, now.Add(100 * time.Hour), "ended at"},
		{"another POP's", a.issue("FRA", 3, false), now, `is that of "FRA", and this POP is LON`},
		{"not there", Files{Certificate: "/nowhere/LON.pem", Key: right.Key, CA: right.CA}, now, "/nowhere/LON.pem"},
		{"no authority", Files{Certificate: right.Certificate, Key: right.Key, CA: "/nowhere/ca.pem"}, now, "/nowhere/ca.pem"},
	} {
		err := c.f.Of("LON", c.at)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}
