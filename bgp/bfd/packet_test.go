package bfd

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// sample is a packet with every supported field set to something else.
var sample = Packet{Diagnostic: DiagNeighborDown, State: Up, Poll: true, Independent: true, Multiplier: 3,
	MyDiscriminator: 0x01020304, YourDiscriminator: 0x05060708, DesiredTransmit: 300000, RequiredReceive: 200000,
	RequiredEcho: 50000}

var sampleBytes = []byte{
	0x23, 0xE8, 3, 24, 1, 2, 3, 4, 5, 6, 7, 8, 0, 4, 0x93, 0xE0, 0, 3, 0x0D, 0x40, 0, 0, 0xC3, 0x50,
}

func TestPacketWireForm(t *testing.T) {
	if got := sample.AppendTo(nil); !bytes.Equal(got, sampleBytes) {
		t.Errorf("encoded\n% x, want\n% x", got, sampleBytes)
	}
	got, err := ParsePacket(append(bytes.Clone(sampleBytes), 1, 2, 3)) // trailing bytes are allowed
	if err != nil || got != sample {
		t.Errorf("parsed %+v, %v; want %+v", got, err, sample)
	}
}

func TestPacketRefused(t *testing.T) {
	tests := []struct {
		name, want string
		edit       func(b []byte) []byte
	}{
		{"short", "23 bytes", func(b []byte) []byte { return b[:23] }},
		{"empty", "0 bytes", func(b []byte) []byte { return nil }},
		{"version 0", "version 0", func(b []byte) []byte { b[0] &= 0x1f; return b }},
		{"version 2", "version 2", func(b []byte) []byte { b[0] = 2 << 5; return b }},
		{"length too small", "length field 23", func(b []byte) []byte { b[3] = 23; return b }},
		{"length too large", "exceeds", func(b []byte) []byte { b[3] = 25; return b }},
		{"auth without section", "length field 24", func(b []byte) []byte { b[1] |= bitAuth; return b }},
		{"auth", "authentication", func(b []byte) []byte { b[1] |= bitAuth; b[3] = 28; return append(b, 1, 4, 0, 'x') }},
		{"multiplier", "multiplier", func(b []byte) []byte { b[2] = 0; return b }},
		{"multipoint", "multipoint", func(b []byte) []byte { b[1] |= bitMultipoint; return b }},
		{"my discriminator", "my discriminator", func(b []byte) []byte { clear(b[4:8]); return b }},
		{"your discriminator", "your discriminator is zero in state up", func(b []byte) []byte { clear(b[8:12]); return b }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParsePacket(tt.edit(bytes.Clone(sampleBytes)))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if errors.Is(err, ErrAuth) != (tt.name == "auth") {
				t.Errorf("error %v: ErrAuth or not is wrong", err)
			}
		})
	}
}

func FuzzParsePacket(f *testing.F) {
	f.Add(sampleBytes)
	f.Add(sampleBytes[:23])
	f.Add(append(bytes.Clone(sampleBytes), 0xFF))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePacket(b)
		if err != nil {
			return
		}
		again, err := ParsePacket(p.AppendTo(nil))
		if err != nil || again != p {
			t.Fatalf("% x: parsed %+v, encoded and parsed again %+v, %v", b, p, again, err)
		}
		m := newMachine(1, timers{1e6, 1e6, 1}, func() float64 { return 0 })
		m.step(input{kind: inPacket, packet: p}, epoch) // no panic, whatever the fields
		m.step(input{kind: inTick}, m.wake())
	})
}
