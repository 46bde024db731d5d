package host

import (
	"github.com/catchment/catchment/pop/core"
)

// Through makes a Host with mode follow reach the core by another engine than
// a client of members (a relay). open is called by Run, each time the core is
// opened, with the files of a certificate that is there. Call it before Run.
func (h *Host) Through(open func(core.Files) (*core.Core, error)) { h.through = open }

// Files are those of this POP's certificate. They are there once the core is
// ready, and renewed in place.
func (h *Host) Files() core.Files { return h.files }

// Relays says that there is a relay tree, so that a POP that joins needs no
// member that answers clients. Call it before Run.
func (h *Host) Relays() { h.relays = true }
