package fill

import (
	"io"
	"sync"
)

// passed is a body that belongs to one client; its end gives the turn back.
type passed struct {
	body io.ReadCloser
	done func()
	once sync.Once
}

func (p *passed) Read(b []byte) (int, error) { return p.body.Read(b) }

func (p *passed) Close() error {
	err := p.body.Close()
	p.once.Do(p.done)
	return err
}
