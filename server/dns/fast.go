package dns

// packedNode is what the fast path keeps of a node.
type packedNode struct{}

func (z *served) prepare() {}

func (w *worker) fast(b []byte) ([]byte, bool) { return b, false }
