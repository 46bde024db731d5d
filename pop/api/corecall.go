package api

import (
	"context"
	"io"
	"net/http"
)

// Core asks how the control core is.
func (c *Client) Core(ctx context.Context) (CoreStatus, error) {
	return get[CoreStatus](ctx, c, "core")
}

// CoreConfig asks for the fleet's configuration, without its texts.
func (c *Client) CoreConfig(ctx context.Context) (CoreConfig, error) {
	return get[CoreConfig](ctx, c, "core/config")
}

// CoreRollout asks for the last rollout of the configuration.
func (c *Client) CoreRollout(ctx context.Context) (CoreRollout, error) {
	return get[CoreRollout](ctx, c, "core/rollout")
}

// CoreShow asks for a config object with its text.
func (c *Client) CoreShow(ctx context.Context, q CoreQuery) (CoreObject, error) {
	return get[CoreObject](ctx, c, "core/show?"+q.values())
}

// CoreObjects asks for the objects of a kind.
func (c *Client) CoreObjects(ctx context.Context, q CoreQuery) ([]CoreObject, error) {
	return get[[]CoreObject](ctx, c, "core/objects?"+q.values())
}

// CoreHistory asks for the former states of an object, the newest first.
func (c *Client) CoreHistory(ctx context.Context, q CoreQuery) ([]CoreObject, error) {
	return get[[]CoreObject](ctx, c, "core/history?"+q.values())
}

// CoreWatch gives what changes in the core to yield, until ctx ends.
func (c *Client) CoreWatch(ctx context.Context, q CoreQuery, yield func(CoreObject) error) error {
	return stream(ctx, c, "core/watch?"+q.values(), yield)
}

// CoreBackup writes a backup of the core to w.
func (c *Client) CoreBackup(ctx context.Context, w io.Writer) error {
	res, err := c.do(ctx, http.MethodGet, "core/backup", nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(w, res.Body)
	return err
}

// CoreChange makes one of CoreVerbs.
func (c *Client) CoreChange(ctx context.Context, verb string, ch CoreChange) (CoreResult, error) {
	return post[CoreResult](ctx, c, "core/"+verb, ch)
}
