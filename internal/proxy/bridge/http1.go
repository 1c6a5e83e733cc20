package bridge

import (
	"bytes"
	"strconv"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// AppendRequest1 appends the head of r, a view, as HTTP/1.1: Host first, the
// end-to-end fields in their order (crumbs of a cookie joined: RFC 9113 section
// 8.2.3), the framing, what is about the next connection, and extra, which must
// be valid and not about either; a field of extra takes the place of those of
// its name.
//
// A body of unknown length is sent in chunks. A request for a WebSocket becomes
// a GET with Upgrade and a key of its own; see WebSocketAccepted.
func AppendRequest1(dst []byte, r *http1.Request, extra []http1.Header) []byte {
	tunnel := extended(r)
	switch {
	case tunnel:
		dst = append(dst, "GET "...)
	default:
		dst = append(dst, r.Method...)
		dst = append(dst, ' ')
	}
	dst = append(dst, r.Target...)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, r.Host...)
	dst = append(dst, "\r\n"...)
	var length, cookie bool
	for i := range r.Headers {
		h := &r.Headers[i]
		switch {
		case h.Field() == http1.FieldContentLength:
			length = true // stated below
		case !r.EndToEnd(h), !valid(h), tunnel && http1.EqualFold(h.Name, keyField), replaced(extra, h.Name):
		case http1.EqualFold(h.Name, "cookie"):
			if !cookie {
				cookie = true
				dst = appendCookie(dst, r.Headers[i:])
			}
		default:
			dst = h.AppendLine(dst)
		}
	}
	switch {
	case r.Body.Kind != http1.BodyNone:
		dst = appendFraming(dst, r.Body)
	case !tunnel && !r.Connect && (length || expectsContent(r.Method)):
		dst = append(dst, "Content-Length: 0\r\n"...)
	}
	dst = appendConnection(dst, r.TETrailers, tunnel)
	if tunnel {
		dst = append(dst, keyLine...)
		dst = appendKey(dst)
		dst = append(dst, "\r\n"...)
	}
	return appendExtra(dst, extra)
}

// replaced tells whether extra has a field of this name.
func replaced(extra []http1.Header, name []byte) bool {
	for i := range extra {
		if len(extra[i].Name) == len(name) && bytes.EqualFold(extra[i].Name, name) {
			return true
		}
	}
	return false
}

// expectsContent tells whether the method defines a meaning for content: its
// absence is then stated (RFC 9110 section 8.6).
func expectsContent(method []byte) bool {
	switch string(method) {
	case "POST", "PUT", "PATCH":
		return true
	}
	return false
}

// AppendResponse1 appends the head of r, a view, as HTTP/1.1 for the client that
// sent req. Everything has its length: stated, by chunks, 0, or for a client of
// HTTP/1.0 the connection's end, to which o.Close belongs. A 1xx must not be
// sent to such a client. The answer to a WebSocket becomes a 101.
func AppendResponse1(dst []byte, r *http1.Response, req *http1.Request, o http1.ForwardOptions) []byte {
	switching := r.Tunnel && r.Upgrade != nil
	if switching {
		dst = http1.AppendStatusLine(dst, 101)
	} else {
		dst = http1.AppendStatusLine(dst, r.Status)
	}
	var length []byte
	for i := range r.Headers {
		h := &r.Headers[i]
		switch {
		case !r.EndToEnd(h), !valid(h):
		case h.Field() == http1.FieldContentLength:
			length = number(h.Value) // stated below
		case o.HTTP10 && h.Field() == http1.FieldTrailer:
		case switching && http1.EqualFold(h.Name, acceptField):
		default:
			dst = h.AppendLine(dst)
		}
	}
	switch {
	case r.Body.Kind == http1.BodyLength, r.Body.Kind == http1.BodyChunked && !o.HTTP10:
		dst = appendFraming(dst, r.Body)
	case r.Body.Kind != http1.BodyNone:
	case !bodiless(r, req):
		dst = append(dst, "Content-Length: 0\r\n"...)
	case length != nil: // of what a GET would get
		dst = append(dst, "Content-Length: "...)
		dst = append(dst, length...)
		dst = append(dst, "\r\n"...)
	}
	switch {
	case switching:
		dst = appendConnection(dst, false, true)
		dst = appendAccept(dst, req)
	case o.Close && r.Status >= 200:
		dst = append(dst, "Connection: close\r\n"...)
	case o.HTTP10:
		dst = append(dst, "Connection: keep-alive\r\n"...)
	}
	return appendExtra(dst, o.Extra)
}

// number gives v if it is 1*DIGIT, otherwise nil.
func number(v []byte) []byte {
	for _, c := range v {
		if c-'0' > 9 {
			return nil
		}
	}
	if len(v) == 0 || len(v) > 18 {
		return nil
	}
	return v
}

func appendAccept(dst []byte, req *http1.Request) []byte {
	dst = append(dst, "Sec-WebSocket-Accept: "...)
	dst = WebSocketAccept(dst, key(req.Headers))
	return append(dst, "\r\n"...)
}

// valid tells whether a field can be a line of HTTP/1.1. HTTP/2 frames fields by
// their lengths, so that what ends a line here would be nothing special there;
// its engine refuses such fields, and here is the place where it counts.
func valid(h *http1.Header) bool {
	return http1.ValidToken(h.Name) && http1.ValidValue(h.Value)
}

// appendCookie joins the crumbs among hs, the first of which is one. Those that
// say nothing would leave a value that ends in white space.
func appendCookie(dst []byte, hs []http1.Header) []byte {
	dst = append(dst, "cookie: "...)
	empty := len(dst)
	for i := range hs {
		h := &hs[i]
		if len(h.Value) == 0 || !http1.EqualFold(h.Name, "cookie") || !valid(h) {
			continue
		}
		if len(dst) > empty {
			dst = append(dst, "; "...)
		}
		dst = append(dst, h.Value...)
	}
	return append(dst, "\r\n"...)
}

func appendFraming(dst []byte, b http1.Body) []byte {
	if b.Kind != http1.BodyLength {
		return append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, b.Length, 10)
	return append(dst, "\r\n"...)
}

// appendConnection appends what is about the next connection, named as such.
func appendConnection(dst []byte, te, upgrade bool) []byte {
	switch {
	case te && upgrade:
		return append(dst, "Connection: TE, Upgrade\r\nTE: trailers\r\nUpgrade: websocket\r\n"...)
	case te:
		return append(dst, "Connection: TE\r\nTE: trailers\r\n"...)
	case upgrade:
		return append(dst, "Connection: Upgrade\r\nUpgrade: websocket\r\n"...)
	}
	return dst
}

func appendExtra(dst []byte, extra []http1.Header) []byte {
	for i := range extra {
		dst = extra[i].AppendLine(dst)
	}
	return append(dst, "\r\n"...)
}
