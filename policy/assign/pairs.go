package assign

// pairLimit is the number of items times targets up to which pairs of moves
// are tried.
const pairLimit = 256

// pairs takes two moves, one after the other, of which the first alone would
// not help. It reports whether any did. Small problems only.
func (w *world) pairs() bool {
	if len(w.at)*len(w.load) > pairLimit {
		return false
	}
	better := false
	over, soft := w.score()
	for i := range w.at {
		for t := range w.load {
			from := w.at[i]
			if !w.may(i, t) {
				continue
			}
			w.put(i, t)
			if j, u := w.second(i, over, soft); j != None {
				w.put(j, u)
				over, soft = w.score()
				better = true
				continue
			}
			w.put(i, from)
		}
	}
	return better
}

// second is the move after that of item i which makes the score better than it
// was before both.
func (w *world) second(i int, over, soft float64) (item, target int) {
	for j := range w.at {
		if j == i {
			continue
		}
		for u := range w.load {
			from := w.at[j]
			if !w.may(j, u) {
				continue
			}
			w.put(j, u)
			o, s := w.score()
			w.put(j, from)
			if o < over-w.eps || o < over+w.eps && s < soft-1e-9*soft {
				return j, u
			}
		}
	}
	return None, None
}

// may says whether an item may move to a target now: it has to leave where it
// was, or there is room.
func (w *world) may(i, t int) bool {
	return w.of[i] != fixed && t != w.at[i] && w.allowed(i, t) && (w.of[i] == forced || w.fits(i, t))
}
