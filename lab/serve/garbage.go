package serve

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"time"
)

// GarbageMain connects to a BGP speaker again and again and sends it what no
// peer should: noise, broken headers, an OPEN cut short, an UPDATE before the
// OPEN. It fails only when it cannot connect at all.
func GarbageMain(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("garbage", flag.ContinueOnError)
	to := fs.String("to", "", "address and port")
	count := fs.Int("count", 100, "connections to make")
	seed := fs.Uint64("seed", 1, "of the noise")
	if err := fs.Parse(args); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(*seed, *seed))
	reached := 0
	for n := range *count {
		if ctx.Err() != nil {
			break
		}
		if err := spoil(ctx, *to, garbage(random, n)); err == nil {
			reached++
		}
	}
	fmt.Fprintf(os.Stdout, "%d of %d connections took garbage\n", reached, *count)
	if reached == 0 {
		return fmt.Errorf("%s: no connection could be made", *to)
	}
	return nil
}

func spoil(ctx context.Context, to string, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", to)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := conn.Write(data); err != nil {
		return err
	}
	var reply [512]byte
	conn.Read(reply[:]) // whatever it says, or nothing
	return nil
}

// garbage is one of several kinds of bad bytes, by turns.
func garbage(random *rand.Rand, n int) []byte {
	noise := make([]byte, 16+random.IntN(4080))
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	marker := make([]byte, 19, 19+len(noise))
	for i := range 16 {
		marker[i] = 0xff
	}
	header := func(length uint16, kind byte) []byte {
		binary.BigEndian.PutUint16(marker[16:], length)
		marker[18] = kind
		return marker
	}
	switch n % 6 {
	case 0:
		return noise
	case 1: // shorter than its own header
		return header(uint16(random.IntN(19)), 1)
	case 2: // longer than any message
		return append(header(65535, 2), noise...)
	case 3: // an OPEN of noise
		return append(header(uint16(19+len(noise)), 1), noise...)
	case 4: // an UPDATE of noise before any OPEN
		return append(header(uint16(19+len(noise)), 2), noise...)
	default: // an unknown type, cut short
		return append(header(4096, byte(6+random.IntN(250))), noise[:16]...)
	}
}
