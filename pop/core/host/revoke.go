package host

import (
	"context"
	"fmt"
	"strings"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/core"
)

// serialOf is how a name says that it is the serial number of a certificate.
const serialOf = "serial:"

// revoke puts the certificates of a POP, or one by its serial number, on the
// fleet's list for good, and has every POP told of it.
func (a Admin) revoke(ctx context.Context, w core.Write, c api.CoreChange) (api.CoreResult, error) {
	h := a.Host
	ca := h.authority.Load()
	if ca == nil {
		return api.CoreResult{}, &core.Error{Code: core.Denied, Op: "revoke", Key: c.Name, Err: h.elsewhere(ctx)}
	}
	if c.Name == h.pop || c.Name == h.cfg.Name {
		return api.CoreResult{}, api.Errorf(api.Refused, "%s keeps the authority: without its certificate nobody could be told of anything", c.Name)
	}
	n, what := 1, "the certificate "+strings.TrimPrefix(c.Name, serialOf)
	if text, ok := strings.CutPrefix(c.Name, serialOf); ok {
		serial, err := core.Serial(text)
		if err != nil {
			return api.CoreResult{}, err
		}
		if err := ca.Revoke(w, serial); err != nil {
			return api.CoreResult{}, err
		}
	} else {
		var err error
		if n, err = ca.RevokeName(w, c.Name); err != nil {
			return api.CoreResult{}, err
		}
		if n == 0 {
			return api.CoreResult{}, api.Errorf(api.NotFound, "no certificate of %s is known here that is good and not revoked; one from before this "+
				"version is revoked by its serial number (openssl x509 -noout -serial -in core/identity/certificate.pem there)", c.Name)
		}
		what = fmt.Sprintf("%d of %s", n, c.Name)
	}
	if err := h.publishTrust(ctx); err != nil {
		return api.CoreResult{}, fmt.Errorf("%s is on the list, and the others are not told yet: %w", what, err)
	}
	text := "revoked: " + what + "; connections that are open last until they end"
	if list, err := h.core.Voters(ctx); err == nil {
		for _, v := range list {
			if v.Name == c.Name {
				text += "; it is a member of the core: take it out as well (catchment core remove " + c.Name + ")"
			}
		}
	}
	return api.CoreResult{Text: text}, nil
}
