package api

import (
	"errors"
	"fmt"
	"net/http"
)

// Code tells a caller what kind of failure it was.
type Code string

// Codes of an Error.
const (
	Invalid     Code = "invalid"     // the request is wrong: 400
	Forbidden   Code = "forbidden"   // the caller may not change things: 403
	NotFound    Code = "not-found"   // no such service or slice: 404
	Refused     Code = "refused"     // a guard or the state forbids it: 409
	Unavailable Code = "unavailable" // the daemon cannot answer now: 503
	Internal    Code = "internal"    // anything else: 500
)

var statuses = map[Code]int{
	Invalid: http.StatusBadRequest, Forbidden: http.StatusForbidden, NotFound: http.StatusNotFound,
	Refused: http.StatusConflict, Unavailable: http.StatusServiceUnavailable, Internal: http.StatusInternalServerError,
}

// Error is a failed call. A Backend returns one (it may be wrapped) to choose
// the code; every other error is Internal.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Guard   string `json:"guard,omitempty"` // with Refused: who refused
}

func (e *Error) Error() string {
	if e.Guard != "" {
		return "refused by guard " + e.Guard + ": " + e.Message
	}
	return e.Message
}

// Errorf makes an Error.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// asError gives every error a code; the words are those of the whole chain.
func asError(err error) *Error {
	var e *Error
	if !errors.As(err, &e) {
		return &Error{Code: Internal, Message: err.Error()}
	}
	if e == err {
		return e
	}
	return &Error{Code: e.Code, Message: err.Error()}
}
