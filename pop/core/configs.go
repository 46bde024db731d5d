package core

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Configs are the config objects of a fleet, one key each, with a manifest
// that names them all and the history of each. The manifest is written by
// every change, so its revision is the revision of the config, and a change
// can be made on the condition that nothing else has changed.
//
// It keeps the last Keep versions of each object and of the manifest; what is
// older cannot be rolled back to.
type Configs struct {
	core *Core
	keep int
}

// DefaultKeep is how many versions are kept.
const DefaultKeep = 50

// MaxChanges is the most one Commit takes.
const MaxChanges = 30

// NewConfigs is a view on a core's config objects. keep 0 means DefaultKeep.
func NewConfigs(c *Core, keep int) *Configs {
	if keep <= 0 {
		keep = DefaultKeep
	}
	return &Configs{c, keep}
}

// Manifest says what the config is at one revision.
type Manifest struct {
	Number   int64            `json:"number"` // of changes since the beginning
	Objects  map[string]Entry `json:"objects"`
	Revision int64            `json:"-"` // condition for the next change
	Write    `json:"-"`
}

// Entry is one config object in a manifest. Deleted ones stay, so that their
// versions go on counting.
type Entry struct {
	Version int64  `json:"version"`
	Digest  string `json:"digest,omitempty"` // SHA-256 of the value, of the first 16 bytes the hexadecimal form
	Deleted bool   `json:"deleted,omitempty"`
}

// Change is a new value for a config object, or its end.
type Change struct {
	Name   string
	Value  json.RawMessage
	Delete bool
}

// Version is one former state of a config object.
type Version struct {
	Name    string          `json:"name"`
	Version int64           `json:"version"`
	Value   json.RawMessage `json:"value,omitempty"`
	Deleted bool            `json:"deleted,omitempty"`
	Object  `json:"-"`      // who, why, when, revision
}

var manifestKey = Key{KindManifest, "config"}

func configKey(name string) Key { return Key{KindConfig, name} }

// historyKey sorts by version; names have no @.
func historyKey(name string, version int64) Key {
	return Key{KindHistory, fmt.Sprintf("%s@%012d", name, version)}
}

func manifestHistory(number int64) Key { return historyKey("@manifest", number) }

func (ch Change) check() error {
	if strings.Contains(ch.Name, "@") || ch.Name == "" {
		return fail(Invalid, "config object %q: no name, or @ in it", ch.Name)
	}
	return historyKey(ch.Name, 1).check()
}

// Manifest reads the manifest of now; an empty one if nothing was written.
func (s *Configs) Manifest(ctx context.Context, reads ...Read) (Manifest, error) {
	m := Manifest{Objects: map[string]Entry{}}
	o, err := s.core.Get(ctx, manifestKey, reads...)
	if errors.Is(err, NotFound) {
		return m, nil
	}
	if err == nil {
		err = o.Into(&m)
	}
	if m.Objects == nil {
		m.Objects = map[string]Entry{}
	}
	m.Revision, m.Write = o.Revision, o.Write
	return m, about(err, "manifest", "")
}

// Commit makes all changes at one revision. base is the revision of the
// manifest the changes were made for: if another change came first it is a
// Conflict; Any takes the config as it is.
func (s *Configs) Commit(ctx context.Context, w Write, base If, changes ...Change) (Manifest, error) {
	for range attempts {
		m, err := s.commit(ctx, w, base, changes)
		if base != Any || !errors.Is(err, Conflict) {
			return m, about(err, "commit", "")
		}
	}
	return Manifest{}, about(fail(Conflict, "others change the config all the time"), "commit", "")
}

func (s *Configs) commit(ctx context.Context, w Write, base If, changes []Change) (Manifest, error) {
	if len(changes) == 0 || len(changes) > MaxChanges {
		return Manifest{}, fail(TooLarge, "%d changes, want 1 to %d", len(changes), MaxChanges)
	}
	m, err := s.Manifest(ctx)
	if err != nil {
		return Manifest{}, err
	}
	if base != Any && int64(base) != m.Revision {
		return Manifest{}, &Error{Code: Conflict, Key: manifestKey.String(), Revision: m.Revision}
	}
	next, ops, err := s.plan(m, changes)
	if err != nil || len(ops) == 0 {
		return m, err
	}
	v, err := Marshal(next)
	if err != nil {
		return Manifest{}, err
	}
	ops = append(ops, Op{Key: manifestKey, Value: v}, Op{Key: manifestHistory(next.Number), Value: v})
	if old := next.Number - int64(s.keep); old > 0 {
		ops = append(ops, Op{Key: manifestHistory(old), Delete: true})
	}
	next.Revision, err = s.core.Txn(ctx, w, []Cond{{manifestKey, If(m.Revision)}}, ops)
	next.Write = w
	return next, err
}

