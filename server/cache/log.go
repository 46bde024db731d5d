package cache

import "github.com/catchment/catchment/server/cache/front"

// log writes the record of a finished exchange.
func (x *exchange) log() {}

// logHit writes the record of a hit of the fast path.
func (s *Server) logHit(h *shortHit, r *front.Request, sent *front.Sent) {}
