package http1

import "strconv"

// Answer is a complete response of our own.
type Answer struct {
	// Status is from 200 to 599.
	Status int
	// Reason is the reason phrase; empty means the usual one of the status.
	Reason string
	// Body is plain text in UTF-8, unless Extra says what it is.
	Body []byte
	// KeepAlive: another request may follow; otherwise "Connection: close".
	KeepAlive bool
	// Head: the request was HEAD; the body's length is told but not its bytes.
	Head bool
	// HTTP10: the client speaks HTTP/1.0 and must be told when its connection
	// is kept.
	HTTP10 bool
	// Extra fields; valid, and not about framing or the connection.
	Extra []Header
}

// Append appends the answer.
func (a *Answer) Append(dst []byte) []byte {
	dst = appendStatus(dst, a.Status)
	reason := a.Reason
	if reason == "" {
		reason = StatusText(a.Status)
	}
	dst = append(dst, reason...)
	bodiless := a.Status == 204 || a.Status == 304
	if !bodiless {
		if _, said := Find(a.Extra, "content-type"); !said && len(a.Body) > 0 {
			dst = append(dst, "\r\nContent-Type: text/plain; charset=utf-8"...)
		}
		dst = append(dst, "\r\nContent-Length: "...)
		dst = strconv.AppendInt(dst, int64(len(a.Body)), 10)
	}
	dst = append(dst, "\r\n"...)
	switch {
	case !a.KeepAlive:
		dst = append(dst, "Connection: close\r\n"...)
	case a.HTTP10:
		dst = append(dst, "Connection: keep-alive\r\n"...)
	}
	dst = appendExtra(dst, a.Extra)
	if a.Head || bodiless {
		return dst
	}
	return append(dst, a.Body...)
}

// AppendError appends a complete answer of our own with a body of plain text.
// For HEAD or HTTP/1.0 use Answer.
func AppendError(dst []byte, status int, reason string, body []byte, keepAlive bool, extra []Header) []byte {
	a := Answer{Status: status, Reason: reason, Body: body, KeepAlive: keepAlive, Extra: extra}
	return a.Append(dst)
}
