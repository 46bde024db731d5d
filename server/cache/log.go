package cache

import (
	"crypto/tls"
	"net/netip"
	"time"

	"github.com/catchment/catchment/server/cache/accesslog"
	"github.com/catchment/catchment/server/cache/front"
	"github.com/catchment/catchment/server/cache/origin"
)

// longTransfer is from which body on the kernel is asked how the transfer went: one system call, and shorter ones say
// nothing about a path.
const longTransfer = 256 << 10

// log writes the record of a finished exchange.
func (x *exchange) log() {
	if !x.s.accesses.Wanted() {
		return
	}
	now := x.s.clock()
	rec := accesslog.Record{
		Time: x.began, Protocol: x.r.Proto, Method: x.r.Method, Scheme: "http", Host: x.r.Host,
		Path: x.r.URL.EscapedPath(), Query: x.r.URL.RawQuery,
		Status: x.w.status, Bytes: x.w.bytes, Duration: now.Sub(x.began), Aborted: x.w.err != nil || x.done.result == resultAborted,
		Cache: x.done.result.String(), Reason: x.reason(), Range: x.r.Header.Get("Range"),
		Referer: x.r.Header.Get("Referer"), UserAgent: x.r.Header.Get("User-Agent"), UpstreamTTFB: x.done.waited, Steer: x.done.steer,
	}
	if !x.w.first.IsZero() {
		rec.TTFB = x.w.first.Sub(x.began)
	}
	if ap, err := netip.ParseAddrPort(x.r.RemoteAddr); err == nil {
		rec.Client = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	if x.site != nil {
		rec.Site, rec.Key = x.site.Name, x.id[:]
	}
	if x.r.TLS != nil {
		rec.Scheme, rec.TLS = "https", tls.VersionName(x.r.TLS.Version)
	}
	if x.done.from != (origin.From{}) {
		rec.Upstream = x.done.from.String()
	}
	addConn(&rec, x.conn)
	x.s.accesses.Add(&rec)
}

// reason is why, in one word: what upstream's error was, else what rule said.
func (x *exchange) reason() string {
	if x.done.detail != "" {
		return x.done.detail
	}
	return x.done.status.Detail.String()
}

// logHit writes the record of a hit of the fast path.
func (h *shortHit) log(r *front.Request, sent *front.Sent) {
	if !h.s.accesses.Wanted() {
		return
	}
	rec := accesslog.Record{
		Time: sent.Began, Site: h.site.Name, Protocol: "HTTP/1.1", Method: "GET", Scheme: "http",
		Host: text(r.Host), Path: text(r.Path), Query: text(r.Query), Status: sent.Status, Bytes: sent.BodyBytes,
		Duration: sent.Ended.Sub(sent.Began), Aborted: sent.Err != nil, Cache: h.result.String(), Reason: "fresh",
		Key: h.id[:], Range: text(r.Range), Referer: text(r.Referer), UserAgent: text(r.UserAgent),
	}
	if r.Head {
		rec.Method = "HEAD"
	}
	if r.TLS {
		rec.Scheme = "https"
	}
	if sent.Conn != nil {
		rec.Protocol = sent.Conn.Proto()
	}
	addConn(&rec, sent.Conn)
	h.s.accesses.Add(&rec)
}

// addConn notes the connection, and after a long transfer how it went.
func addConn(rec *accesslog.Record, c *front.Conn) {
	if c == nil {
		return
	}
	rec.Client, rec.Local, rec.Conn, rec.Seq = c.Remote(), c.Local(), c.ID(), uint64(c.Requests())
	if rec.Bytes < longTransfer {
		return
	}
	i, ok := c.Info()
	if !ok {
		return
	}
	rec.TCP = accesslog.TCP{
		Valid: true, DeliveryRate: i.DeliveryRate, RTT: i.RTT, MinRTT: i.MinRTT, Retransmits: uint64(i.Retrans), Cwnd: i.Cwnd,
		RwndLimited: share(i.RwndLimited, i.Busy), SndLimited: share(i.SndbufLimit, i.Busy),
	}
}

func share(part, all time.Duration) float64 {
	if all <= 0 {
		return 0
	}
	return min(1, float64(part)/float64(all))
}
