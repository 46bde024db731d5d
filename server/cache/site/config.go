package site

import (
	"net/netip"
	"time"
)

// Config is one site: a customer's hosts and path prefixes and what holds for
// them. The tags are the keys of the configuration. Validate judges it alone,
// NewTable beside the others.
type Config struct {
	Name string `mapstructure:"name"`
	// Hosts are names (www.example.com), names with one * that stands for one
	// or more characters (*.example.com, img-*.example.com), addresses
	// (192.0.2.1, [2001:db8::1]), each with :PORT where only that port is
	// meant. A single * is every host that no other site names.
	Hosts []string `mapstructure:"hosts"`
	// Schemes are http and https; empty: both.
	Schemes []string `mapstructure:"schemes"`
	// Paths are prefixes on segment borders: /video is /video and /video/a, not
	// /videos. Empty: all.
	Paths []string `mapstructure:"paths"`
	// Methods are what clients may use; empty: GET, HEAD, OPTIONS, POST, PUT,
	// PATCH and DELETE. CONNECT and TRACE are refused always.
	Methods []string `mapstructure:"methods"`

	Upstream        Upstream    `mapstructure:"upstream"`
	Key             KeyRules    `mapstructure:"key"`
	Cache           Caching     `mapstructure:"cache"`
	RequestHeaders  HeaderEdits `mapstructure:"request-headers"`  // of requests to the origin
	ResponseHeaders HeaderEdits `mapstructure:"response-headers"` // of responses to the client
	Token           TokenRules  `mapstructure:"token"`
	Limits          Limits      `mapstructure:"limits"`
	Steer           Steer       `mapstructure:"steer"`
	Debug           Access      `mapstructure:"debug"` // who may ask with Catchment-Debug
	Purge           Access      `mapstructure:"purge"` // who may use the PURGE method
}

// Upstream is where a site's content comes from; Site.Upstream makes package
// origin's configuration of it. Times of zero are the defaults there.
type Upstream struct {
	// Origins are asked by turns and weight; those with backup only when no
	// other is healthy.
	Origins []Origin `mapstructure:"origins"`
	// Balance is round-robin (default), key or least-busy.
	Balance string `mapstructure:"balance"`
	// Parents are caches of other POPs; those of the lowest rank with one that
	// works are asked. With parents, origins are asked only if bypass-parents.
	Parents       []Parent `mapstructure:"parents"`
	BypassParents bool     `mapstructure:"bypass-parents"`
	// Host is the Host field sent to origins; empty: the client's, or key.host
	// where that is set.
	Host string `mapstructure:"host"`
	// Protocol is auto (default: by TLS), http1 or http2.
	Protocol string `mapstructure:"protocol"`
	// ServerName is the TLS name of origins; empty: Host, else the URL's.
	ServerName string `mapstructure:"server-name"`
	// CA is a file of certificates that origins may be signed by; empty: the
	// system's. Insecure takes any certificate.
	CA       string `mapstructure:"ca"`
	Insecure bool   `mapstructure:"insecure"`

	ConnectTimeout   time.Duration `mapstructure:"connect-timeout"`
	FirstByteTimeout time.Duration `mapstructure:"first-byte-timeout"`
	IdleTimeout      time.Duration `mapstructure:"idle-timeout"` // between two reads of a body
	MinRate          Size          `mapstructure:"min-rate"`     // bytes a second; 0: none
	// Attempts is how often a request that may be repeated is sent in all.
	Attempts       int `mapstructure:"attempts"`
	MaxConnections int `mapstructure:"max-connections"` // to each server; 0: no limit
	// Check asks each origin by itself; without a path only requests tell.
	Check OriginCheck `mapstructure:"check"`
	// Forwarded adds RFC 7239 Forwarded, XForwardedFor the older fields.
	Forwarded     bool `mapstructure:"forwarded"`
	XForwardedFor bool `mapstructure:"x-forwarded-for"`
}

// Origin is one server that has the content.
type Origin struct {
	Name   string `mapstructure:"name"` // empty: the URL's host
	URL    string `mapstructure:"url"`  // http://host:port or https://host:port; a path is put before each request's
	Weight int    `mapstructure:"weight"`
	Backup bool   `mapstructure:"backup"`
}

// Parent is a cache of another POP.
type Parent struct {
	Name   string `mapstructure:"name"`
	URL    string `mapstructure:"url"`
	Rank   int    `mapstructure:"rank"`
	Weight int    `mapstructure:"weight"`
}

// OriginCheck is a probe of origins by GET.
type OriginCheck struct {
	Path     string        `mapstructure:"path"`
	Host     string        `mapstructure:"host"`
	Interval time.Duration `mapstructure:"interval"`
	Timeout  time.Duration `mapstructure:"timeout"`
	Status   []int         `mapstructure:"status"` // what is healthy; empty: 200 to 399
}

