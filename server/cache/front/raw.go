package front

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls below do not tell Go's scheduler of themselves. A call that it is told of and that the kernel interrupts, or that
// takes longer than about 20 us, makes it give the rest of the work to another thread and take it back: on a busy core that
// costs more than the call. None of these can wait: sockets are non-blocking, and files are only sent from memory.

// rawRead is read(2) on a socket.
func rawRead(fd uintptr, p []byte) (int, error) {
	return rawResult(unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p))))
}

// rawWrite is write(2) on a socket.
func rawWrite(fd uintptr, p []byte) (int, error) {
	return rawResult(unix.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p))))
}

// rawWritev is writev(2) on a socket.
func rawWritev(fd uintptr, iov []unix.Iovec) (int, error) {
	return rawResult(unix.RawSyscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(unsafe.SliceData(iov))), uintptr(len(iov))))
}

func rawResult(n, _ uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// sendUnit is how much of a file one sendfile sends at most: other connections have their turn in between, and a collection
// of garbage waits no longer for it.
const sendUnit = 256 << 10

// sender sends pieces of files. blind is set where the kernel does not say what is in memory (before Linux 6.5, or forbidden).
type sender struct{ blind atomic.Bool }

// send is sendfile(2): without the scheduler's knowledge where all pages are in memory, with it where the disk may have to be
// waited for.
func (s *sender) send(fd uintptr, op *writeOp) (int, error) {
	if s.cached(op) {
		off := op.off
		return rawResult(unix.RawSyscall6(unix.SYS_SENDFILE, fd, uintptr(op.file), uintptr(unsafe.Pointer(&off)), uintptr(op.count), 0, 0))
	}
	off := op.off
	n, err := unix.Sendfile(int(fd), op.file, &off, op.count)
	return max(n, 0), err
}

// cached asks cachestat(2) whether all pages of the piece are in memory.
func (s *sender) cached(op *writeOp) bool {
	if s.blind.Load() {
		return false
	}
	span := unix.CachestatRange{Off: uint64(op.off), Len: uint64(op.count)}
	var stat unix.Cachestat_t
	_, _, errno := unix.RawSyscall6(unix.SYS_CACHESTAT, uintptr(op.file), uintptr(unsafe.Pointer(&span)), uintptr(unsafe.Pointer(&stat)), 0, 0, 0)
	switch errno {
	case 0:
	case unix.ENOSYS, unix.EPERM:
		s.blind.Store(true)
		return false
	default:
		return false // sendfile will say what is wrong
	}
	first, end := op.off/pageSize, (op.off+int64(op.count)+pageSize-1)/pageSize
	return stat.Cache >= uint64(end-first)
}

// pageSize is what cachestat counts in: the smallest of any machine, so that larger pages count as not in memory.
const pageSize = 4 << 10
