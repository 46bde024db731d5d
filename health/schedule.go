package health

import (
	"container/heap"
	"time"
)

// maxSleep is the longest the loop sleeps, so that it notices a stall of the
// process soon after.
const maxSleep = time.Second

// schedule is a heap of tasks by their wake time. Every task is in it at most
// once; a task's index is its place, -1 while it is out.
type schedule []*task

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].wake.Before(s[j].wake) }
func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].index, s[j].index = i, j
}

// Push is for container/heap only.
func (s *schedule) Push(x any) {
	t := x.(*task)
	t.index = len(*s)
	*s = append(*s, t)
}

// Pop is for container/heap only.
func (s *schedule) Pop() any {
	old := *s
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*s = old[:len(old)-1]
	t.index = -1
	return t
}

// fix puts a task where its wake time belongs, adding it if it is not there.
func (s *schedule) fix(t *task) {
	if t.index < 0 {
		heap.Push(s, t)
	} else {
		heap.Fix(s, t.index)
	}
}

func (s *schedule) remove(t *task) {
	if t.index >= 0 {
		heap.Remove(s, t.index)
	}
}

func (s schedule) top() *task {
	if len(s) == 0 {
		return nil
	}
	return s[0]
}

func (s schedule) sleep(now time.Time) time.Duration {
	t := s.top()
	if t == nil {
		return maxSleep
	}
	return min(max(t.wake.Sub(now), 0), maxSleep)
}
