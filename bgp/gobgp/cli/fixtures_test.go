package cli_test

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"github.com/osrg/gobgp/v3/pkg/packet/mrt"
)

// writeFixtures makes the files that the corpus names.
func writeFixtures(t testing.TB, dir string) {
	t.Helper()
	garbage := []byte("this is neither a dump nor a certificate\n")
	peers := record(t, mrt.PEER_INDEX_TABLE, mrt.NewPeerIndexTable("10.0.0.1", "", []*mrt.Peer{
		mrt.NewPeer("10.0.0.2", "10.0.0.2", 64501, true), mrt.NewPeer("10.0.0.3", "10.0.0.3", 64502, true)}))
	routes := slicesOf(peers, dump(t, 1000))
	cert, key := certificate(t)
	for name, b := range map[string][]byte{
		"garbage.pem":    garbage,
		"garbage.pem.gz": garbage,
		"cert.pem":       cert,
		"key.pem":        key,
		"routes.mrt":     routes,
		"routes.mrt.gz":  compressed(t, routes),
		"nopeers.mrt":    dump(t, 1),
		"badpeer.mrt":    slicesOf(peers, rib4(t, 0, 9)),
		"short.mrt":      routes[:len(peers)+20],
		"unknown.mrt": slicesOf(peers, record(t, mrt.RIB_IPV4_MULTICAST, mrt.NewRib(1, bgp.NewIPAddrPrefix(24, "10.0.0.0"),
			[]*mrt.RibEntry{mrt.NewRibEntry(0, 0, 0, attributes(0), false)}))),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func slicesOf(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func record(t testing.TB, kind mrt.MRTSubTypeTableDumpv2, body mrt.Body) []byte {
	t.Helper()
	m, err := mrt.NewMRTMessage(1_700_000_000, mrt.TABLE_DUMPv2, kind, body)
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// dump is n routes of each family.
func dump(t testing.TB, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	for i := range n {
		b.Write(rib4(t, i, 0))
		b.Write(rib6(t, i))
	}
	return b.Bytes()
}

func attributes(i int, more ...bgp.PathAttributeInterface) []bgp.PathAttributeInterface {
	return append([]bgp.PathAttributeInterface{
		bgp.NewPathAttributeOrigin(0),
		bgp.NewPathAttributeAsPath([]bgp.AsPathParamInterface{bgp.NewAs4PathParam(bgp.BGP_ASPATH_ATTR_TYPE_SEQ, []uint32{64501, uint32(65000 + i%50)})}),
		bgp.NewPathAttributeMultiExitDisc(uint32(i % 7)),
		bgp.NewPathAttributeCommunities([]uint32{64501<<16 | uint32(i%9)}),
	}, more...)
}

func rib4(t testing.TB, i, peer int) []byte {
	prefix := bgp.NewIPAddrPrefix(24, fmt.Sprintf("10.%d.%d.0", i/256, i%256))
	entries := []*mrt.RibEntry{mrt.NewRibEntry(uint16(peer), 1_700_000_000, 0, attributes(i, bgp.NewPathAttributeNextHop("10.0.0.2")), false)}
	if peer == 0 && i%10 == 0 {
		entries = append(entries, mrt.NewRibEntry(1, 1_700_000_000, 0, attributes(i+1, bgp.NewPathAttributeNextHop("10.0.0.3")), false))
	}
	return record(t, mrt.RIB_IPV4_UNICAST, mrt.NewRib(uint32(i), prefix, entries))
}

func rib6(t testing.TB, i int) []byte {
	prefix := bgp.NewIPv6AddrPrefix(48, fmt.Sprintf("2001:db8:%x::", i+1))
	reach := bgp.NewPathAttributeMpReachNLRI("2001:db8::2", []bgp.AddrPrefixInterface{prefix})
	return record(t, mrt.RIB_IPV6_UNICAST, mrt.NewRib(uint32(i), prefix,
		[]*mrt.RibEntry{mrt.NewRibEntry(0, 1_700_000_000, 0, attributes(i, reach), false)}))
}

func compressed(t testing.TB, b []byte) []byte {
	t.Helper()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return z.Bytes()
}

// certificate is one for both ends, its own authority.
func certificate(t testing.TB) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b})
}
