// Package rpkitest has RTR caches for tests: one in memory that can be told
// what to say and when, and StayRTR, where it is installed.
package rpkitest

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/catchment/catchment/bgp/rpki"
)

// patience bounds the wait for a program to listen.
const patience = 30 * time.Second

// Cache is an RTR cache in memory. Its version of the protocol is that of the
// question, up to Version.
type Cache struct {
	Address string // host:port

	mu      sync.Mutex
	l       net.Listener
	vrps    []rpki.VRP
	version uint8
	serial  uint32
	silent  bool // never ends its data
	conns   map[net.Conn]bool
	wg      sync.WaitGroup
}

// Start runs a cache at the address (port 0: any) that has the VRPs.
func Start(t testing.TB, address string, vrps ...rpki.VRP) *Cache {
	t.Helper()
	c := &Cache{vrps: vrps, version: 1, serial: 1, conns: map[net.Conn]bool{}}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c.l, c.Address = l, l.Addr().String()
	c.wg.Go(c.accept)
	t.Cleanup(c.Close)
	return c
}

// Port is the port of Address.
func (c *Cache) Port() int { return c.l.Addr().(*net.TCPAddr).Port }

// Close ends the cache and its sessions.
func (c *Cache) Close() {
	c.l.Close()
	c.Hang()
	c.wg.Wait()
}

// Hang closes all sessions.
func (c *Cache) Hang() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		conn.Close()
	}
}

// Old makes it speak no newer version of the protocol.
func (c *Cache) Old(version uint8) { c.mu.Lock(); defer c.mu.Unlock(); c.version = version }

// Silent makes it never come to the end of its data.
func (c *Cache) Silent() { c.mu.Lock(); defer c.mu.Unlock(); c.silent = true }

// Set replaces the VRPs and tells everybody who is connected that there are
// new ones; who asks gets them all.
func (c *Cache) Set(vrps ...rpki.VRP) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.vrps, c.serial = vrps, c.serial+1
	for conn := range c.conns {
		// Who has hung up needs no notice.
		_, _ = conn.Write(pdu(0, 0, uint16(c.serial), binary.BigEndian.AppendUint32(nil, c.serial)))
	}
}

func (c *Cache) accept() {
	for {
		conn, err := c.l.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		c.conns[conn] = true
		c.mu.Unlock()
		c.wg.Go(func() {
			c.session(conn)
			c.mu.Lock()
			delete(c.conns, conn)
			c.mu.Unlock()
			conn.Close()
		})
	}
}

func (c *Cache) session(conn net.Conn) {
	for {
		var head [8]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(head[4:]))-8); err != nil {
			return
		}
		c.mu.Lock()
		answer := c.answer(head[0], head[1])
		_, err := conn.Write(answer)
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// answer is what it says to a query of a kind, in a version of the protocol.
func (c *Cache) answer(version, kind uint8) []byte {
	if version > c.version {
		return pdu(c.version, 10, 4, make([]byte, 8)) // error: unsupported version
	}
	if kind == 1 { // serial query: we keep no history
		return pdu(version, 8, 0, nil)
	}
	session := uint16(c.serial) // another one each time: who has the old data drops all of it
	out := pdu(version, 3, session, nil)
	for _, v := range c.vrps {
		k := uint8(4)
		if v.Prefix.Addr().Is6() {
			k = 6
		}
		body := append([]byte{1, byte(v.Prefix.Bits()), byte(v.MaxLength), 0}, v.Prefix.Addr().AsSlice()...)
		out = append(out, pdu(version, k, 0, binary.BigEndian.AppendUint32(body, v.AS))...)
	}
	if c.silent {
		return out
	}
	end := binary.BigEndian.AppendUint32(nil, c.serial)
	if version > 0 { // refresh, retry, expire
		end = append(end, 0, 0, 14, 16, 0, 0, 2, 88, 0, 0, 28, 32)
	}
	return append(out, pdu(version, 7, session, end)...)
}

func pdu(version, kind uint8, session uint16, body []byte) []byte {
	out := binary.BigEndian.AppendUint16([]byte{version, kind}, session)
	out = binary.BigEndian.AppendUint32(out, uint32(8+len(body)))
	return append(out, body...)
}

// StayRTR runs a real RTR server at the address, which has the VRPs, and
// returns once it listens; the test is skipped where it is not installed.
func StayRTR(t testing.TB, address string, vrps ...rpki.VRP) {
	t.Helper()
	path, err := exec.LookPath("stayrtr")
	if err != nil {
		t.Skip("no StayRTR: ", err)
	}
	type roa struct {
		Prefix    netip.Prefix `json:"prefix"`
		MaxLength int          `json:"maxLength"`
		AS        string       `json:"asn"`
		TA        string       `json:"ta"`
		Expires   int64        `json:"expires"`
	}
	var roas []roa
	for _, v := range vrps {
		roas = append(roas, roa{v.Prefix, v.MaxLength, fmt.Sprintf("AS%d", v.AS), "test", time.Now().Add(time.Hour).Unix()})
	}
	text, err := json.Marshal(map[string]any{"roas": roas})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "vrps.json")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-cache", file, "-bind", address, "-checktime=false", "-metrics.addr", "")
	out := t.Output()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // killed
	})
	if err := listens(t.Context(), address); err != nil {
		t.Fatalf("StayRTR does not listen: %v", err)
	}
}

// listens waits until something listens at the address, for patience at most.
func listens(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-again.C:
		}
	}
}
