package rule

// Reason says why a decision or a verdict is what it is. Its text goes unchanged into Cache-Status (detail), the access log
// and metrics; texts are kept from version to version. Numbers are kept with stored objects: new ones go to the end.
type Reason uint8

const (
	None Reason = iota

	// Why a stored response is served.
	IsFresh              // fresh
	StaleWhileRevalidate // within stale-while-revalidate
	StaleIfError         // upstream answered with an error, within stale-if-error
	StaleDisconnected    // upstream cannot be reached, within the policy's window
	StaleAllowed         // the client's max-stale allows it
	SoftPurged           // purged softly: served while it is refreshed

	// Why it is not served as it is.
	Expired            // no longer fresh
	ResponseNoCache    // no-cache in the response
	RequestNoCache     // no-cache (or Pragma) in the request
	RequestMaxAge      // older than the request's max-age
	RequestMinFresh    // not fresh for as long as the request wants
	MustRevalidate     // stale, and must-revalidate (or s-maxage, proxy-revalidate) forbids serving it
	OnlyIfCached       // the request wants no upstream
	URIMiss            // nothing stored under the key
	VaryMiss           // stored variants do not fit
	PartialMiss        // stored, but not the bytes asked for
	Purged             // purged hard
	HitForMiss         // known not to be storable
	MethodNotCacheable // the method is passed through
	PolicyBypass       // the site's policy passes this through

	// Why a response may be stored.
	Explicit  // max-age, s-maxage or Expires
	Heuristic // a share of the time since Last-Modified
	Negative  // the policy's lifetime for this status
	Override  // the policy's lifetime replaces the origin's
	Default   // the policy's lifetime for responses that say nothing
	Validate  // never fresh, but it can be validated

	// Why it may not.
	ResponseNoStore
	RequestNoStore
	ResponsePrivate
	RequestAuthorized    // Authorization, and nothing that allows sharing
	SetsCookie           // Set-Cookie, and the policy keeps such responses out
	VaryStar             // Vary: *
	StatusNotUnderstood  // must-understand or 206, with a status or form that is not understood
	StatusNotFinal       // 1xx
	StatusNotModified    // 304: it updates, it is not stored
	NotCacheableByStatus // no freshness given and the status has none by default
	NoLifetime           // never fresh and no validator: storing is useless
	StatusNeverStored    // about one request or one client only: 412, 416, and those of RFC 6585
	reasonCount
)

var reasonText = [reasonCount]string{
	None:    "none",
	IsFresh: "fresh", StaleWhileRevalidate: "stale-while-revalidate", StaleIfError: "stale-if-error",
	StaleDisconnected: "stale-disconnected", StaleAllowed: "max-stale", SoftPurged: "soft-purged",
	Expired: "expired", ResponseNoCache: "no-cache", RequestNoCache: "request-no-cache",
	RequestMaxAge: "request-max-age", RequestMinFresh: "request-min-fresh", MustRevalidate: "must-revalidate",
	OnlyIfCached: "only-if-cached", URIMiss: "uri-miss", VaryMiss: "vary-miss", PartialMiss: "partial",
	Purged: "purged", HitForMiss: "hit-for-miss", MethodNotCacheable: "method", PolicyBypass: "bypass",
	Explicit: "explicit", Heuristic: "heuristic", Negative: "negative", Override: "override",
	Default: "default", Validate: "validate",
	ResponseNoStore: "no-store", RequestNoStore: "request-no-store", ResponsePrivate: "private",
	RequestAuthorized: "authorization", SetsCookie: "set-cookie", VaryStar: "vary-star",
	StatusNotUnderstood: "status-not-understood", StatusNotFinal: "interim", StatusNotModified: "not-modified",
	NotCacheableByStatus: "status", NoLifetime: "no-lifetime",
	StatusNeverStored: "status-never",
}

// String is the text of the reason.
func (r Reason) String() string {
	if r >= reasonCount {
		return "unknown"
	}
	return reasonText[r]
}

// Fwd is the fwd parameter of Cache-Status that goes with a request sent upstream for this reason (RFC 9211 §2.2).
func (r Reason) Fwd() Fwd {
	switch r {
	case Expired, ResponseNoCache, MustRevalidate, SoftPurged, StaleWhileRevalidate:
		return FwdStale
	case RequestNoCache, RequestMaxAge, RequestMinFresh:
		return FwdRequest
	case VaryMiss:
		return FwdVaryMiss
	case PartialMiss:
		return FwdPartial
	case MethodNotCacheable:
		return FwdMethod
	case PolicyBypass, HitForMiss:
		return FwdBypass
	case URIMiss:
		return FwdURIMiss
	}
	return FwdMiss
}