// plan says what has to be written for changes to a manifest, and what it is
// then. What is the same as before is not written.
func (s *Configs) plan(m Manifest, changes []Change) (Manifest, []Op, error) {
	next := Manifest{Number: m.Number + 1, Objects: maps.Clone(m.Objects)}
	var ops []Op
	seen := map[string]bool{}
	for _, ch := range changes {
		if err := ch.check(); err != nil {
			return m, nil, err
		}
		if seen[ch.Name] {
			return m, nil, fail(Invalid, "config object %s is changed twice", ch.Name)
		}
		seen[ch.Name] = true
		old, known := m.Objects[ch.Name]
		e := Entry{Version: old.Version + 1, Deleted: ch.Delete}
		v := Version{Name: ch.Name, Version: e.Version, Deleted: ch.Delete}
		if ch.Delete {
			if !known || old.Deleted {
				return m, nil, &Error{Code: NotFound, Key: configKey(ch.Name).String()}
			}
			ops = append(ops, Op{Key: configKey(ch.Name), Delete: true})
		} else {
			value, err := Marshal(ch.Value) // compact, and an error if it is no JSON
			if err != nil {
				return m, nil, about(err, "", configKey(ch.Name).String())
			}
			sum := sha256.Sum256(value)
			e.Digest, v.Value = hex.EncodeToString(sum[:16]), value
			if known && !old.Deleted && old.Digest == e.Digest {
				continue
			}
			ops = append(ops, Op{Key: configKey(ch.Name), Value: value})
		}
		next.Objects[ch.Name] = e
		ops = append(ops, Op{Key: historyKey(ch.Name, e.Version), Value: mustJSON(v)})
		if last := e.Version - int64(s.keep); last > 0 {
			ops = append(ops, Op{Key: historyKey(ch.Name, last), Delete: true})
		}
	}
	return next, ops, nil
}

// Get reads one config object.
func (s *Configs) Get(ctx context.Context, name string, reads ...Read) (Object, error) {
	return s.core.Get(ctx, configKey(name), reads...)
}

// List reads all of them, at one revision.
func (s *Configs) List(ctx context.Context, reads ...Read) (Snapshot, error) {
	return s.core.List(ctx, All(KindConfig), reads...)
}

// History lists the kept versions of an object, the oldest first.
func (s *Configs) History(ctx context.Context, name string) ([]Version, error) {
	if err := (Change{Name: name}).check(); err != nil {
		return nil, about(err, "history", name)
	}
	list, err := s.core.List(ctx, Selector{KindHistory, name + "@"})
	if err != nil {
		return nil, about(err, "history", name)
	}
	var out []Version
	for _, o := range list.Objects {
		var v Version
		if err := o.Into(&v); err != nil {
			return nil, about(err, "history", name)
		}
		v.Object = o
		out = append(out, v)
	}
	if len(out) == 0 {
		return nil, &Error{Code: NotFound, Op: "history", Key: configKey(name).String()}
	}
	return out, nil
}

// Then reads the whole config as it was when the manifest had a number: the
// objects in the order of names. NotFound: that is longer ago than is kept.
func (s *Configs) Then(ctx context.Context, number int64) (Manifest, []Object, error) {
	o, err := s.core.Get(ctx, manifestHistory(number))
	if err != nil {
		return Manifest{}, nil, about(err, "config", "")
	}
	m := Manifest{Revision: o.Revision, Write: o.Write}
	if err := o.Into(&m); err != nil {
		return Manifest{}, nil, about(err, "config", "")
	}
	var out []Object
	for _, name := range slices.Sorted(maps.Keys(m.Objects)) {
		e := m.Objects[name]
		if e.Deleted {
			continue
		}
		ch, err := s.version(ctx, name, e.Version)
		if err != nil {
			return Manifest{}, nil, about(err, "config", name)
		}
		out = append(out, Object{Key: configKey(name), Value: ch.Value})
	}
	return m, out, nil
}

// version is a change back to a version of an object.
func (s *Configs) version(ctx context.Context, name string, version int64) (Change, error) {
	o, err := s.core.Get(ctx, historyKey(name, version))
	if err != nil {
		return Change{}, err
	}
	var v Version
	if err := o.Into(&v); err != nil {
		return Change{}, err
	}
	return Change{Name: name, Value: v.Value, Delete: v.Deleted}, nil
}

// Rollback makes an object what it was in a version. That is a new version.
func (s *Configs) Rollback(ctx context.Context, w Write, base If, name string, version int64) (Manifest, error) {
	ch, err := s.version(ctx, name, version)
	if err != nil {
		return Manifest{}, about(err, "rollback", name)
	}
	w.Why = fmt.Sprintf("%s (back to version %d of %s)", w.Why, version, name)
	m, err := s.Commit(ctx, w, base, ch)
	return m, about(err, "rollback", name)
}

// RollbackTo makes the whole config what it was when the manifest had a
// number. Objects that have been made since are deleted.
func (s *Configs) RollbackTo(ctx context.Context, w Write, number int64) (Manifest, error) {
	now, err := s.Manifest(ctx)
	if err != nil {
		return Manifest{}, about(err, "rollback", "")
	}
	o, err := s.core.Get(ctx, manifestHistory(number))
	if err != nil {
		return Manifest{}, about(err, "rollback", "")
	}
	var then Manifest
	if err := o.Into(&then); err != nil {
		return Manifest{}, about(err, "rollback", "")
	}
	var changes []Change
	for _, name := range slices.Sorted(maps.Keys(now.Objects)) {
		is, was := now.Objects[name], then.Objects[name]
		if was.Version == 0 {
			was.Deleted = true
		}
		switch {
		case is.Deleted && was.Deleted, !is.Deleted && !was.Deleted && is.Digest == was.Digest:
			continue
		case was.Deleted:
			changes = append(changes, Change{Name: name, Delete: true})
			continue
		}
		ch, err := s.version(ctx, name, was.Version)
		if err != nil {
			return Manifest{}, about(err, "rollback", name)
		}
		changes = append(changes, ch)
	}
	if len(changes) == 0 {
		return now, nil
	}
	w.Why = fmt.Sprintf("%s (back to config %d)", w.Why, number)
	m, err := s.Commit(ctx, w, If(now.Revision), changes...)
	return m, about(err, "rollback", "")
}
