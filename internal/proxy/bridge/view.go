package bridge

import (
	"errors"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/http2"
)

// Why a request of HTTP/2 cannot be served, though its framing is right. The
// first two are the client's mistake (400), the last asks for what is not
// implemented (501, as RFC 9220 section 3 has it).
var (
	ErrAuthority = errors.New("missing or invalid authority")
	ErrTarget    = errors.New("invalid method or path")
	ErrProtocol  = errors.New("extended CONNECT is for WebSockets only")
)

// RequestView makes dst show the request whose head is h; end tells that the
// head is all of it. dst is overwritten whole and shares the slices of h,
// Headers among them, so it must not be used to Parse. The Headers are marked by
// http1.Identify: a head is viewed before it is shared.
//
// Extended CONNECT (RFC 8441) shows the method CONNECT, but Connect is false,
// Upgrade is its protocol, and Path is there. A body is BodyLength where its
// length is stated, BodyChunked where only the stream's end tells it: also for a
// stated length of 0 before the end of the stream, as trailers may follow.
//
// The error, one of this package's, says that there is a rule of HTTP/1.x that
// the request breaks; dst is then good for logs only.
func RequestView(dst *http1.Request, h *http2.Head, end bool) error {
	*dst = http1.Request{
		Method: h.Method, Target: h.Path, Host: h.Authority, Path: h.Path,
		Minor: 1, Headers: h.Headers, KeepAlive: true,
	}
	switch string(h.Method) {
	case "HEAD":
		dst.Head = true
	case "CONNECT":
		if len(h.Protocol) > 0 {
			dst.Upgrade = h.Protocol
			break
		}
		dst.Connect = true
		dst.Target, dst.Path = h.Authority, nil
	}
	if dst.Upgrade == nil && !dst.Connect {
		dst.Body = body(h.ContentLength, end)
	}
	http1.Identify(dst.Headers)
	for i := range dst.Headers {
		note(dst, &dst.Headers[i])
	}
	return check(dst)
}

func body(length int64, end bool) http1.Body {
	switch {
	case end:
		return http1.Body{}
	case length > 0:
		return http1.Body{Kind: http1.BodyLength, Length: length}
	default:
		return http1.Body{Kind: http1.BodyChunked}
	}
}

// note takes down what a field says to the request path.
func note(r *http1.Request, h *http1.Header) {
	switch h.Field() {
	case http1.FieldExpect:
		if http1.EqualFold(h.Value, "100-continue") && r.Body.Kind != http1.BodyNone {
			r.Expect100 = true
		}
	case http1.FieldTE:
		if http1.EqualFold(h.Value, "trailers") {
			r.TETrailers = true
		}
	case http1.FieldRequestID:
		if !r.HasRequestID && len(h.Value) > 0 {
			r.HasRequestID, r.RequestID = true, h.Value
		}
	}
}

// check holds the request's line against what http1 accepts of one.
func check(r *http1.Request) error {
	if !http1.ValidAuthority(r.Host) {
		return ErrAuthority
	}
	switch {
	case r.Connect:
		if _, port := http1.SplitPort(r.Host); len(port) == 0 {
			return ErrAuthority // RFC 9113 section 8.5
		}
		return nil
	case r.Upgrade != nil && !http1.EqualFold(r.Upgrade, "websocket"):
		return ErrProtocol
	case !http1.ValidToken(r.Method):
		return ErrTarget
	case string(r.Path) == "*" && string(r.Method) == "OPTIONS":
		return nil
	case !http1.ValidPath(r.Path):
		return ErrTarget
	}
	return nil
}

// ResponseView makes dst show the response whose head is h, which answers req
// (parsed, or a view; as it came from the client); end tells that the head is
// all of it. dst is overwritten whole and shares the slices of h, Headers among
// them, which are marked; so it must not be used to Parse.
//
// A 2xx to a WebSocket or CONNECT is a Tunnel; the former has "websocket" as
// Upgrade. A Body of BodyNone does not say that the stream has ended: a
// bodiless answer may end it later.
func ResponseView(dst *http1.Response, h *http2.Head, end bool, req *http1.Request) {
	*dst = http1.Response{
		Minor: 1, Status: h.Status, Headers: h.Headers, KeepAlive: true,
		Informational: h.Status < 200,
	}
	http1.Identify(dst.Headers)
	if h.Status/100 == 2 {
		if WebSocket(req) {
			dst.Tunnel, dst.Upgrade = true, websocket
		}
		dst.Tunnel = dst.Tunnel || req.Connect
	}
	if !bodiless(dst, req) {
		dst.Body = body(h.ContentLength, end)
	}
}

// bodiless tells whether the response can have no body, whatever its fields say
// (RFC 9112 section 6.3).
func bodiless(r *http1.Response, req *http1.Request) bool {
	return req.Head || r.Status < 200 || r.Status == 204 || r.Status == 304 || r.Tunnel
}
