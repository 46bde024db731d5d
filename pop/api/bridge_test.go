package api

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api/catchmentv1"
)

// pair is a type of ours and the message that has its JSON.
type pair struct {
	ours     reflect.Type
	message  proto.Message
	generate func(*rand.Rand) any
}

func pairs() []pair {
	return []pair{
		pairOf[Status](&catchmentv1.Status{}), pairOf[Explanation](&catchmentv1.Explanation{}),
		pairOf[JournalEntry](&catchmentv1.JournalEntry{}), pairOf[Event](&catchmentv1.Event{}),
		pairOf[Change](&catchmentv1.Change{}), pairOf[Result](&catchmentv1.Result{}), pairOf[Reloaded](&catchmentv1.Reloaded{}),
		pairOf[Fleet](&catchmentv1.Fleet{}), pairOf[NewWindow](&catchmentv1.NewWindow{}), pairOf[WindowName](&catchmentv1.WindowName{}),
		pairOf[Rights](&catchmentv1.RightsResponse{}),
		pairOf[CoreStatus](&catchmentv1.CoreStatus{}), pairOf[CoreConfig](&catchmentv1.CoreConfig{}), pairOf[CoreObject](&catchmentv1.CoreObject{}),
		pairOf[IngressReport](&catchmentv1.IngressReport{}),
		pairOf[CacheStatus](&catchmentv1.CacheStatus{}), pairOf[CachePurge](&catchmentv1.CachePurge{}), pairOf[CachePurged](&catchmentv1.CachePurged{}), pairOf[CachePurges](&catchmentv1.CachePurges{}),
		pairOf[CacheQuery](&catchmentv1.CacheQuery{}), pairOf[CacheObject](&catchmentv1.CacheObject{}), pairOf[CacheTrace](&catchmentv1.CacheTrace{}),
		pairOf[CoreChange](&catchmentv1.CoreChange{}), pairOf[CoreResult](&catchmentv1.CoreResult{}), pairOf[CoreQuery](&catchmentv1.CoreQuery{}), pairOf[CoreRollout](&catchmentv1.CoreRollout{}),
		pairOf[PlanRequest](&catchmentv1.PlanRequest{}), pairOf[Plan](&catchmentv1.Plan{}),
	}
}

func pairOf[T any](m proto.Message) pair {
	return pair{reflect.TypeFor[T](), m, func(r *rand.Rand) any {
		v := reflect.New(reflect.TypeFor[T]()).Elem()
		fill(r, v, 0)
		return v.Interface()
	}}
}

// TestBridgeFields: both sides have the same fields, all the way down.
func TestBridgeFields(t *testing.T) {
	for _, p := range pairs() {
		compare(t, p.ours, p.message.ProtoReflect().Descriptor(), map[reflect.Type]bool{})
	}
}

func compare(t *testing.T, ours reflect.Type, d protoreflect.MessageDescriptor, seen map[reflect.Type]bool) {
	if seen[ours] {
		return
	}
	seen[ours] = true
	fields := map[string]reflect.Type{}
	jsonFields(ours, fields)
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		our, ok := fields[string(f.Name())]
		if !ok {
			t.Errorf("%s has %s, and %v has not", d.FullName(), f.Name(), ours)
			continue
		}
		delete(fields, string(f.Name()))
		for our.Kind() == reflect.Pointer || our.Kind() == reflect.Slice && our != reflect.TypeFor[json.RawMessage]() {
			our = our.Elem()
		}
		if our.Kind() == reflect.Struct && !isText(our) && f.Kind() == protoreflect.MessageKind {
			compare(t, our, f.Message(), seen)
		}
	}
	for name := range fields {
		t.Errorf("%v has %s, and %s has not", ours, name, d.FullName())
	}
}

func isText(t reflect.Type) bool { return t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) }

// jsonFields lists the JSON names of a struct's fields, embedded ones too.
func jsonFields(t reflect.Type, into map[string]reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			jsonFields(f.Type, into)
			if t == reflect.TypeFor[Neighbor]() {
				delete(into, "neighbors") // what one neighbor hears is not of neighbors again
			}
		case name != "-" && f.IsExported():
			into[name] = f.Type
		}
	}
}

// TestBridgeValues: whatever a value holds, its message holds the same.
func TestBridgeValues(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, p := range pairs() {
		for range 50 {
			v := p.generate(random)
			ours, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			m := p.message.ProtoReflect().New().Interface()
			if err := protojson.Unmarshal(ours, m); err != nil {
				t.Fatalf("%T: %v\n%s", v, err, ours)
			}
			theirs, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			var a, b any
			if json.Unmarshal(ours, &a) != nil || json.Unmarshal(theirs, &b) != nil {
				t.Fatal("no JSON")
			}
			if where := differ(a, b, p.ours.Name()); where != "" {
				t.Fatalf("%s\nours   %s\ntheirs %s", where, ours, theirs)
			}
		}
	}
}

