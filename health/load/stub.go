package load

import (
	"fmt"
	"io"
	"strings"
)

// readStubStatus reads the page of nginx's ngx_http_stub_status_module: active
// connections, and the requests since nginx started. The answer to our own
// question is among both.
func readStubStatus(r io.Reader) (Reading, error) {
	text, err := io.ReadAll(io.LimitReader(r, 4096))
	if err != nil {
		return nil, err
	}
	lines := strings.Split(string(text), "\n")
	var active, accepts, handled, requests uint64
	ok := len(lines) >= 3
	if ok {
		_, err = fmt.Sscanf(lines[0], "Active connections: %d", &active)
		ok = err == nil && strings.HasPrefix(lines[1], "server accepts handled requests")
	}
	if ok {
		_, err = fmt.Sscanf(lines[2], "%d %d %d", &accepts, &handled, &requests)
		ok = err == nil
	}
	if !ok {
		return nil, fmt.Errorf("this is no page of nginx's stub_status")
	}
	return Reading{
		{Unit: Connections, Value: float64(active)},
		{Unit: Requests, Kind: Counter, Value: float64(requests)},
	}, nil
}
