package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/balance"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/core"
	"github.com/catchment/catchment/pop/turns"
)

// Admin is the control core as operators use it through this POP.
type Admin struct {
	Host    *Host
	Configs *Configs // nil: this POP's configuration does not come from the core
	// Judge judges a whole configuration of a POP, which is somebody else's:
	// nothing that it names is looked at here. Without whole no POP is known
	// yet, and parts may be missing.
	Judge func(text string, whole bool) error
	// Heard, if not nil, reports whether a POP has been heard of lately.
	Heard func(pop string) bool
}

var _ api.Core = Admin{}

// codes are those of the API for those of the core.
var codes = map[core.Code]api.Code{
	core.NotFound: api.NotFound, core.Conflict: api.Refused, core.Unavailable: api.Unavailable, core.TooLarge: api.Invalid,
	core.Limited: api.Unavailable, core.Full: api.Unavailable, core.Compacted: api.NotFound, core.Invalid: api.Invalid,
	core.Denied: api.Refused, core.Corrupt: api.Internal,
}

// said gives an error of the core a code of the API.
func said(err error) error {
	var own *core.Error
	if !errors.As(err, &own) {
		return err
	}
	return api.Errorf(cmp.Or(codes[own.Code], api.Internal), "%v", err)
}

// CoreStatus implements api.Core. It answers whatever the core does.
func (a Admin) CoreStatus(ctx context.Context) (api.CoreStatus, error) {
	s := a.Host.Status()
	if a.Host.cfg.Alone { // in this process, and looked at rarely
		if now, err := a.Host.status(ctx); err == nil {
			s = now
		}
	}
	out := api.CoreStatus{
		Mode: a.Host.cfg.Mode, Alone: a.Host.cfg.Alone, Name: s.Name, Leader: s.Leader, Revision: s.Revision, Database: s.Size, InUse: s.InUse,
		Quota: s.Quota, Free: s.Free, Trouble: a.Host.Trouble(), Authority: a.Host.Authority() != nil,
	}
	if a.Host.cfg.Mode != config.CoreEmbedded {
		out.Name = "" // whoever was asked
	}
	out.Reachable, out.Since = a.Host.Reachable()
	for _, v := range s.Members {
		m := api.CoreMember{Name: v.Name, Learner: v.Learner, Leader: v.Name != "" && v.Name == s.Leader}
		if len(v.URLs) > 0 && v.URLs[0] != alone {
			if u, err := url.Parse(v.URLs[0]); err == nil {
				m.Address = u.Host
			}
		}
		out.Members = append(out.Members, m)
	}
	slices.SortFunc(out.Members, func(x, y api.CoreMember) int { return cmp.Compare(x.Name, y.Name) })
	taken, refused := a.Host.core.Writes()
	out.Written = taken
	for _, n := range refused {
		out.Refused += n
	}
	if a.Configs != nil {
		s := a.Configs.State()
		out.Config = &s
	}
	return out, nil
}

// alone is the address of a member that has no others to tell one.
const alone = "http://127.0.0.1:2380"

// open are the kinds whose values hold no secrets.
var open = []core.Kind{core.KindIntent, core.KindReport, core.KindRollout, core.KindMember, core.KindPresence, core.KindRoom, core.KindReservation, core.KindResponse, turns.Kind, balance.KindClaim}

var kinds = append([]core.Kind{core.KindConfig, core.KindManifest, core.KindToken, core.KindTrust}, open...)

func kindOf(s string) (core.Kind, error) {
	if slices.Contains(kinds, core.Kind(s)) {
		return core.Kind(s), nil
	}
	var names []string
	for _, k := range kinds {
		names = append(names, string(k))
	}
	slices.Sort(names)
	return "", api.Errorf(api.Invalid, "kind %q: there are %s", s, strings.Join(names, ", "))
}

func shown(o core.Object) api.CoreObject {
	out := api.CoreObject{Key: o.Key.String(), Revision: o.Revision, Who: o.Who, Why: o.Why, At: o.At}
	if slices.Contains(open, o.Key.Kind) {
		out.Value = o.Value
	}
	return out
}

// CoreObjects implements api.Core.
func (a Admin) CoreObjects(ctx context.Context, q api.CoreQuery) ([]api.CoreObject, error) {
	kind, err := kindOf(q.Kind)
	if err != nil {
		return nil, err
	}
	list, err := a.Host.core.List(ctx, core.All(kind))
	if err != nil {
		return nil, said(err)
	}
	var out []api.CoreObject
	for _, o := range list.Objects {
		out = append(out, shown(o))
	}
	return out, nil
}

// CoreHistory implements api.Core: of a config object all kept versions, of
// anything else what the engine still has.
func (a Admin) CoreHistory(ctx context.Context, q api.CoreQuery) ([]api.CoreObject, error) {
	kind, name, ok := strings.Cut(q.Key, "/")
	if !ok {
		return nil, api.Errorf(api.Invalid, "key %q: want KIND/NAME, such as config/fleet", q.Key)
	}
	k, err := kindOf(kind)
	if err != nil {
		return nil, err
	}
	limit := int(cmp.Or(q.Limit, 50))
	if k == core.KindConfig {
		return a.versions(ctx, name, limit)
	}
	var out []api.CoreObject
	for rev := int64(0); len(out) < limit; {
		var reads []core.Read
		if rev > 0 {
			reads = append(reads, core.At(rev))
		}
		o, err := a.Host.core.Get(ctx, core.Key{Kind: k, Name: name}, reads...)
		if len(out) > 0 && (errors.Is(err, core.NotFound) || errors.Is(err, core.Compacted)) {
			break
		}
		if err != nil {
			return nil, said(err)
		}
		out = append(out, shown(o))
		if rev = o.Revision - 1; o.Revision == o.Created || rev <= 0 {
			break
		}
	}
	return out, nil
}

