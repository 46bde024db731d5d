package front

import "sync"

// gatherWrite keeps p for the next write, or sends it behind what is kept.
func (s *sock) gatherWrite(p []byte) (int, error) {
	g := s.gather
	held := len(*g)
	if held+len(p) <= cap(*g) {
		*g = append(*g, p...)
		return len(p), nil
	}
	*g = (*g)[:0]
	if held == 0 {
		return s.send(p, nil)
	}
	n, err := s.send((*g)[:held], p)
	s.lost += int64(max(0, held-n))
	return max(0, n-held), err
}

// collect gathers what is written until release, so that several TLS records go out by one system call. Only one goroutine
// may write meanwhile.
func (s *sock) collect() {
	s.gather, s.lost = gatherPool.Get().(*[]byte), 0
}

// release sends what was gathered. lost is how much of all that Write has taken since collect was not sent.
func (s *sock) release() (lost int64, err error) {
	g := s.gather
	s.gather = nil
	if held := len(*g); held > 0 {
		var n int
		n, err = s.send(*g, nil)
		s.lost += int64(held - n)
	}
	*g = (*g)[:0]
	gatherPool.Put(g)
	return s.lost, err
}

// gatherPool has room for three full records and a bit: the fourth goes with them uncopied.
var gatherPool = sync.Pool{New: func() any { b := make([]byte, 0, 50<<10); return &b }}
