package relay

import (
	"errors"
	"fmt"
	"time"

	"github.com/catchment/catchment/pop/core"
	pb "github.com/catchment/catchment/pop/relay/relayv1"
)

func itemOf(p core.RawPair) *pb.Item {
	return &pb.Item{Key: p.Key, Value: p.Value, Created: p.Created, Revision: p.Revision, Lease: int64(p.Lease)}
}

// pairOf reads an item. What no core would store is an error.
func pairOf(i *pb.Item) (core.RawPair, error) {
	if i.GetKey() == "" || i.Created <= 0 || i.Revision < i.Created {
		return core.RawPair{}, fmt.Errorf("item %q, created at %d, changed at %d", i.GetKey(), i.GetCreated(), i.GetRevision())
	}
	return core.RawPair{Key: i.Key, Value: i.Value, Created: i.Created, Revision: i.Revision, Lease: core.LeaseID(i.Lease)}, nil
}

// changesOf reads a delta.
func changesOf(d *pb.Delta) ([]core.RawChange, sum, error) {
	hash, ok := sumOf(d.Hash)
	if !ok {
		return nil, hash, errors.New("no hash")
	}
	var out []core.RawChange
	for _, i := range d.Changed {
		p, err := pairOf(i)
		if err != nil {
			return nil, hash, err
		}
		if p.Revision <= d.From || p.Revision > d.To {
			return nil, hash, fmt.Errorf("item %q of revision %d in a delta from %d to %d", p.Key, p.Revision, d.From, d.To)
		}
		out = append(out, core.RawChange{RawPair: p})
	}
	for _, k := range d.Deleted {
		out = append(out, core.RawChange{RawPair: core.RawPair{Key: k, Revision: d.To}, Deleted: true})
	}
	return out, hash, nil
}

// failureOf carries an error of the core; nil for none.
func failureOf(err error) *pb.Failure {
	if err == nil {
		return nil
	}
	var e *core.Error
	if !errors.As(err, &e) {
		return &pb.Failure{Code: string(core.Unavailable), Text: err.Error(), Uncertain: true}
	}
	f := &pb.Failure{Code: string(e.Code), Revision: e.Revision, Retry: int64(e.Retry), Uncertain: e.Uncertain}
	if e.Err != nil {
		f.Text = e.Err.Error()
	}
	return f
}

// errorOf is the error that a failure carries.
func errorOf(f *pb.Failure) error {
	if f == nil {
		return nil
	}
	e := &core.Error{Code: core.Code(f.Code), Revision: f.Revision, Retry: time.Duration(f.Retry), Uncertain: f.Uncertain}
	switch e.Code {
	case core.NotFound, core.Conflict, core.Unavailable, core.TooLarge, core.Limited, core.Full, core.Compacted, core.Invalid, core.Denied, core.Corrupt:
	default:
		e.Code = core.Unavailable // of a newer version: what is known of it is that it failed
	}
	if f.Text != "" {
		e.Err = errors.New(f.Text)
	}
	return e
}
