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
	Debug           Access      `mapstructure:"debug"` // who may ask with Catchment-Debug
	Purge           Access      `mapstructure:"purge"` // who may use the PURGE method
}

// Upstream is where a site's content comes from. The parts are what package
// origin wants, as plain values.
type Upstream struct {
	// Origins are asked in turn by weight; those with backup only when no other
	// is healthy.
	Origins []Origin `mapstructure:"origins"`
	// Parents are caches of other POPs, lowest rank first. With parents, origins
	// are asked directly only with bypass-parents.
	Parents       []Parent `mapstructure:"parents"`
	BypassParents bool     `mapstructure:"bypass-parents"`
	// Peers are the caches of this POP, this one among them: each object has
	// one that asks upstream for all.
	Peers []Peer `mapstructure:"peers"`
	// Self is this cache's own name among the peers.
	Self string `mapstructure:"self"`
	// Host is the Host header sent to origins; empty: the client's, or with
	// key.host that one.
	Host string `mapstructure:"host"`
	// HTTP2 lets origins with https be asked by HTTP/2.
	HTTP2 *bool `mapstructure:"http2"`
	// CA is a file of certificates that origins may be signed by; empty: the
	// system's. Insecure takes any certificate.
	CA       string `mapstructure:"ca"`
	Insecure bool   `mapstructure:"insecure"`

	ConnectTimeout   time.Duration `mapstructure:"connect-timeout"`    // 0: the default
	FirstByteTimeout time.Duration `mapstructure:"first-byte-timeout"` // 0: the default
	IdleTimeout      time.Duration `mapstructure:"idle-timeout"`       // between two reads of a body; 0: the default
	Retries          *int          `mapstructure:"retries"`            // of requests that may be repeated; nil: the default
	MaxConnections   int           `mapstructure:"max-connections"`    // to each origin; 0: no limit
}

// Origin is one server that has the content.
type Origin struct {
	Name   string `mapstructure:"name"` // empty: its URL
	URL    string `mapstructure:"url"`  // http://host:port or https://host:port, without a path
	Weight int    `mapstructure:"weight"`
	Backup bool   `mapstructure:"backup"`
}

// Parent is the cache of another POP.
type Parent struct {
	Name string `mapstructure:"name"`
	URL  string `mapstructure:"url"`
	Rank int    `mapstructure:"rank"`
}

// Peer is a cache of this POP.
type Peer struct {
	Name   string `mapstructure:"name"`
	URL    string `mapstructure:"url"`
	Weight int    `mapstructure:"weight"`
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

// Caching says what is stored and how long, beside or above what origins say.
type Caching struct {
	// Off passes every request through.
	Off bool `mapstructure:"off"`
	// TTL holds for responses that say nothing; Override for all that may be
	// stored, whatever they say. Min and Max bound what they say. Zero: none.
	TTL      time.Duration `mapstructure:"ttl"`
	Override time.Duration `mapstructure:"override-ttl"`
	Min      time.Duration `mapstructure:"min-ttl"`
	Max      time.Duration `mapstructure:"max-ttl"`
	// Status are TTLs by status that hold where the response says nothing.
	Status []StatusTTL `mapstructure:"status"`
	// StaleWhileRevalidate and StaleIfError hold where the response does not
	// say its own (RFC 5861). NoStale forbids both.
	StaleWhileRevalidate time.Duration `mapstructure:"stale-while-revalidate"`
	StaleIfError         time.Duration `mapstructure:"stale-if-error"`
	NoStale              bool          `mapstructure:"no-stale"`
	// HitForMiss is how long an answer that may not be stored lets the next
	// requests pass side by side. Zero: the default.
	HitForMiss time.Duration `mapstructure:"hit-for-miss"`
	// IgnoreClient takes no Cache-Control and Pragma of clients.
	IgnoreClient bool `mapstructure:"ignore-client-cache-control"`
	// StoreCookies stores responses with Set-Cookie, without that header.
	StoreCookies bool `mapstructure:"store-cookies"`
	// ETag is origin (default), or content: a strong tag from the content's
	// digest, the same in all POPs.
	ETag string `mapstructure:"etag"`
	// TagHeaders are response headers that hold tags for purges, beside
	// Cache-Groups (RFC 9875): Surrogate-Key, Cache-Tag, X-Key.
	TagHeaders []string `mapstructure:"tag-headers"`
	// MaxObject is the longest body that is stored; 0: the store's.
	MaxObject Size `mapstructure:"max-object"`
}

// StatusTTL is how long responses of these status codes are fresh.
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