// KeyRules say which parts of a request tell objects apart. What they leave out
// is not sent to the origin either.
type KeyRules struct {
	Query QueryRules `mapstructure:"query"`
	// Headers and Cookies are names whose values of the request are in the key.
	Headers []string `mapstructure:"headers"`
	Cookies []string `mapstructure:"cookies"`
	// Host stands in the key for every host of the site, so that its aliases
	// share their objects. Empty: the host asked for.
	Host string `mapstructure:"host"`
	// FoldScheme lets http and https share their objects.
	FoldScheme bool `mapstructure:"fold-scheme"`
	// LowerCase is for origins that do not tell /A from /a.
	LowerCase bool `mapstructure:"lower-case"`
	// RawPath keeps the path as the client wrote it, without the normalization
	// of percent-encodings and dot segments (RFC 3986 section 6.2.2).
	RawPath bool `mapstructure:"raw-path"`
	// MergeSlashes makes one slash of several.
	MergeSlashes bool `mapstructure:"merge-slashes"`
}

// QueryRules choose among the parameters of the query.
type QueryRules struct {
	// Mode is all (default), keep (only those named), drop (all but those
	// named) or none.
	Mode string `mapstructure:"mode"`
	// Names may end in *: utm_*.
	Names []string `mapstructure:"names"`
	// Sort orders parameters by name; those with one name keep their order.
	Sort bool `mapstructure:"sort"`
}

// Caching says what is stored and how long, beside or above what origins say;
// Site.Policy makes package rule's policy of it.
type Caching struct {
	// Off passes every request through.
	Off bool `mapstructure:"off"`
	// TTL holds for responses that say nothing; Min and Max bound what they say.
	TTL time.Duration `mapstructure:"ttl"`
	Min time.Duration `mapstructure:"min-ttl"`
	Max time.Duration `mapstructure:"max-ttl"`
	// Override are TTLs by status that replace what the response says (never
	// no-store, no-cache and private); Status those where it says nothing.
	Override []StatusTTL `mapstructure:"override"`
	Status   []StatusTTL `mapstructure:"status"`
	// Heuristic is the share in percent of the time since Last-Modified that a
	// response without a TTL is fresh for (RFC 9111 section 4.2.2); default 10, 0
	// none. HeuristicMax bounds it; default 24h.
	Heuristic    *int          `mapstructure:"heuristic"`
	HeuristicMax time.Duration `mapstructure:"heuristic-max"`
	// StaleWhileRevalidate and StaleIfError hold where the response does not
	// say its own (RFC 5861); StaleDisconnected while upstream is out of reach
	// (default 24h). NoStale forbids to set any of them and serves stale only
	// where the response itself says so.
	StaleWhileRevalidate time.Duration `mapstructure:"stale-while-revalidate"`
	StaleIfError         time.Duration `mapstructure:"stale-if-error"`
	StaleDisconnected    time.Duration `mapstructure:"stale-disconnected"`
	NoStale              bool          `mapstructure:"no-stale"`
	// Targeted are fields that come before Cache-Control (RFC 9213); default
	// CDN-Cache-Control. StripTargeted keeps them from clients.
	Targeted      []string `mapstructure:"targeted"`
	StripTargeted bool     `mapstructure:"strip-targeted"`
	// IgnoreClient takes no Cache-Control and Pragma of clients.
	IgnoreClient bool `mapstructure:"ignore-client-cache-control"`
	// Cookies is what becomes of responses with Set-Cookie: private (default:
	// stored only if they say they may be shared), store, strip (stored without
	// it) or never.
	Cookies string `mapstructure:"set-cookie"`
	// Vary says how fields that responses vary on are compared; others, and
	// without it all, as package rule has them by default.
	Vary []Vary `mapstructure:"vary"`
	// ETag is origin (default), or content: a strong tag from the content's
	// digest, the same in all POPs.
	ETag string `mapstructure:"etag"`
	// TagHeaders are response headers that hold tags for purges, beside
	// Cache-Groups (RFC 9875): Surrogate-Key, Cache-Tag, X-Key.
	TagHeaders []string `mapstructure:"tag-headers"`
}

// Vary is how values of one field are compared.
type Vary struct {
	Field string `mapstructure:"field"`
	// Mode is exact, list, accept (a list with weights), choose (which of Allow
	// are acceptable) or ignore.
	Mode  string   `mapstructure:"mode"`
	Allow []string `mapstructure:"allow"`
}

