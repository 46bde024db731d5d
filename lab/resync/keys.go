package resync

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// keys writes what the nodes find in /etc/keys: a certificate authority, a
// certificate for each POP by its name, one for the addresses that clients ask,
// and the secret of the fleet.
func keys(dir string) error {
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lab"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if err := write(dir, "ca", ca, ca, caKey, caKey); err != nil {
		return err
	}
	for i, name := range []string{"lon", "fra", "web"} {
		leaf := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 2)), Subject: pkix.Name{CommonName: map[string]string{"lon": "LON", "fra": "FRA", "web": "web"}[name]},
			NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
		switch name {
		case "web":
			leaf.IPAddresses = []net.IP{net.ParseIP(vip4), net.ParseIP(vip6)}
		default:
			leaf.DNSNames = []string{leaf.Subject.CommonName}
			leaf.IPAddresses = []net.IP{net.ParseIP(pops[name].addr)}
		}
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		if err := write(dir, name, leaf, ca, key, caKey); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "fleet.key"), []byte("lab-fleet-secret-of-no-value-elsewhere\n"), 0o600)
}

func write(dir, name string, form, by *x509.Certificate, key, byKey *ecdsa.PrivateKey) error {
	cert, err := x509.CreateCertificate(rand.Reader, form, by, &key.PublicKey, byKey)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}
