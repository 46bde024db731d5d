package get_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/catchment/catchment/server/resync/get"
)

// A client whose bodies go on by themselves: the server cuts the first
// connection, and the reader notices nothing.
func ExampleTransport() {
	content := bytes.Repeat([]byte("catchment "), 100)
	cut := true
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		if cut {
			cut = false
			w.Header().Set("Content-Length", "1000")
			w.Write(content[:400])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "film", time.Time{}, bytes.NewReader(content))
	}))
	defer s.Close()

	client := http.Client{Transport: get.New(get.Options{OnEvent: func(e get.Event) { fmt.Println(e.Kind, e.Offset) }})}
	resp, err := client.Get(s.URL + "/film")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	fmt.Println(len(b), err)
	// Output:
	// started 0
	// broken 400
	// resumed 400
	// 1000 <nil>
}