// StatusTTL is how long responses of these status codes are fresh; without
// codes, of all.
type StatusTTL struct {
	Status []int         `mapstructure:"status"`
	TTL    time.Duration `mapstructure:"ttl"`
}

// HeaderEdits change a header: first remove, then set, then add.
type HeaderEdits struct {
	Remove []string `mapstructure:"remove"`
	Set    []Header `mapstructure:"set"`
	Add    []Header `mapstructure:"add"`
}

// Header is one field.
type Header struct {
	Name  string `mapstructure:"name"`
	Value string `mapstructure:"value"`
}

// TokenRules switch signed URLs on; without keys every URL is open.
type TokenRules struct {
	Keys []TokenKey `mapstructure:"keys"`
	// Parameter is the query parameter that holds the token (default: token).
	// It is in no key and goes to no origin.
	Parameter string `mapstructure:"parameter"`
	// Cookie may hold the token instead, for players that follow playlists.
	Cookie string `mapstructure:"cookie"`
	// Paths are the prefixes that need a token; empty: all of the site.
	Paths []string `mapstructure:"paths"`
}

// TokenKey is one secret. With several, each signs; which one is said by id.
type TokenKey struct {
	ID         string `mapstructure:"id"`
	Secret     string `mapstructure:"secret"`
	SecretFile string `mapstructure:"secret-file"` // its content, without the line's end
}

// Limits bound what a site's clients may use. Zero: no limit.
type Limits struct {
	Client  Rate `mapstructure:"client"`   // of one client network
	Site    Rate `mapstructure:"site"`     // of all together
	IPv4    int  `mapstructure:"ipv4"`     // prefix length of a client network; default 32
	IPv6    int  `mapstructure:"ipv6"`     // default 64
	MaxBody Size `mapstructure:"max-body"` // of a request
	// Exempt networks are not limited.
	Exempt []netip.Prefix `mapstructure:"exempt"`
}

// Rate is requests and body bytes a second, and how many may come at once.
type Rate struct {
	Requests float64 `mapstructure:"requests"`
	Burst    float64 `mapstructure:"burst"` // default: the requests of one second, at least 1
	Bytes    Size    `mapstructure:"bytes"`
	// BytesBurst defaults to the bytes of one second.
	BytesBurst Size `mapstructure:"bytes-burst"`
}

// Access is who may do something: clients of these networks, or with this
// token in the header Catchment-Token. Nothing set: nobody.
type Access struct {
	Networks  []netip.Prefix `mapstructure:"networks"`
	Token     string         `mapstructure:"token"`
	TokenFile string         `mapstructure:"token-file"`
}

// Steer sends clients that cannot tell the difference to cheaper POPs: those
// whose player has a full buffer, and by choice those of slow networks. Nothing
// of it is on unless it is said. It is meant to be the same at every POP.
type Steer struct {
	// Targets are POPs that clients can be sent to, the cheapest first. Where this
	// POP is among them only those before it are cheaper.
	Targets []SteerTarget `mapstructure:"targets"`
	// Pace holds connections of clients with a full buffer to a little more than
	// they play; Redirect sends those who have been paced for a while to a target,
	// answer by answer (302); MoveSlow sends clients of slow networks there, at
	// their first request (301).
	Pace     bool `mapstructure:"pace"`
	Redirect bool `mapstructure:"redirect"`
	MoveSlow bool `mapstructure:"move-slow"`
	// Above is the share of this POP's capacity in use from which any of it is
	// done; 0: always.
	Above float64 `mapstructure:"above"`
	// Reattach is the shortest time that a client is taken to need until data
	// flows from a target; what was observed counts if it is longer. Default 2s.
	Reattach time.Duration `mapstructure:"reattach"`
	// Buffer is what a client has at least, in time of play, to be paced. Default
	// 10s.
	Buffer time.Duration `mapstructure:"buffer"`
	// PacedFor is how long it has been paced before it is redirected. Default 4s.
	PacedFor time.Duration `mapstructure:"paced-for"`
	// Least is what is left of an answer that is worth a redirect. Default 1MiB.
	Least Size `mapstructure:"least"`
}

// SteerTarget is a POP and the host that leads to it alone, one of the site's.
type SteerTarget struct {
	POP  string `mapstructure:"pop"`
	Host string `mapstructure:"host"` // perhaps with a port
}

// On reports whether any client is treated by it.
func (s *Steer) On() bool { return s.Pace || s.Redirect || s.MoveSlow }

// Cheaper are the targets that are cheaper than a POP.
func (s *Steer) Cheaper(pop string) []SteerTarget {
	for i, t := range s.Targets {
		if t.POP == pop {
			return s.Targets[:i]
		}
	}
	return s.Targets
}
