package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/core"
)

// CoreConfig implements api.Core.
func (a Admin) CoreConfig(ctx context.Context) (api.CoreConfig, error) {
	configs := core.NewConfigs(a.Host.core, 0)
	list, err := configs.List(ctx)
	if err != nil {
		return api.CoreConfig{}, said(err)
	}
	m, err := configs.Manifest(ctx, core.At(list.Revision))
	if err != nil {
		return api.CoreConfig{}, said(err)
	}
	out := api.CoreConfig{Number: m.Number, Revision: m.Revision, Who: m.Who, Why: m.Why}
	for _, o := range list.Objects {
		s := shown(o)
		s.Version = m.Objects[o.Key.Name].Version
		out.Objects = append(out.Objects, s)
	}
	out.POPs, err = a.reports(ctx)
	return out, said(err)
}

// reports are what the POPs say became of the configuration.
func (a Admin) reports(ctx context.Context) ([]api.CoreApplied, error) {
	list, err := a.Host.core.List(ctx, core.All(core.KindReport))
	if err != nil {
		return nil, err
	}
	var out []api.CoreApplied
	for _, o := range list.Objects {
		var r api.CoreApplied
		if strings.HasSuffix(o.Key.Name, "/config") && o.Into(&r) == nil {
			out = append(out, r)
		}
	}
	return out, nil
}

// CoreShow implements api.Core.
func (a Admin) CoreShow(ctx context.Context, q api.CoreQuery) (api.CoreObject, error) {
	configs := core.NewConfigs(a.Host.core, 0)
	if q.Version == 0 {
		o, err := configs.Get(ctx, q.Key)
		if err != nil {
			return api.CoreObject{}, said(err)
		}
		out := shown(o)
		return withText(out, o)
	}
	list, err := configs.History(ctx, q.Key)
	if err != nil {
		return api.CoreObject{}, said(err)
	}
	for _, v := range list {
		if v.Version == int64(q.Version) {
			out := shown(v.Object)
			out.Key, out.Version, out.Deleted = core.Key{Kind: core.KindConfig, Name: q.Key}.String(), v.Version, v.Deleted
			if v.Deleted {
				return out, nil
			}
			v.Object.Value = v.Value
			return withText(out, v.Object)
		}
	}
	return api.CoreObject{}, api.Errorf(api.NotFound, "%s has no version %d any more", q.Key, q.Version)
}

func withText(out api.CoreObject, o core.Object) (api.CoreObject, error) {
	var p Part
	err := o.Into(&p)
	out.Text, out.Format = p.Text, p.Format
	return out, said(err)
}

func (a Admin) put(ctx context.Context, w core.Write, c api.CoreChange) (api.CoreResult, error) {
	v, err := core.Marshal(Part{Format: cmp.Or(c.Format, "yaml"), Text: c.Text})
	if err != nil {
		return api.CoreResult{}, err
	}
	return a.commit(ctx, w, core.Change{Name: c.Name, Value: v}, c)
}

// commit changes a config object, after it has been judged for each POP.
func (a Admin) commit(ctx context.Context, w core.Write, ch core.Change, c api.CoreChange) (api.CoreResult, error) {
	if ch.Name != "fleet" && !strings.HasPrefix(ch.Name, "fleet/") && !strings.HasPrefix(ch.Name, "pop/") {
		return api.CoreResult{}, api.Errorf(api.Invalid, "config object %q: want fleet, fleet/PART, pop/NAME or pop/NAME/PART", ch.Name)
	}
	if err := a.unhindered(ctx); err != nil {
		return api.CoreResult{}, err
	}
	configs := core.NewConfigs(a.Host.core, 0)
	list, err := configs.List(ctx)
	if err != nil {
		return api.CoreResult{}, err
	}
	base, err := configs.Manifest(ctx, core.At(list.Revision))
	if err != nil {
		return api.CoreResult{}, err
	}
	wrong, err := a.judge(ctx, list.Objects, ch)
	if err != nil {
		return api.CoreResult{}, err
	}
	if wrong != nil && !c.Force {
		return api.CoreResult{}, api.Errorf(api.Invalid, "nothing was changed:\n%v\n(--force writes it all the same; POPs refuse what is wrong for them)", wrong)
	}
	m, err := a.commitStaged(ctx, configs, w, base, ch, c)
	if err != nil {
		return api.CoreResult{}, err
	}
	text := fmt.Sprintf("config %d", m.Number)
	if len(c.Stages) > 0 {
		text += ", in stages: catchment core rollout"
	}
	if m.Number == base.Number {
		text += ": nothing has changed"
	}
	if a.Host.cfg.Alone && a.Configs == nil {
		text += "; kept, but this POP takes nothing over: core.config is not set in its file"
	}
	if wrong != nil {
		text += "; wrong: " + wrong.Error()
	}
	return api.CoreResult{Text: text, Number: m.Number}, nil
}