// TestBridgeBack: what a client asks for by gRPC arrives as by HTTP.
func TestBridgeBack(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		want := pairOf[Change](nil).generate(random).(Change)
		m, err := toProto[catchmentv1.Change](want)
		if err != nil {
			t.Fatal(err)
		}
		var got Change
		if err := fromProto(m, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%v\n got %+v\nwant %+v", err, got, want)
		}
	}
}

// differ names the first place where two JSON values mean different things:
// what is absent, null or zero means the same, numbers may be strings, and
// times and durations are written in more than one way.
func differ(a, b any, where string) string {
	switch x := a.(type) {
	case map[string]any:
		y, _ := b.(map[string]any)
		keys := map[string]bool{}
		for k := range x {
			keys[k] = true
		}
		for k := range y {
			keys[k] = true
		}
		for k := range keys {
			if d := differ(x[k], y[k], where+"."+k); d != "" {
				return d
			}
		}
		return ""
	case []any:
		y, _ := b.([]any)
		if len(x) != len(y) {
			return fmt.Sprintf("%s: %d and %d", where, len(x), len(y))
		}
		for i := range x {
			if d := differ(x[i], y[i], fmt.Sprintf("%s[%d]", where, i)); d != "" {
				return d
			}
		}
		return ""
	}
	if plain(a) == plain(b) {
		return ""
	}
	if empty, ok := b.(map[string]any); ok && a == nil && len(empty) == 0 {
		return ""
	}
	return fmt.Sprintf("%s: %v and %v", where, a, b)
}

func plain(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case float64:
		if x == 0 {
			return ""
		}
		return strconv.FormatFloat(x, 'g', -1, 64)
	case bool:
		if !x {
			return ""
		}
	case string:
		if t, err := time.Parse(time.RFC3339Nano, x); err == nil {
			return t.UTC().Format(time.RFC3339Nano)
		}
		if d, err := time.ParseDuration(x); err == nil {
			if d == 0 {
				return ""
			}
			return d.String()
		}
		if n, err := strconv.ParseFloat(x, 64); err == nil {
			return plain(n)
		}
	case []any:
		if len(x) == 0 {
			return ""
		}
	}
	return fmt.Sprint(v)
}

// fill gives a value random contents.
func fill(r *rand.Rand, v reflect.Value, depth int) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(r.Int64N(1e9), r.Int64N(1e9)).UTC()))
		return
	case Duration:
		v.Set(reflect.ValueOf(Duration(r.Int64N(1e14))))
		return
	case policy.SliceID:
		v.Set(reflect.ValueOf(policy.SliceID(netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, byte(r.IntN(255))}), 24))))
		return
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.AddrFrom4([4]byte{10, byte(r.IntN(255)), 0, 1})))
		return
	case json.RawMessage:
		v.Set(reflect.ValueOf(json.RawMessage(`{"seq":7,"inputs":{"a":[1,"x",null]}}`)))
		return
	case policy.Verdict, policy.Action:
		v.SetUint(r.Uint64N(3))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(r, v.Field(i), depth+1)
			}
		}
		if n, ok := v.Addr().Interface().(*Neighbor); ok {
			n.Neighbors = nil
		}
	case reflect.Pointer:
		if r.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(r, v.Elem(), depth+1)
		}
	case reflect.Slice:
		n := r.IntN(3)
		if depth > 6 {
			n = min(n, 1)
		}
		if n == 0 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(r, v.Index(i), depth+1)
		}
	case reflect.String:
		v.SetString(slices.Concat([]string{"", "a", "ä \x00 b"}, []string{"c"})[r.IntN(4)])
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int64, reflect.Int32:
		v.SetInt(r.Int64N(1 << 30))
	case reflect.Uint, reflect.Uint64, reflect.Uint32:
		v.SetUint(r.Uint64N(1 << 30))
	case reflect.Float64:
		v.SetFloat(r.Float64())
	}
}

func TestDurationText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", 10 * time.Second: "10s", time.Minute + 30*time.Second: "90s", 1500 * time.Microsecond: "0.0015s",
		time.Nanosecond: "0.000000001s", -time.Second / 2: "-0.5s", 1<<63 - 1: "9223372036.854775807s", -1 << 63: "-9223372036.854775808s",
	} {
		text, err := Duration(d).MarshalText()
		var back Duration
		if err2 := back.UnmarshalText(text); string(text) != want || err != nil || err2 != nil || time.Duration(back) != d {
			t.Errorf("%v: %q, want %q; back %v (%v, %v)", d, text, want, time.Duration(back), err, err2)
		}
	}
}
