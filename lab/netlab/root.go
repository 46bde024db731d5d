package netlab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// rootSpec is what a node's init must build before anything runs.
type rootSpec struct {
	Hostname string
	Mount    string // an empty host folder to build on
	Self     string // the binary of the lab, for Tools
	Programs string // Options.Bin
	Tools    []string
	Files    []bind // COPY of the image, then binds
	Sysctls  map[string]string
	Squash   bool // only one user exists here: see squash.go
}

// Where things are inside a node.
const (
	inside   = "/run/netlab"
	hostRoot = inside + "/host"     // the host's files, read-only
	selfPath = inside + "/self"     // the lab's binary
	toolDir  = inside + "/bin"      // links to it, one a tool
	progDir  = inside + "/programs" // Options.Bin
	nodePath = toolDir + ":" + progDir + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// build makes the root of the node and moves into it. The root is a tmpfs
// whose entries are links into a read-only view of the host; a folder in
// which the node needs something of its own becomes a real folder with links
// for the rest (own).
func (r *rootSpec) build() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	steps := []func() error{r.skeleton, r.kernelFiles, r.ownFiles, r.tools, r.users, r.pivot, r.sysctls}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	if err := unix.Sethostname([]byte(r.Hostname)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	if r.Squash {
		return squashUsers()
	}
	return nil
}

// skeleton mounts the tmpfs and the view of the host, and links or makes the
// first level.
func (r *rootSpec) skeleton() error {
	if err := unix.Mount("tmpfs", r.Mount, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount the root: %w", err)
	}
	view := r.Mount + hostRoot
	if err := os.MkdirAll(view, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("/", view, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind the host's files: %w", err)
	}
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(-1, view, unix.AT_RECURSIVE, attr); err != nil {
		return fmt.Errorf("make the host's files read-only (needs Linux 5.12): %w", err)
	}
	if err := r.linkEntries("/"); err != nil {
		return err
	}
	for _, d := range []string{"etc", "var", "var/lib", "var/log", "var/cache", "var/spool"} {
		if _, err := r.own("/" + d); err != nil {
			return err
		}
	}
	if err := r.ownFolders("/etc"); err != nil {
		return err
	}
	for _, d := range []string{"var/lib", "var/log", "var/cache", "var/spool"} {
		if err := r.emptyFolders("/" + d); err != nil {
			return err
		}
	}
	for _, d := range []string{"tmp", "var/tmp", "run/lock"} {
		p := filepath.Join(r.Mount, d)
		if err := errors.Join(os.RemoveAll(p), os.MkdirAll(p, 0o777), os.Chmod(p, 0o777|os.ModeSticky)); err != nil {
			return err
		}
	}
	return os.MkdirAll(filepath.Join(r.Mount, "root"), 0o700)
}

// fresh are top-level folders that are the node's own from the start.
var fresh = map[string]bool{"proc": true, "sys": true, "dev": true, "run": true, "tmp": true, "root": true}

// linkEntries fills a real folder of the node with links to the host's
// entries of the same name.
func (r *rootSpec) linkEntries(dir string) error {
	entries, err := os.ReadDir(filepath.Join(hostView(r.Mount), dir))
	if err != nil {
		return nil // not readable for us: empty in the node
	}
	for _, e := range entries {
		if dir == "/" && fresh[e.Name()] {
			continue
		}
		target := path.Join(hostRoot, dir, e.Name())
		if e.Type()&fs.ModeSymlink != 0 {
			if target, err = os.Readlink(filepath.Join(hostView(r.Mount), dir, e.Name())); err != nil {
				return err
			}
		}
		if err := os.Symlink(target, filepath.Join(r.Mount, dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func hostView(mount string) string { return mount + hostRoot }

// own makes every part of dir a real folder of the node and returns where
// dir is after following links of the host's own, such as /var/run.
func (r *rootSpec) own(dir string) (string, error) {
	at := "/"
	parts := strings.Split(strings.Trim(path.Clean(dir), "/"), "/")
	for i, part := range parts {
		at = path.Join(at, part)
		real := filepath.Join(r.Mount, at)
		if isRealDir(real) {
			continue
		}
		target, err := os.Readlink(real)
		switch {
		case err == nil && !strings.HasPrefix(target, hostRoot):
			if !path.IsAbs(target) {
				target = path.Join(path.Dir(at), target)
			}
			return r.own(path.Join(target, path.Join(parts[i+1:]...)))
		case err == nil:
			err = os.Remove(real)
		case errors.Is(err, fs.ErrNotExist):
			err = nil
		}
		if err := errors.Join(err, r.makeFolder(at)); err != nil {
			return "", err
		}
		if err := r.linkEntries(at); err != nil {
			return "", err
		}
	}
	return at, nil
}

func isRealDir(p string) bool {
	st, err := os.Lstat(p)
	return err == nil && st.IsDir()
}

// ownFolders makes the folders in dir the node's own, with the host's files
// in them: a program may add its configuration.
func (r *rootSpec) ownFolders(dir string) error {
	entries, err := os.ReadDir(filepath.Join(hostView(r.Mount), dir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if _, err := r.own(path.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// makeFolder makes a folder with the mode and owner the host's has.
func (r *rootSpec) makeFolder(dir string) error {
	real := filepath.Join(r.Mount, dir)
	if err := os.Mkdir(real, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	st, err := os.Stat(filepath.Join(hostView(r.Mount), dir))
	if err != nil {
		return nil
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok || r.Squash {
		return nil
	}
	if err := os.Chown(real, int(sys.Uid), int(sys.Gid)); err != nil {
		return err
	}
	return os.Chmod(real, st.Mode())
}

// emptyFolders replaces the links in dir by empty folders of the same owner:
// programs may write their state there, and find none of the host's.
func (r *rootSpec) emptyFolders(dir string) error {
	entries, err := os.ReadDir(filepath.Join(r.Mount, dir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		at := path.Join(dir, e.Name())
		st, err := os.Stat(filepath.Join(hostView(r.Mount), at))
		if err := os.Remove(filepath.Join(r.Mount, at)); err != nil {
			return err
		}
		if err != nil || !st.IsDir() {
			continue
		}
		if err := r.makeFolder(at); err != nil {
			return err
		}
	}
	return nil
}

// kernelFiles mounts proc, sys and dev.
func (r *rootSpec) kernelFiles() error {
	for _, d := range []string{"proc", "sys", "dev"} {
		if err := os.MkdirAll(filepath.Join(r.Mount, d), 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("proc", r.Mount+"/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	if err := unix.Mount("sysfs", r.Mount+"/sys", "sysfs", 0, ""); err != nil {
		if err := unix.Mount("/sys", r.Mount+"/sys", "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("mount sys: %w", err)
		}
	}
	if err := unix.Mount("/dev", r.Mount+"/dev", "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind dev: %w", err)
	}
	if isDir(r.Mount + "/dev/shm") {
		if err := unix.Mount("tmpfs", r.Mount+"/dev/shm", "tmpfs", 0, "mode=1777"); err != nil {
			return fmt.Errorf("mount shm: %w", err)
		}
	}
	return nil
}

func isDir(p string) bool {
	st, err := os.Stat(p)
	return err == nil && st.IsDir()
}

// ownFiles brings in the image's files and the binds.
func (r *rootSpec) ownFiles() error {
	for _, b := range r.Files {
		if err := r.place(b); err != nil {
			return fmt.Errorf("%s as %s: %w", b.Host, b.Node, err)
		}
	}
	return nil
}

const largestCopy = 1 << 20

func (r *rootSpec) place(b bind) error {
	st, err := os.Stat(b.Host)
	if err != nil {
		return err
	}
	if st.IsDir() && b.Copy {
		return r.placeFolder(b)
	}
	dir := b.Node
	if !st.IsDir() {
		dir = path.Dir(b.Node)
	}
	dir, err = r.own(dir)
	if err != nil {
		return err
	}
	real := filepath.Join(r.Mount, dir)
	if !st.IsDir() {
		real = filepath.Join(real, path.Base(b.Node))
		if err := os.RemoveAll(real); err != nil {
			return err
		}
		if b.Copy && st.Size() <= largestCopy {
			return copyFile(b.Host, real, st.Mode())
		}
		if err := os.WriteFile(real, nil, st.Mode()); err != nil {
			return err
		}
	}
	if err := unix.Mount(b.Host, real, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if !b.ReadOnly {
		return nil
	}
	return unix.MountSetattr(-1, real, unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}

// placeFolder copies a folder's content, as COPY does.
func (r *rootSpec) placeFolder(b bind) error {
	return filepath.WalkDir(b.Host, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(b.Host, p)
		if err != nil {
			return err
		}
		return r.place(bind{Host: p, Node: path.Join(b.Node, rel), Copy: true})
	})
}

func copyFile(from, to string, mode fs.FileMode) error {
	raw, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to, raw, mode); err != nil {
		return err
	}
	return os.Chmod(to, mode)
}

// tools puts the lab's binary, its tools and Options.Bin where PATH looks.
func (r *rootSpec) tools() error {
	if err := os.MkdirAll(r.Mount+toolDir, 0o755); err != nil {
		return err
	}
	if err := r.bindAt(r.Self, selfPath, false); err != nil {
		return err
	}
	for _, t := range r.Tools {
		if err := os.Symlink(selfPath, filepath.Join(r.Mount+toolDir, t)); err != nil {
			return err
		}
	}
	if r.Programs == "" {
		return nil
	}
	return r.bindAt(r.Programs, progDir, true)
}

func (r *rootSpec) bindAt(host, node string, dir bool) error {
	at := r.Mount + node
	var err error
	if dir {
		err = os.MkdirAll(at, 0o755)
	} else {
		err = os.WriteFile(at, nil, 0o755)
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(host, at, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s: %w", host, err)
	}
	return nil
}

// pivot makes the new root the only one.
func (r *rootSpec) pivot() error {
	if err := os.Chdir(r.Mount); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	return os.Chdir("/")
}

func (r *rootSpec) sysctls() error {
	for key, value := range r.Sysctls {
		p := "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
		if err := os.WriteFile(p, []byte(value), 0); err != nil {
			return fmt.Errorf("sysctl %s=%s: %w", key, value, err)
		}
	}
	return nil
}
