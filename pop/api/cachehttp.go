package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/catchment/catchment/pop/api/catchmentv1"
)

// handleCache adds the calls of the cache server.
func (s *Server) handleCache(mux *http.ServeMux) {
	for pattern, f := range map[string]func(context.Context, CacheQuery) (any, error){
		"":        func(ctx context.Context, _ CacheQuery) (any, error) { return s.cacheStatus(ctx) },
		"/purges": func(ctx context.Context, q CacheQuery) (any, error) { return s.cachePurges(ctx, q) },
		"/show":   func(ctx context.Context, q CacheQuery) (any, error) { return s.cacheShow(ctx, q) },
		"/trace":  func(ctx context.Context, q CacheQuery) (any, error) { return s.cacheTrace(ctx, q) },
	} {
		mux.HandleFunc("GET /v1/cache"+pattern, func(w http.ResponseWriter, r *http.Request) {
			reply(w, r, func(r *http.Request) (any, error) {
				q, err := cacheQuery(r.URL.Query())
				if err != nil {
					return nil, err
				}
				ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
				defer cancel()
				return f(ctx, q)
			})
		})
	}
	s.handleChange(mux, "cache/purge", func(r *http.Request) (any, error) {
		var p CachePurge
		if err := decode(r, &p, maxRequest); err != nil {
			return nil, err
		}
		return s.cachePurge(r.Context(), p)
	})
}

func cacheQuery(values url.Values) (CacheQuery, error) {
	var q CacheQuery
	for key, v := range values {
		switch key {
		case "url":
			q.URL = v[0]
		case "method":
			q.Method = v[0]
		case "header":
			q.Headers = v
		case "limit":
			n, err := strconv.ParseInt(v[0], 10, 32)
			if err != nil {
				return q, Errorf(Invalid, "limit %q: want a number", v[0])
			}
			q.Limit = int32(n)
		default:
			return q, Errorf(Invalid, "cache: no parameter %q; there are url, method, header and limit", key)
		}
	}
	return q, nil
}

func (q CacheQuery) values() string {
	v := url.Values{"header": q.Headers}
	for key, text := range map[string]string{"url": q.URL, "method": q.Method} {
		if text != "" {
			v.Set(key, text)
		}
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(int(q.Limit)))
	}
	return v.Encode()
}

// CacheStatus asks how the cache server is.
func (c *Client) CacheStatus(ctx context.Context) (CacheStatus, error) {
	return get[CacheStatus](ctx, c, "cache")
}

// CachePurge purges; the purge is in force when it returns.
func (c *Client) CachePurge(ctx context.Context, p CachePurge) (CachePurged, error) {
	return post[CachePurged](ctx, c, "cache/purge", p)
}

// CachePurges asks for the last so many purges, the newest first; 0: all that
// are kept.
func (c *Client) CachePurges(ctx context.Context, limit int) ([]CachePurged, error) {
	r, err := get[CachePurges](ctx, c, "cache/purges?"+CacheQuery{Limit: int32(limit)}.values())
	return r.Purges, err
}

// CacheShow asks what is stored for a URL.
func (c *Client) CacheShow(ctx context.Context, q CacheQuery) (CacheObject, error) {
	return get[CacheObject](ctx, c, "cache/show?"+q.values())
}

// CacheTrace asks how a request would be decided.
func (c *Client) CacheTrace(ctx context.Context, q CacheQuery) (CacheTrace, error) {
	return get[CacheTrace](ctx, c, "cache/trace?"+q.values())
}

// cacheService is the cache server over gRPC: the same calls as over HTTP.
type cacheService struct {
	catchmentv1.UnimplementedCacheServer
	s *Server
}

func (v cacheService) Status(ctx context.Context, _ *catchmentv1.CacheRequest) (*catchmentv1.CacheStatus, error) {
	return answer[catchmentv1.CacheStatus](v.s.cacheStatus(ctx))
}

func (v cacheService) Purge(ctx context.Context, m *catchmentv1.CachePurge) (*catchmentv1.CachePurged, error) {
	if err := v.s.MayChange(ctx, "cache/purge"); err != nil {
		return nil, statusOf(err)
	}
	var p CachePurge
	if err := fromProto(m, &p); err != nil {
		return nil, statusOf(Errorf(Invalid, "request: %v", err))
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return answer[catchmentv1.CachePurged](v.s.cachePurge(ctx, p))
}

func (v cacheService) Purges(ctx context.Context, m *catchmentv1.CacheQuery) (*catchmentv1.CachePurges, error) {
	return cacheAnswer[catchmentv1.CachePurges](ctx, m, v.s.cachePurges)
}

func (v cacheService) Show(ctx context.Context, m *catchmentv1.CacheQuery) (*catchmentv1.CacheObject, error) {
	return cacheAnswer[catchmentv1.CacheObject](ctx, m, v.s.cacheShow)
}

func (v cacheService) Trace(ctx context.Context, m *catchmentv1.CacheQuery) (*catchmentv1.CacheTrace, error) {
	return cacheAnswer[catchmentv1.CacheTrace](ctx, m, v.s.cacheTrace)
}

// cacheAnswer asks a question that came over gRPC.
func cacheAnswer[T any, M message[T], V any](ctx context.Context, m *catchmentv1.CacheQuery, f func(context.Context, CacheQuery) (V, error)) (M, error) {
	var q CacheQuery
	if err := fromProto(m, &q); err != nil {
		return nil, statusOf(Errorf(Invalid, "request: %v", err))
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return answer[T, M](f(ctx, q))
}
