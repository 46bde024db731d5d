package api

import (
	"context"
	"net/http"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/maintenance"
)

// MaintenanceWindow is a maintenance window, and the time of it that is under
// way or comes next.
type MaintenanceWindow struct {
	Name    string           `json:"name"`
	At      string           `json:"at"`  // "2026-12-01 02:00 Europe/London", "Sun 02:00 Europe/London", "daily 02:00 UTC"
	For     Duration         `json:"for"` // how long
	Lead    Duration         `json:"lead,omitempty"`
	Service policy.ServiceID `json:"service,omitempty"`
	Slice   policy.SliceID   `json:"slice,omitzero"`
	By      string           `json:"by,omitempty"`
	Why     string           `json:"why,omitempty"`
	Config  bool             `json:"config,omitempty"` // of the configuration
	Drains  time.Time        `json:"drains,omitzero"`  // when its drain begins
	Start   time.Time        `json:"start,omitzero"`
	End     time.Time        `json:"end,omitzero"`
	State   string           `json:"state,omitempty"` // empty: to come
}

// States of a window.
const (
	WindowDrains = "drains" // its drain has begun, it has not started
	WindowUnder  = "under-way"
	WindowEnded  = "ended" // by an operator, before its time was over
)

// NewWindow asks for a window.
type NewWindow struct {
	Name    string           `json:"name"`
	At      string           `json:"at"`
	For     Duration         `json:"for"`
	Lead    Duration         `json:"lead,omitempty"` // 0: as long as the drain takes
	Service policy.ServiceID `json:"service,omitempty"`
	Slice   policy.SliceID   `json:"slice,omitzero"`
	Why     string           `json:"why,omitempty"`
}

// WindowName names a window to remove.
type WindowName struct {
	Name string `json:"name"`
	Why  string `json:"why,omitempty"`
}

// Maintainer keeps maintenance windows.
type Maintainer interface {
	Maintenance(context.Context) ([]MaintenanceWindow, error)
	AddMaintenance(context.Context, maintenance.Window) (Result, error)
	RemoveMaintenance(ctx context.Context, name, by, why string) (Result, error)
}

func (s *Server) maintenance(r *http.Request) (any, error) {
	all, err := s.opt.Backend.Maintenance(r.Context())
	return nonNil(all), err
}

// addWindow adds a window for a caller who MayChange.
func (s *Server) addWindow(ctx context.Context, n NewWindow) (Result, error) {
	if err := (Change{Service: n.Service, Slice: n.Slice, Why: n.Why}).validate(); err != nil {
		return Result{}, err
	}
	return s.opt.Backend.AddMaintenance(ctx, maintenance.Window{
		Name: n.Name, At: n.At, For: time.Duration(n.For), Lead: time.Duration(n.Lead), Service: n.Service, Slice: n.Slice, By: Caller(ctx), Why: n.Why,
	})
}

func (s *Server) removeWindow(ctx context.Context, n WindowName) (Result, error) {
	if err := (Change{Why: n.Why}).validate(); err != nil {
		return Result{}, err
	}
	return s.opt.Backend.RemoveMaintenance(ctx, n.Name, Caller(ctx), n.Why)
}

// handleMaintenance serves the calls about windows.
func (s *Server) handleMaintenance(mux *http.ServeMux) {
	s.handleChange(mux, "maintenance/add", func(r *http.Request) (any, error) {
		var n NewWindow
		if err := decode(r, &n, maxRequest); err != nil {
			return nil, err
		}
		return s.addWindow(r.Context(), n)
	})
	s.handleChange(mux, "maintenance/remove", func(r *http.Request) (any, error) {
		var n WindowName
		if err := decode(r, &n, maxRequest); err != nil {
			return nil, err
		}
		return s.removeWindow(r.Context(), n)
	})
}

// Maintenance asks for the windows.
func (c *Client) Maintenance(ctx context.Context) ([]MaintenanceWindow, error) {
	return get[[]MaintenanceWindow](ctx, c, "maintenance")
}

// AddMaintenance adds a window.
func (c *Client) AddMaintenance(ctx context.Context, n NewWindow) (Result, error) {
	return post[Result](ctx, c, "maintenance/add", n)
}

// RemoveMaintenance removes a window.
func (c *Client) RemoveMaintenance(ctx context.Context, n WindowName) (Result, error) {
	return post[Result](ctx, c, "maintenance/remove", n)
}
