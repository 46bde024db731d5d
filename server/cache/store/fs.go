package store

import (
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// fsys is the file system under the disk tier: the seam where tests inject
// errors, torn writes and crashes. Names are whole paths.
type fsys interface {
	Open(name string, flag int) (file, error)
	Remove(name string) error
	Rename(from, to string) error
	MkdirAll(name string) error
	List(dir string) ([]fs.DirEntry, error)
	Size(name string) (int64, error)
}

// file is what the store needs of an open file.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
	// Allocate reserves room for n bytes at off without changing the size.
	Allocate(off, n int64) error
	// Fd is for sendfile(2).
	Fd() uintptr
}

type osFS struct{}

func (osFS) Open(name string, flag int) (file, error) {
	f, err := os.OpenFile(name, flag, 0o640)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Remove(name string) error               { return os.Remove(name) }
func (osFS) Rename(from, to string) error           { return os.Rename(from, to) }
func (osFS) MkdirAll(name string) error             { return os.MkdirAll(name, 0o750) }
func (osFS) List(dir string) ([]fs.DirEntry, error) { return os.ReadDir(dir) }

func (osFS) Size(name string) (int64, error) {
	in, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	return in.Size(), nil
}

type osFile struct{ *os.File }

func (f osFile) Allocate(off, n int64) error {
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, off, n)
}

// readFull reads exactly len(p) bytes; a shorter file is io.ErrUnexpectedEOF.
func readFull(f io.ReaderAt, p []byte, off int64) error {
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
