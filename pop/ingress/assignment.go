package ingress

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/config"
)

// place is one router and one slice.
type place struct {
	router string
	slice  policy.SliceID
}

// entry is where a place is assigned to.
type entry struct {
	POP   policy.POPID `json:"pop"`
	Since time.Time    `json:"since"`
}

type assignment map[place]entry

// saved is a line of the file.
type saved struct {
	Router string         `json:"router"`
	Slice  policy.SliceID `json:"slice"`
	entry
}

// routes are what the routers hear by an assignment.
func (a assignment) routes(c *config.Ingress) Routes {
	out := Routes{}
	for i := range c.Routers {
		r := &c.Routers[i]
		for _, id := range c.Slices {
			t := c.Target(a[place{r.Name, id}].POP)
			if t == nil || !t.NextHop(id).IsValid() {
				continue
			}
			n := out[id.Prefix()]
			if n == nil {
				n = map[netip.Addr]bgp.Override{}
				out[id.Prefix()] = n
			}
			for _, addr := range sessions(r, id) {
				n[addr] = bgp.Override{Whole: true, Attributes: bgp.Attributes{
					LocalPref: &c.LocalPref, Communities: c.Communities, NextHop: t.NextHop(id),
				}}
			}
		}
	}
	return out
}

// sessions are the router's sessions of a slice's own family, or else all.
func sessions(r *config.IngressRouter, id policy.SliceID) []netip.Addr {
	v4 := id.Prefix().Addr().Is4()
	own := slices.DeleteFunc(slices.Clone(r.Neighbors), func(a netip.Addr) bool { return a.Is4() != v4 })
	if len(own) == 0 {
		return r.Neighbors
	}
	return own
}

// known drops what the configuration does not have any more.
func (a assignment) known(c *config.Ingress) assignment {
	out := assignment{}
	for i := range c.Routers {
		for _, id := range c.Slices {
			p := place{c.Routers[i].Name, id}
			if e, ok := a[p]; ok && c.Target(e.POP) != nil && c.Target(e.POP).NextHop(id).IsValid() {
				out[p] = e
			}
		}
	}
	return out
}

// read reads what a former life left; a file that is not there is no error.
func read(path string) (assignment, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return assignment{}, nil
	}
	var list []saved
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		return assignment{}, fmt.Errorf("assignments %s: %w", path, err)
	}
	out := assignment{}
	for _, s := range list {
		out[place{s.Router, s.Slice}] = s.entry
	}
	return out, nil
}

// write replaces the file.
func (a assignment) write(path string) error {
	list := make([]saved, 0, len(a))
	for p, e := range a {
		list = append(list, saved{p.router, p.slice, e})
	}
	slices.SortFunc(list, func(x, y saved) int {
		if x.Router != y.Router {
			if x.Router < y.Router {
				return -1
			}
			return 1
		}
		return x.Slice.Prefix().Compare(y.Slice.Prefix())
	})
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", text, 0o640); err != nil {
		return fmt.Errorf("assignments: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("assignments: %w", err)
	}
	return nil
}

// Remembered are the routes that a former life may have left with routers.
func Remembered(path string, c *config.Ingress) (Routes, error) {
	a, err := read(path)
	return a.known(c).routes(c), err
}
