// Package media reads how many bytes a second a stream takes: from the boxes at
// the start of an MP4 file (ISO 14496-12), from an HLS playlist (RFC 8216) and
// from a DASH manifest (ISO 23009-1). It reads what it is given, keeps nothing,
// and what it does not understand it leaves out: the caller then knows nothing of
// the stream, and lets it be.
package media

import (
	"encoding/binary"
	"encoding/xml"
	"errors"
	"math"
	"strconv"
	"strings"
)

// Rate is what a stream takes, in bytes a second; 0: not told.
type Rate struct{ Average, Peak float64 }

// Variant is one of several forms of a stream.
type Variant struct {
	URI  string // HLS: of its playlist; DASH: the id of the Representation
	Rate Rate
}

// Bounds of what is read.
const (
	maxManifest = 4 << 20
	maxVariants = 1000
)

var (
	errNone  = errors.New("media: no rate is told")
	errLarge = errors.New("media: the manifest is too large")
)

// HLS gives the variants of a multivariant playlist: BANDWIDTH is the peak and
// AVERAGE-BANDWIDTH the average (RFC 8216 section 4.3.4.2).
func HLS(b []byte) ([]Variant, error) {
	if len(b) > maxManifest {
		return nil, errLarge
	}
	var out []Variant
	var rate Rate
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if list, ok := strings.CutPrefix(line, "#EXT-X-STREAM-INF:"); ok {
			rate = Rate{attribute(list, "AVERAGE-BANDWIDTH"), attribute(list, "BANDWIDTH")}
			continue
		}
		if line == "" || line[0] == '#' {
			continue
		}
		if rate.Peak > 0 && len(out) < maxVariants {
			out = append(out, Variant{line, rate})
		}
		rate = Rate{}
	}
	if len(out) == 0 {
		return nil, errNone
	}
	return out, nil
}

// attribute reads a number of bits a second from an attribute list.
func attribute(list, name string) float64 {
	for list != "" {
		key, rest, ok := strings.Cut(list, "=")
		if !ok {
			return 0
		}
		value := rest
		if strings.HasPrefix(rest, `"`) {
			var closed bool
			if value, rest, closed = strings.Cut(rest[1:], `"`); !closed {
				return 0
			}
			_, rest, _ = strings.Cut(rest, ",")
		} else {
			value, rest, _ = strings.Cut(rest, ",")
		}
		if strings.TrimSpace(key) == name {
			return bits(value)
		}
		list = rest
	}
	return 0
}

func bits(s string) float64 {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 40)
	if err != nil {
		return 0
	}
	return float64(n) / 8
}

// DASH gives the Representations of a manifest; bandwidth is what a client with
// a buffer of minBufferTime needs all the time: a peak.
func DASH(b []byte) ([]Variant, error) {
	if len(b) > maxManifest {
		return nil, errLarge
	}
	var out []Variant
	d := xml.NewDecoder(strings.NewReader(string(b)))
	for len(out) < maxVariants {
		t, err := d.Token()
		if err != nil {
			break // the end, or what is broken: what came before counts
		}
		e, ok := t.(xml.StartElement)
		if !ok || e.Name.Local != "Representation" {
			continue
		}
		var v Variant
		for _, a := range e.Attr {
			switch a.Name.Local {
			case "id":
				v.URI = a.Value
			case "bandwidth":
				v.Rate.Peak = bits(a.Value)
			}
		}
		if v.Rate.Peak > 0 {
			out = append(out, v)
		}
	}
	if len(out) == 0 {
		return nil, errNone
	}
	return out, nil
}

// MP4 gives the rate of a file of so many bytes by its first ones: its size by
// the length of play in moov/mvhd. The peak is not told. A fragmented file, or
// one with moov at its end, gives none.
func MP4(head []byte, size int64) (Rate, error) {
	moov := find(head, "moov")
	mvhd := find(moov, "mvhd")
	if len(mvhd) < 20 || size <= 0 {
		return Rate{}, errNone
	}
	var scale, length float64
	if mvhd[0] == 1 {
		if len(mvhd) < 32 {
			return Rate{}, errNone
		}
		scale, length = float64(binary.BigEndian.Uint32(mvhd[20:])), float64(binary.BigEndian.Uint64(mvhd[24:]))
	} else {
		scale, length = float64(binary.BigEndian.Uint32(mvhd[12:])), float64(binary.BigEndian.Uint32(mvhd[16:]))
		if length == math.MaxUint32 {
			length = 0
		}
	}
	if scale == 0 || length == 0 || length/scale > 1e6 {
		return Rate{}, errNone
	}
	return Rate{Average: float64(size) / (length / scale)}, nil
}

// find gives the contents of the first box of a type, as far as they are there.
func find(b []byte, name string) []byte {
	for len(b) >= 8 {
		size, header := uint64(binary.BigEndian.Uint32(b)), uint64(8)
		switch {
		case size == 1 && len(b) >= 16:
			size, header = binary.BigEndian.Uint64(b[8:]), 16
		case size == 0:
			size = uint64(len(b))
		}
		if size < header {
			return nil
		}
		end := min(size, uint64(len(b)))
		if string(b[4:8]) == name {
			return b[min(header, end):end]
		}
		b = b[end:]
	}
	return nil
}
