package rpki

import (
	"bytes"
	"testing"
)

// FuzzRead: whatever a cache says, there is an answer, and each VRP of it is
// one that can be.
func FuzzRead(f *testing.F) {
	response := []byte{1, cacheResponse, 0, 7, 0, 0, 0, 8}
	v4 := []byte{1, ipv4Prefix, 0, 0, 0, 0, 0, 20, 1, 24, 24, 0, 192, 0, 2, 0, 0, 0, 251, 244}
	gone := bytes.Clone(v4)
	gone[8] = 0
	end := []byte{1, endOfData, 0, 7, 0, 0, 0, 24, 0, 0, 0, 1, 0, 0, 14, 16, 0, 0, 2, 88, 0, 0, 28, 32}
	report := []byte{1, errorReport, 0, 2, 0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0, 2, 'n', 'o'}
	f.Add(bytes.Join([][]byte{response, v4, end}, nil))
	f.Add(bytes.Join([][]byte{response, v4, gone, v4, end}, nil))
	f.Add(report)
	f.Fuzz(func(t *testing.T, data []byte) {
		vrps, err := read(bytes.NewReader(data), 1, func(VRP) bool { return true })
		seen := map[VRP]bool{}
		for _, v := range vrps {
			if err != nil || seen[v] || v.Prefix != v.Prefix.Masked() || v.MaxLength < v.Prefix.Bits() || v.MaxLength > v.Prefix.Addr().BitLen() {
				t.Errorf("%v, %v", v, err)
			}
			seen[v] = true
		}
	})
}
