package gobgp

import (
	"net/netip"
	"testing"

	api "github.com/osrg/gobgp/v3/api"
	"google.golang.org/protobuf/proto"
)

// FuzzForced: whatever attributes a client sends, they are carried or refused.
func FuzzForced(f *testing.F) {
	s, err := New(Options{Config: &Config{}})
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range []string{"192.0.2.0/24", "2001:db8::/32"} {
		path, err := PathForTest(netip.MustParsePrefix(p))
		if err != nil {
			f.Fatal(err)
		}
		seed, err := proto.Marshal(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var p api.Path
		if proto.Unmarshal(data, &p) != nil {
			return
		}
		prefix, ok := prefixOfAPI(&p)
		if !ok || !prefix.IsValid() {
			return
		}
		attrs, err := s.attributesOf(&p)
		if err == nil && validateAttributes(prefix, attrs) != nil {
			t.Errorf("%+v is taken and cannot be sent", attrs)
		}
	})
}
