package site

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A token stands in a query parameter or a cookie:
//
//	e=1700000000~k=KEYID[~p=/prefix/][~n=192.0.2.0/24]~s=SIGNATURE
//
// e is when it ends (seconds since 1970), k which key signed it, p the prefix
// it opens (text; without it, the one path it was made for), n the network the
// client has to be in. s is base64url, without padding, of HMAC-SHA256 over
//
//	"catchment-url-1" LF path LF everything before ~s=
//
// where path is empty if there is a p, else the normal form of the URL's path.

// Token is what a signed URL allows.
type Token struct {
	Expires time.Time
	KeyID   string
	Prefix  string       // empty: only the one path
	Network netip.Prefix // zero: any client
}

// Reasons of a TokenError.
const (
	TokenMissing   = "missing"
	TokenMalformed = "malformed"
	TokenUnknown   = "unknown key"
	TokenSignature = "wrong signature"
	TokenExpired   = "expired"
	TokenPath      = "other path"
	TokenNetwork   = "other network"
)

// TokenError is a request whose token does not open it.
type TokenError struct{ Reason string }

func (e *TokenError) Error() string { return "site: token: " + e.Reason }

// Status is the response's: 401 would ask for credentials that a browser has
// not got.
func (e *TokenError) Status() int { return http.StatusForbidden }

var (
	errTokenMissing   = &TokenError{TokenMissing}
	errTokenMalformed = &TokenError{TokenMalformed}
	errTokenUnknown   = &TokenError{TokenUnknown}
	errTokenSignature = &TokenError{TokenSignature}
	errTokenExpired   = &TokenError{TokenExpired}
	errTokenPath      = &TokenError{TokenPath}
	errTokenNetwork   = &TokenError{TokenNetwork}
)

// maxToken bounds what is looked at.
const maxToken = 2048

const tokenContext = "catchment-url-1\n"

// signer holds a site's keys.
type signer struct {
	keys      map[string][]byte
	parameter string
	cookie    string
	paths     []string
}

// Sign makes a token. The path is what the URL will have; it is not looked at
// if the token has a prefix.
func Sign(secret []byte, t Token, path string) (string, error) {
	switch {
	case t.KeyID == "" || !tokenText(t.KeyID):
		return "", fmt.Errorf("site: token: key id %q: want letters, digits, hyphens, underscores and dots", t.KeyID)
	case t.Prefix != "" && (t.Prefix[0] != '/' || strings.ContainsAny(t.Prefix, "~&;#?, \t\r\n\"")):
		return "", fmt.Errorf("site: token: prefix %q: want a path such as /video/", t.Prefix)
	case t.Prefix == "" && !strings.HasPrefix(path, "/"):
		return "", fmt.Errorf("site: token: path %q: want one that begins with a slash", path)
	case len(secret) < minSecret:
		return "", fmt.Errorf("site: token: a secret of %d bytes; want at least %d", len(secret), minSecret)
	}
	text := "e=" + strconv.FormatInt(t.Expires.Unix(), 10) + "~k=" + t.KeyID
	if t.Prefix != "" {
		text += "~p=" + string(normalPath(nil, []byte(t.Prefix), false))
		path = ""
	}
	if t.Network.IsValid() {
		text += "~n=" + t.Network.Masked().String()
	}
	mac := sign(secret, normalOrEmpty(path), text)
	return text + "~s=" + base64.RawURLEncoding.EncodeToString(mac), nil
}

func normalOrEmpty(path string) []byte {
	if path == "" {
		return nil
	}
	return normalPath(nil, []byte(path), false)
}

func sign(secret, path []byte, text string) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(tokenContext))
	h.Write(path)
	h.Write([]byte{'\n'})
	h.Write([]byte(text))
	return h.Sum(nil)
}

// tokenText reports whether a key id can stand in a token.
func tokenText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c == '~' || !unreserved(c) {
			return false
		}
	}
	return len(s) <= 64
}

// NeedsToken reports whether the path of a request is open only with a token.
func (s *Site) NeedsToken(path []byte) bool {
	if s.tokens == nil {
		return false
	}
	if len(s.tokens.paths) == 0 {
		return true
	}
	// The origin may take more for the same than we do.
	for _, p := range [][]byte{normalPath(nil, path, false), loosePath(path)} {
		if s.Config.Key.LowerCase {
			lower(p)
		}
		if slices.ContainsFunc(s.tokens.paths, func(prefix string) bool { return hasPrefix(p, prefix) }) {
			return true
		}
	}
	return false
}

