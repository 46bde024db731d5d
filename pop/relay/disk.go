package relay

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/catchment/catchment/pop/core"
	"github.com/catchment/catchment/pop/lapse"
	pb "github.com/catchment/catchment/pop/relay/relayv1"
)

// diskMark begins the file. What follows is messages, each with its length
// before it: Begin, one Chunk for each item, Done.
const diskMark = "catchment relay state 1\n"

// maxRecord bounds one message of the file.
const maxRecord = 4 << 20

func (n *Node) file() string { return filepath.Join(n.opt.Dir, "relay.state") }

// load begins with what is on disk, if it is whole.
func (n *Node) load() {
	if n.opt.Dir == "" {
		return
	}
	f, err := os.Open(n.file())
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var at position
	var items map[string]core.RawPair
	if err == nil {
		at, items, err = readState(bufio.NewReader(f), n.opt.Limits.State)
		f.Close()
	}
	if err != nil {
		n.log.Error("relay: what is on disk is not used", "file", n.file(), "err", err)
		return
	}
	n.rep.reset(at, items)
	n.log.Info("relay: begins with what is on disk", "revision", at.revision, "objects", len(items))
}

// keep writes the state to disk when it has changed: at most once a second,
// and not more than a twentieth of the time.
func (n *Node) keep(ctx context.Context) {
	if n.opt.Dir == "" {
		return
	}
	saved := n.rep.position()
	for {
		rung := n.rep.bell.wait()
		if at := n.rep.position(); at != saved && at.core != "" {
			began := time.Now()
			if err := n.save(); err != nil {
				n.log.Error("relay: state not kept", "err", err)
			} else {
				n.count.saved.Add(1)
				saved = at
			}
			if !lapse.Of(ctx, max(time.Second, 20*time.Since(began))) {
				return
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-rung:
		}
	}
}

// save writes the file whole or not at all.
func (n *Node) save() error {
	if err := os.MkdirAll(n.opt.Dir, 0o700); err != nil {
		return err
	}
	part := n.file() + ".part"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(part)
	w := bufio.NewWriter(f)
	at, items := n.rep.snapshot()
	err = errors.Join(writeState(w, at, items), w.Flush())
	if err == nil && !n.opt.noSync {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(part, n.file())
}

func writeState(w io.Writer, at position, items []core.RawPair) error {
	if _, err := io.WriteString(w, diskMark); err != nil {
		return err
	}
	if err := writeRecord(w, &pb.Begin{Core: at.core, Revision: at.revision, Count: uint64(len(items))}); err != nil {
		return err
	}
	for _, p := range items {
		if err := writeRecord(w, itemOf(p)); err != nil {
			return err
		}
	}
	return writeRecord(w, &pb.Done{Hash: at.hash.bytes()})
}

func writeRecord(w io.Writer, m proto.Message) error {
	b, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

// readState reads what writeState wrote, and nothing else.
func readState(r io.Reader, most int64) (position, map[string]core.RawPair, error) {
	mark := make([]byte, len(diskMark))
	if _, err := io.ReadFull(r, mark); err != nil || string(mark) != diskMark {
		return position{}, nil, errors.New("not a state of the relay")
	}
	var begin pb.Begin
	if err := readRecord(r, &begin); err != nil {
		return position{}, nil, err
	}
	at, items, size := position{core: begin.Core, revision: begin.Revision}, map[string]core.RawPair{}, int64(0)
	if !validName(at.core) || at.revision <= 0 {
		return at, nil, fmt.Errorf("core %.200q at revision %d", at.core, at.revision)
	}
	for range begin.Count {
		var i pb.Item
		if err := readRecord(r, &i); err != nil {
			return at, nil, err
		}
		p, err := pairOf(&i)
		if err != nil {
			return at, nil, err
		}
		if _, twice := items[p.Key]; twice {
			return at, nil, fmt.Errorf("key %q twice", p.Key)
		}
		items[p.Key], at.hash = p, at.hash.plus(hashOf(p))
		if size += sizeOf(p); size > most {
			return at, nil, errTooLarge
		}
	}
	var done pb.Done
	if err := readRecord(r, &done); err != nil {
		return at, nil, err
	}
	if hash, ok := sumOf(done.Hash); !ok || hash != at.hash {
		return at, nil, errors.New("its hash is another than told")
	}
	if _, err := io.ReadFull(r, mark[:1]); !errors.Is(err, io.EOF) {
		return at, nil, errors.New("something follows the end")
	}
	return at, items, nil
}

func readRecord(r io.Reader, m proto.Message) error {
	var n [4]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return fmt.Errorf("it ends early: %w", err)
	}
	size := binary.BigEndian.Uint32(n[:])
	if size > maxRecord {
		return fmt.Errorf("a record of %d bytes", size)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("it ends early: %w", err)
	}
	return proto.Unmarshal(b, m)
}
