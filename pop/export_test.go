package pop

import "context"

// Decide runs one round on the controller's goroutine.
func (c *Controller) Decide(ctx context.Context) error {
	return c.call(ctx, func() { c.round(ctx) })
}
