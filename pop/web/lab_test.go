package web

import (
	"context"

	"github.com/catchment/catchment/lab/netlab"
)

// seeing is the tool that looks at the page from within a node.
func seeing() netlab.Tool {
	return netlab.Tool{Name: "see-page", Main: func(context.Context, []string) error { return nil }}
}
