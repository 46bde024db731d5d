package site

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes, written as 64MiB, 10MB or 512.
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3}, {"B", 1}, {"", 1},
}

// ParseSize reads a Size.
func ParseSize(s string) (Size, error) {
	number := strings.TrimRight(s, "BKMGTikb ")
	unit := strings.TrimSpace(s[len(number):])
	n, err := strconv.ParseFloat(number, 64)
	for _, u := range sizeUnits {
		if b := n * float64(u.bytes); u.name == unit && err == nil && b >= 0 && b < math.MaxInt64 {
			return Size(b), nil
		}
	}
	return 0, fmt.Errorf("want a size such as 64MiB, got %q", s)
}

// String is what ParseSize reads.
func (s Size) String() string {
	for _, u := range sizeUnits[:4] {
		if s > 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// UnmarshalText is ParseSize.
func (s *Size) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSize(string(text))
	return err
}

// MarshalText is String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