// loosePath is what a careless origin might make of a path: all encodings
// decoded, then dot segments resolved and slashes merged.
func loosePath(path []byte) []byte {
	return normalPath(nil, bytes.ReplaceAll(decodePath(path), []byte("%"), []byte("%25")), true)
}

// CheckToken returns nil if the request may be served, or a *TokenError.
func (s *Site) CheckToken(r *Request, client netip.Addr, now time.Time) error {
	if !s.NeedsToken(r.Path) {
		return nil
	}
	text, err := s.tokens.find(r)
	if err != nil {
		return err
	}
	return s.tokens.check(text, r.Path, client, now)
}

// find takes the token out of the query, or else the cookie. Two are one too many:
// another reader might take the other one.
func (s *signer) find(r *Request) (string, error) {
	found := ""
	for query := r.Query; len(query) > 0; {
		var text []byte
		text, query, _ = bytes.Cut(query, []byte("&"))
		name, value, _ := bytes.Cut(text, []byte("="))
		if string(decode(name)) != s.parameter {
			continue
		}
		if found != "" {
			return "", errTokenMalformed
		}
		found = string(decode(value))
	}
	if found == "" && s.cookie != "" && r.Header != nil {
		for _, line := range r.Header.Values("Cookie") {
			for v := range cookies(line, s.cookie) {
				if found != "" {
					return "", errTokenMalformed
				}
				found = v
			}
		}
	}
	if found == "" {
		return "", errTokenMissing
	}
	return found, nil
}

// check tells what is wrong with a token only once its signature is right: an
// expiry or a network that somebody made up is no reason.
func (s *signer) check(text string, path []byte, client netip.Addr, now time.Time) error {
	signed, signature, ok := cutLast(text, "~s=")
	if !ok || len(text) > maxToken {
		return errTokenMalformed
	}
	t, err := parseToken(signed)
	if err != nil {
		return errTokenMalformed
	}
	secret := s.keys[t.KeyID]
	if secret == nil {
		return errTokenUnknown
	}
	mac, err := base64.RawURLEncoding.Strict().DecodeString(signature)
	if err != nil {
		return errTokenMalformed
	}
	over := normalPath(nil, path, false)
	within := bytes.HasPrefix(over, []byte(t.Prefix)) && bytes.HasPrefix(loosePath(path), []byte(t.Prefix))
	if t.Prefix != "" {
		over = nil
	}
	if subtle.ConstantTimeCompare(mac, sign(secret, over, signed)) != 1 {
		return errTokenSignature
	}
	switch {
	case !now.Before(t.Expires):
		return errTokenExpired
	case t.Prefix != "" && !within:
		return errTokenPath
	case t.Network.IsValid() && !t.Network.Contains(client.Unmap().WithZone("")):
		return errTokenNetwork
	}
	return nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// parseToken reads the signed part of a token. Its parts stand in one order, so
// that there is one way to write it.
func parseToken(text string) (t Token, err error) {
	bad := errors.New("malformed")
	parts := strings.Split(text, "~")
	next := func(key string) (string, bool) {
		if len(parts) == 0 || !strings.HasPrefix(parts[0], key) {
			return "", false
		}
		value := parts[0][len(key):]
		parts = parts[1:]
		return value, value != ""
	}
	expires, ok := next("e=")
	seconds, err := strconv.ParseInt(expires, 10, 64)
	if !ok || err != nil || seconds < 0 || seconds > 1<<40 {
		return t, bad
	}
	t.Expires = time.Unix(seconds, 0)
	if t.KeyID, ok = next("k="); !ok {
		return t, bad
	}
	if t.Prefix, ok = next("p="); ok && t.Prefix[0] != '/' {
		return t, bad
	}
	if network, ok := next("n="); ok {
		if t.Network, err = netip.ParsePrefix(network); err != nil {
			return t, bad
		}
	}
	if len(parts) > 0 {
		return t, bad
	}
	return t, nil
}
