package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// insiders returns the processes in the PID namespace of process init, which
// is left out: by their number inside, the number as seen from here.
func insiders(init int) (map[int]int, error) {
	want, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", init))
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	out := map[int]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == init {
			continue
		}
		if have, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid)); err != nil || have != want {
			continue
		}
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue // gone meanwhile
		}
		numbers := strings.Fields(field(string(raw), "NSpid"))
		if len(numbers) == 0 {
			continue
		}
		inside, err := strconv.Atoi(numbers[len(numbers)-1])
		if err == nil {
			out[inside] = pid
		}
	}
	return out, nil
}

// field returns a line of /proc/PID/status.
func field(status, name string) string {
	for line := range strings.Lines(status) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func hostPid(init, inside int) (int, error) {
	all, err := insiders(init)
	if err != nil {
		return 0, err
	}
	pid, ok := all[inside]
	if !ok {
		return 0, fmt.Errorf("no process %d in the node", inside)
	}
	return pid, nil
}
