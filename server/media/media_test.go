package media

import (
	"encoding/binary"
	"testing"
)

const playlist = "#EXTM3U\n#EXT-X-STREAM-INF:AVERAGE-BANDWIDTH=800000,CODECS=\"a,BANDWIDTH=1\",BANDWIDTH=1600000\nlow.m3u8\n\n#EXT-X-STREAM-INF:BANDWIDTH=8000000\r\nhigh.m3u8\r\n"

const manifest = `<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><AdaptationSet><Representation id="v1" bandwidth="800000"/><Representation id="v2" bandwidth="8000000"></Representation><Representation id="x" bandwidth="-1"/></AdaptationSet></Period></MPD>`

func box(name string, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	return append(append(b, name...), body...)
}

func mvhd(version byte) []byte {
	b := make([]byte, 100)
	if b[0] = version; version == 1 {
		binary.BigEndian.PutUint32(b[20:], 1000)
		binary.BigEndian.PutUint64(b[24:], 60_000)
	} else {
		binary.BigEndian.PutUint32(b[12:], 1000)
		binary.BigEndian.PutUint32(b[16:], 60_000)
	}
	return append(box("ftyp", []byte("isom")), box("moov", append(box("free", nil), box("mvhd", b)...))...)
}

func TestRates(t *testing.T) {
	v, err := HLS([]byte(playlist))
	if err != nil || len(v) != 2 || v[0] != (Variant{"low.m3u8", Rate{100e3, 200e3}}) || v[1] != (Variant{"high.m3u8", Rate{0, 1e6}}) {
		t.Errorf("HLS: %+v, %v", v, err)
	}
	v, err = DASH([]byte(manifest))
	if err != nil || len(v) != 2 || v[0] != (Variant{"v1", Rate{0, 100e3}}) || v[1].Rate.Peak != 1e6 {
		t.Errorf("DASH: %+v, %v", v, err)
	}
	for version := range byte(2) {
		if r, err := MP4(mvhd(version), 6_000_000); err != nil || r.Average != 100e3 {
			t.Errorf("MP4 version %d: %+v, %v", version, r, err)
		}
	}
	for _, b := range [][]byte{nil, []byte("#EXTM3U\n"), []byte("<MPD>"), {0, 0, 0, 1, 'm', 'o', 'o', 'v'}, mvhd(0)[:30], box("moov", box("mvhd", make([]byte, 100)))} {
		if v, err := HLS(b); err == nil {
			t.Errorf("HLS of %q: %v", b, v)
		}
		if v, err := DASH(b); err == nil {
			t.Errorf("DASH of %q: %v", b, v)
		}
		if r, err := MP4(b, 1000); err == nil {
			t.Errorf("MP4 of %q: %v", b, r)
		}
	}
	if _, err := HLS(make([]byte, maxManifest+1)); err != errLarge {
		t.Errorf("%v of what is too large", err)
	}
}

func FuzzMedia(f *testing.F) {
	for _, b := range [][]byte{[]byte(playlist), []byte(manifest), mvhd(0), mvhd(1)} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		hls, _ := HLS(b)
		dash, _ := DASH(b)
		for _, v := range append(hls, dash...) {
			if !(v.Rate.Peak > 0) || !(v.Rate.Average >= 0) {
				t.Fatalf("%+v", v)
			}
		}
		if r, err := MP4(b, 1e6); err == nil && !(r.Average > 0) {
			t.Fatalf("%+v", r)
		}
	})
}