// commitStaged makes the change, which goes to some POPs first where that is
// asked for.
func (a Admin) commitStaged(ctx context.Context, configs *core.Configs, w core.Write, base core.Manifest, ch core.Change, c api.CoreChange) (core.Manifest, error) {
	if len(c.Stages) == 0 {
		return configs.Commit(ctx, w, core.If(base.Revision), ch)
	}
	it, err := a.begin(ctx, w, base.Number, c.Stages, time.Duration(c.Wait))
	if err != nil {
		return core.Manifest{}, err
	}
	m, err := configs.Commit(ctx, w, core.If(base.Revision), ch)
	if err != nil || m.Number == base.Number {
		_, derr := a.Host.core.Delete(context.WithoutCancel(ctx), w, rolloutKey, core.If(it.Revision))
		err = errors.Join(err, derr)
	}
	return m, err
}

// judge says what would be wrong with the configuration after a change, for
// each POP that is known.
func (a Admin) judge(ctx context.Context, objects []core.Object, ch core.Change) (wrong, err error) {
	next := slices.DeleteFunc(slices.Clone(objects), func(o core.Object) bool { return o.Key.Name == ch.Name })
	if !ch.Delete {
		next = append(next, core.Object{Key: core.Key{Kind: core.KindConfig, Name: ch.Name}, Value: ch.Value})
		slices.SortFunc(next, func(x, y core.Object) int { return cmp.Compare(x.Key.Name, y.Key.Name) })
	}
	reports, err := a.reports(ctx)
	if err != nil {
		return nil, err
	}
	pops := map[string]bool{}
	for _, r := range reports {
		pops[r.POP] = true
	}
	for _, o := range next {
		if rest, ok := strings.CutPrefix(o.Key.Name, "pop/"); ok {
			name, _, _ := strings.Cut(rest, "/")
			pops[name] = true
		}
	}
	return a.judgeAll(next, pops), nil
}

func (a Admin) judgeAll(objects []core.Object, pops map[string]bool) error {
	var names []string
	whole := true
	for name := range pops {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) == 0 {
		names, whole = []string{"ANY"}, false // parts of it may come with the POPs
	}
	var errs []error
	for _, name := range names {
		layers, err := LayersOf(name, objects)
		if err != nil {
			return err
		}
		own := config.Layer{Name: name, Format: "yaml", Text: "pop: " + name + "\ncore: {mode: embedded, config: true}\n", Own: true}
		text, err := config.Compose(append(layers, own)...)
		if err == nil {
			err = a.Judge(text, whole)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func (a Admin) rollback(ctx context.Context, w core.Write, c api.CoreChange) (api.CoreResult, error) {
	if err := a.unhindered(ctx); err != nil {
		return api.CoreResult{}, err
	}
	configs := core.NewConfigs(a.Host.core, 0)
	var m core.Manifest
	var err error
	switch {
	case c.Number > 0 && c.Name == "":
		m, err = configs.RollbackTo(ctx, w, int64(c.Number))
	case c.Name != "" && c.Version > 0:
		m, err = configs.Rollback(ctx, w, core.Any, c.Name, int64(c.Version))
	default:
		return api.CoreResult{}, api.Errorf(api.Invalid, "rollback: want a config object and one of its versions, or the number of a whole configuration")
	}
	return api.CoreResult{Text: fmt.Sprintf("config %d", m.Number), Number: m.Number}, err
}