func (a Admin) versions(ctx context.Context, name string, limit int) ([]api.CoreObject, error) {
	list, err := core.NewConfigs(a.Host.core, 0).History(ctx, name)
	if err != nil {
		return nil, said(err)
	}
	var out []api.CoreObject
	for _, v := range slices.Backward(list) {
		if len(out) == limit {
			break
		}
		out = append(out, api.CoreObject{
			Key: core.Key{Kind: core.KindConfig, Name: name}.String(), Version: v.Version, Deleted: v.Deleted, Revision: v.Revision,
			Who: v.Who, Why: v.Why, At: v.At,
		})
	}
	return out, nil
}

// CoreWatch implements api.Core.
func (a Admin) CoreWatch(ctx context.Context, q api.CoreQuery, yield func(api.CoreObject) error) error {
	sel := core.Selector{}
	if kind, name, ok := strings.Cut(q.Key, "/"); ok {
		q.Kind, sel.Prefix = kind, name
	}
	k, err := kindOf(cmp.Or(q.Kind, "config"))
	if err != nil {
		return err
	}
	sel.Kind = k
	now, err := a.Host.core.List(ctx, sel)
	if err != nil {
		return said(err)
	}
	return said(a.Host.core.Watch(ctx, sel, now.Revision, func(b core.Batch) error {
		if b.Snapshot {
			return nil // what was missed is in the history
		}
		for _, e := range b.Events {
			o := shown(e.Object)
			o.Key, o.Deleted = e.Key.String(), e.Deleted
			if o.Revision == 0 {
				o.Revision = b.Revision
			}
			if err := yield(o); err != nil {
				return err
			}
		}
		return nil
	}))
}

// CoreBackup implements api.Core.
func (a Admin) CoreBackup(ctx context.Context, yield func([]byte) error) error {
	path := filepath.Join(a.Host.cfg.Dir, fmt.Sprintf("backup-%d", time.Now().UnixNano()))
	if err := os.MkdirAll(a.Host.cfg.Dir, 0o700); err != nil {
		return err
	}
	defer os.Remove(path)
	if err := a.Host.core.Backup(ctx, path); err != nil {
		return said(err)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, 256<<10)
	for {
		n, err := f.Read(buf)
		if n > 0 {
			if err := yield(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// CoreChange implements api.Core.
func (a Admin) CoreChange(ctx context.Context, verb, by string, c api.CoreChange) (api.CoreResult, error) {
	w := core.Write{Who: short("operator "+by+" at "+a.Host.pop, 128), Why: c.Why}
	var r api.CoreResult
	var err error
	switch verb {
	case "token":
		r, err = a.token(ctx, w, c)
	case "admit":
		r, err = a.admit(ctx, w, c)
	case "remove":
		r.Text, err = c.Name+" is no member any more", a.Host.core.Remove(ctx, w, c.Name)
	case "forget":
		r, err = a.forget(ctx, w, c)
	case "revoke":
		r, err = a.revoke(ctx, w, c)
	case "leave":
		r.Text, err = a.Host.cfg.Name+" is no member any more; "+a.Host.cfg.Dir+" is of no more use", a.Host.core.Leave(ctx, w)
	case "put":
		r, err = a.put(ctx, w, c)
	case "delete":
		r, err = a.commit(ctx, w, core.Change{Name: c.Name, Delete: true}, c)
	case "rollback":
		r, err = a.rollback(ctx, w, c)
	case "abort", "finish":
		r, err = a.end(ctx, w, verb)
	default:
		err = api.Errorf(api.Invalid, "no change %q of the core", verb)
	}
	if err != nil {
		return api.CoreResult{}, said(err)
	}
	a.Host.log.Info("core changed", "verb", verb, "name", c.Name, "by", by, "why", c.Why)
	return r, nil
}

// short cuts a text to at most n bytes.
func short(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "")
	}
	return s
}

func (a Admin) token(ctx context.Context, w core.Write, c api.CoreChange) (api.CoreResult, error) {
	life := cmp.Or(time.Duration(c.For), time.Hour)
	t, err := a.Host.Token(ctx, w, c.Name, c.Address, c.Hosts, life)
	if err != nil {
		return api.CoreResult{}, err
	}
	as := "to follow the core"
	if c.Address != "" {
		as = "as a member at " + c.Address
	}
	return api.CoreResult{Token: t.String(), Text: fmt.Sprintf("a token for %s, good once, for %v, %s", c.Name, life, as)}, nil
}

func (a Admin) admit(ctx context.Context, w core.Write, c api.CoreChange) (api.CoreResult, error) {
	first, err := a.Host.core.Admit(ctx, w, c.Name, c.Address)
	if err != nil {
		return api.CoreResult{}, err
	}
	r := api.CoreResult{Text: c.Name + " is admitted: it votes once it has come and caught up"}
	for name, addr := range first {
		r.First = append(r.First, api.CoreMember{Name: name, Address: addr})
	}
	slices.SortFunc(r.First, func(x, y api.CoreMember) int { return cmp.Compare(x.Name, y.Name) })
	return r, nil
}
