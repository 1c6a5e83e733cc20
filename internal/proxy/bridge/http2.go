package bridge

import "github.com/reclosermesh/recloser/internal/proxy/http1"

// The pseudo-fields (RFC 9113 section 8.3, RFC 8441 section 4), and the values
// that are ours.
var (
	nameMethod    = []byte(":method")
	nameScheme    = []byte(":scheme")
	nameAuthority = []byte(":authority")
	namePath      = []byte(":path")
	nameProtocol  = []byte(":protocol")
	nameStatus    = []byte(":status")
	nameTE        = []byte("te")

	connect     = []byte("CONNECT")
	trailers    = []byte("trailers")
	schemeHTTP  = []byte("http")
	schemeHTTPS = []byte("https")
)

// AppendRequest2 appends the head of r, parsed or a view, as fields of HTTP/2:
// :method, :scheme, :authority and :path first, then the end-to-end fields in
// their order, and extra, which must be valid and not about the connection; a
// field of extra takes the place of those of its name.
// scheme is "http" or "https", of the transport to the next recipient. arena is
// space for names in lower case; it grows as needed and is reused once the
// fields have been sent.
//
// An upgrade to a WebSocket becomes an extended CONNECT (RFC 8441 section 5).
func AppendRequest2(dst []http1.Header, arena *[]byte, r *http1.Request, scheme string, extra []http1.Header) []http1.Header {
	tunnel := WebSocket(r)
	if tunnel || r.Connect {
		dst = append(dst, http1.Header{Name: nameMethod, Value: connect})
	} else {
		dst = append(dst, http1.Header{Name: nameMethod, Value: r.Method})
	}
	if !r.Connect { // RFC 9113 section 8.5: CONNECT has neither
		dst = append(dst, http1.Header{Name: nameScheme, Value: schemeBytes(scheme)})
	}
	if len(r.Host) > 0 {
		dst = append(dst, http1.Header{Name: nameAuthority, Value: r.Host})
	}
	if !r.Connect {
		dst = append(dst, http1.Header{Name: namePath, Value: r.Path})
	}
	if tunnel {
		dst = append(dst, http1.Header{Name: nameProtocol, Value: websocket})
	}
	for i := range r.Headers {
		h := &r.Headers[i]
		switch {
		case !r.EndToEnd(h):
		case (tunnel || r.Connect) && h.Field() == http1.FieldContentLength:
		case tunnel && http1.EqualFold(h.Name, keyField):
		case replaced(extra, h.Name):
		default:
			dst = append(dst, http1.Header{Name: lower(arena, h.Name), Value: h.Value, Sensitive: h.Sensitive})
		}
	}
	if r.TETrailers {
		dst = append(dst, http1.Header{Name: nameTE, Value: trailers})
	}
	return appendLower(dst, arena, extra)
}

func schemeBytes(scheme string) []byte {
	if scheme == "https" {
		return schemeHTTPS
	}
	return schemeHTTP
}

// AppendResponse2 appends the head of r, parsed or a view, as fields of HTTP/2
// for the client that sent req: :status first, then the end-to-end fields in
// their order. arena is as for AppendRequest2.
//
// A 101 becomes a 200. The other way round, a 2xx with which HTTP/1 leaves an
// extended CONNECT at an ordinary request would open a tunnel that nobody is at
// the other end of: it becomes a 502. See Acceptable.
func AppendResponse2(dst []http1.Header, arena *[]byte, r *http1.Response, req *http1.Request) []http1.Header {
	status := r.Status
	switch {
	case !Acceptable(r, req):
		status = 502
	case status == 101:
		status = 200
	}
	dst = append(dst, http1.Header{Name: nameStatus, Value: digits(arena, status)})
	for i := range r.Headers {
		h := &r.Headers[i]
		switch {
		case !r.EndToEnd(h), r.Tunnel && http1.EqualFold(h.Name, acceptField):
		case h.Field() == http1.FieldTE, h.Field() == http1.FieldHTTP2Settings: // RFC 9113 section 8.2.2: not in responses
		default:
			dst = append(dst, http1.Header{Name: lower(arena, h.Name), Value: h.Value, Sensitive: h.Sensitive})
		}
	}
	return dst
}

// Acceptable tells whether r can be an answer to req at all. A 2xx to an
// extended CONNECT cannot where it opens no tunnel, nor a 101 to anything but an
// offer to upgrade.
func Acceptable(r *http1.Response, req *http1.Request) bool {
	switch {
	case r.Status == 101:
		return req.Upgrade != nil
	case r.Status/100 == 2 && extended(req):
		return r.Tunnel
	}
	return true
}

func appendLower(dst []http1.Header, arena *[]byte, hs []http1.Header) []http1.Header {
	for i := range hs {
		dst = append(dst, http1.Header{Name: lower(arena, hs[i].Name), Value: hs[i].Value, Sensitive: hs[i].Sensitive})
	}
	return dst
}

// lower gives a name in lower case, from arena where it is not so already.
func lower(arena *[]byte, name []byte) []byte {
	for i, c := range name {
		if c-'A' < 26 {
			return fold(arena, name, i)
		}
	}
	return name
}

func fold(arena *[]byte, name []byte, first int) []byte {
	from := len(*arena)
	*arena = append(*arena, name...)
	b := (*arena)[from:len(*arena):len(*arena)]
	for i := first; i < len(b); i++ {
		if b[i]-'A' < 26 {
			b[i] |= 0x20
		}
	}
	return b
}

// digits gives a status as text.
func digits(arena *[]byte, status int) []byte {
	from := len(*arena)
	*arena = append(*arena, byte('0'+status/100%10), byte('0'+status/10%10), byte('0'+status%10))
	return (*arena)[from:len(*arena):len(*arena)]
}
