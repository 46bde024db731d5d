package front

// id names a request field that front knows by name.
type id uint8

const (
	idOther id = iota // not known: carried along, says nothing to the fast path
	// Given to the Hitter by name; twice of one kind goes to the general path.
	idAccept
	idAcceptEncoding
	idAcceptLanguage
	idCookie
	idIfModifiedSince
	idIfNoneMatch
	idIfRange
	idOrigin
	idRange
	idReferer
	idUserAgent
	idNamed // end of the named ones
	// Read by front itself.
	idHost
	idConnection
	idContentLength
	idTransferEncoding
	idFraming // a misspelled framing field such as Content_Length: refused
	// Sends the request to the general path.
	idSlow
)

// known gives the id of field names by length; all in lower case.
var known = func() (t [32][]knownField) {
	for name, i := range map[string]id{
		"accept": idAccept, "accept-encoding": idAcceptEncoding, "accept-language": idAcceptLanguage,
		"cookie": idCookie, "if-modified-since": idIfModifiedSince, "if-none-match": idIfNoneMatch,
		"if-range": idIfRange, "origin": idOrigin, "range": idRange, "referer": idReferer,
		"user-agent": idUserAgent, "host": idHost, "connection": idConnection,
		"content-length": idContentLength, "transfer-encoding": idTransferEncoding,
		"content_length": idFraming, "transfer_encoding": idFraming,
		"authorization": idSlow, "cache-control": idSlow, "pragma": idSlow, "expect": idSlow, "upgrade": idSlow,
		"te": idSlow, "trailer": idSlow, "via": idSlow, "cdn-loop": idSlow, "if-match": idSlow,
		"if-unmodified-since": idSlow, "max-forwards": idSlow, "proxy-authorization": idSlow,
		"proxy-connection": idSlow, "keep-alive": idSlow, "http2-settings": idSlow, "catchment-debug": idSlow,
	} {
		t[len(name)] = append(t[len(name)], knownField{name, i})
	}
	return t
}()

type knownField struct {
	name string
	id   id
}

// fieldID says which field name is.
func fieldID(name []byte) id {
	if len(name) >= len(known) {
		return idOther
	}
	for _, k := range known[len(name)] {
		if equalFold(name, k.name) {
			return k.id
		}
	}
	return idOther
}

// Classes of bytes (RFC 9110 §5.6.2, RFC 3986 §2, §3.3, §3.4).
const (
	inToken  = 1 << iota // tchar
	inValue              // field value: VCHAR, obs-text, SP, HTAB
	inPath               // pchar without '%', and '/'
	inQuery              // pchar without '%', '/', '?', and the few more that browsers send
	inTarget             // VCHAR and bytes over 0x7f: what the general path takes
	inHost               // reg-name without '%'
)

var class = func() (t [256]uint8) {
	add := func(s string, bits uint8) {
		for i := range len(s) {
			t[s[i]] |= bits
		}
	}
	const alnum = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	add(alnum, inToken|inPath|inQuery|inHost)
	add("!#$%&'*+-.^_`|~", inToken)
	add("-._~!$&'()*+,;=:@/", inPath|inQuery)
	add("?%[]|{}^`\\\"<>", inQuery)
	add("-._~", inHost)
	for c := range 256 {
		if c == '\t' || c >= ' ' && c != 0x7f {
			t[c] |= inValue
		}
		if c > ' ' && c != 0x7f {
			t[c] |= inTarget
		}
	}
	return t
}()

// all says whether every byte of b is of one of the classes in bits.
func all[T string | []byte](b T, bits uint8) bool {
	for i := range len(b) {
		if class[b[i]]&bits == 0 {
			return false
		}
	}
	return true
}

func isToken(s string) bool { return s != "" && all(s, inToken) }
func isValue(s string) bool { return all(s, inValue) }
