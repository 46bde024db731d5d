package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/catchment/catchment/health"
)

// fileCheck fails while a file exists: as a maintenance check that asks for a
// drain, and the file's first line says why. Inverted, it fails while the
// file is missing. Either is conclusive: a file is there or it is not.
type fileCheck struct {
	path   string
	invert bool
}

func newFile(c Config) health.Checker { return &fileCheck{path: c.Path, invert: c.Invert} }

func (f *fileCheck) Check(context.Context) health.Result {
	_, err := os.Stat(f.path)
	missing := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
	if err != nil && !missing {
		return health.Result{Detail: oneLine(err.Error())}
	}
	detail := f.path + " does not exist"
	if !missing {
		detail = f.path + " exists"
		if line := f.line(); line != "" {
			detail = fmt.Sprintf("%s: %s", f.path, line)
		}
	}
	if missing == f.invert {
		return health.Result{Outcome: health.Fail, Conclusive: true, Detail: oneLine(detail)}
	}
	return health.Result{Outcome: health.Pass, Detail: oneLine(detail)}
}

// line returns the first line, of a regular file only: a pipe would block.
func (f *fileCheck) line() string {
	file, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	text, err := io.ReadAll(io.LimitReader(file, maxDetail))
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line)
}
