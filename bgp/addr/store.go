package addr

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// store is the state file.
type store struct {
	path string // empty: nothing is stored
	boot string
}

type state struct {
	Boot      string    `json:"boot"`
	Addresses []Address `json:"addresses"`
}

// bootID changes with each boot of the kernel.
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("addresses: which boot this is: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// load returns what an earlier run of this boot added. A file that cannot be
// read as ours is an error: to take it for empty would leave addresses behind.
func (s store) load() ([]Address, error) {
	if s.path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("addresses: read state: %w", err)
	}
	var st state
	if err := json.Unmarshal(b, &st); err != nil {
		return nil, fmt.Errorf("addresses: state file %s is damaged (remove it, and by hand the addresses that are no longer wanted): %w", s.path, err)
	}
	if st.Boot != s.boot {
		return nil, nil
	}
	return st.Addresses, nil
}

// save replaces the file in one step.
func (s store) save(addresses []Address) error {
	if s.path == "" {
		return nil
	}
	b, err := json.Marshal(state{Boot: s.boot, Addresses: addresses})
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(s.path); err == nil && string(old) == string(b) {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(s.path), filepath.Base(s.path)+".new-*")
	if err != nil {
		return fmt.Errorf("addresses: write state: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.path)
	}
	if err != nil {
		return fmt.Errorf("addresses: write state %s: %w", s.path, err)
	}
	return nil
}
