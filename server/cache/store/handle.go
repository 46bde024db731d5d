package store

import "os"

// OSFile returns the open file that File speaks of, for senders that want more
// than its descriptor; nil if there is none. It is good while the handle is
// held, and is not to be closed, written, or read by its own offset.
func (o *Object) OSFile() *os.File {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.b.file == nil {
		return nil
	}
	f, _ := o.b.file.f.(osFile)
	return f.File
}
