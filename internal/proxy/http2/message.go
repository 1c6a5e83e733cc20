package http2

import (
	"bytes"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// What is wrong with a message (RFC 9113 section 8.1.1), for logs.
const (
	badName       = "a field name that is none"
	badValue      = "a field value that is none"
	badPseudo     = "a pseudo-header field that does not belong there"
	badOrder      = "a pseudo-header field behind a regular one"
	badTwice      = "a pseudo-header field twice"
	badMissing    = "a pseudo-header field is missing"
	badConnection = "a connection-specific field"
	badTE         = "a te field that is not trailers"
	badLength     = "a content-length that is none, twice, or another than that of the body"
	badMethod     = "a :method that is none"
	badScheme     = "a :scheme that is none"
	badAuthority  = "an authority that is none"
	badHost       = "a host field that differs from :authority, or comes twice"
	badPath       = "a :path that is none"
	badConnect    = "a CONNECT with fields that it may not have, or without those that it must"
	badStatus     = "a :status that is none"
	badInterim    = "an interim response that ends the stream, or 101"
)

// pseudo are the pseudo-header fields of one section.
type pseudo struct {
	method, scheme, authority, path, protocol, status []byte
}

// split takes the pseudo-header fields off the front (section 8.3).
func (p *pseudo) split(hs []http1.Header, request bool) (rest []http1.Header, reason string) {
	for len(hs) > 0 {
		name, value := hs[0].Name, hs[0].Value
		if len(name) == 0 || name[0] != ':' {
			break
		}
		var to *[]byte
		switch string(name) {
		case ":method":
			to = &p.method
		case ":scheme":
			to = &p.scheme
		case ":authority":
			to = &p.authority
		case ":path":
			to = &p.path
		case ":protocol":
			to = &p.protocol
		case ":status":
			to = &p.status
		default:
			return nil, badPseudo
		}
		switch {
		case request == (to == &p.status):
			return nil, badPseudo
		case *to != nil:
			return nil, badTwice
		case len(value) == 0:
			return nil, badMissing
		}
		*to = value
		hs = hs[1:]
	}
	return hs, ""
}

// regular is what the regular fields of a head say.
type regular struct {
	length int64
	host   []byte
	hostAt int // index of host; -1: none
}

// check judges regular fields (sections 8.2.1 and 8.2.2).
func (r *regular) check(hs []http1.Header) (reason string) {
	r.length, r.hostAt = -1, -1
	for i := range hs {
		name, value := hs[i].Name, hs[i].Value
		switch {
		case len(name) > 0 && name[0] == ':':
			return badOrder
		case !all(name, isLower):
			return badName
		case !validValue(value):
			return badValue
		}
		switch string(name) {
		case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
			return badConnection
		case "te":
			if !bytes.EqualFold(value, []byte("trailers")) {
				return badTE
			}
		case "content-length":
			n, ok := parseLength(value)
			if !ok || r.length >= 0 {
				return badLength
			}
			r.length = n
		case "host":
			if r.hostAt >= 0 {
				return badHost
			}
			r.host, r.hostAt = value, i
		}
	}
	return ""
}

// parseLength reads 1*DIGIT (RFC 9110 section 8.6).
func parseLength(v []byte) (n int64, ok bool) {
	if len(v) == 0 || len(v) > 18 {
		return 0, false
	}
	for _, c := range v {
		if c-'0' > 9 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// request makes the head of a stream of the block that was read. An answer
// other than "" says why it is malformed.
func (d *decoder) request(s *Stream, extended, end bool) (reason string) {
	s.remaining = -1
	if d.tooBig {
		return ""
	}
	var p pseudo
	var r regular
	hs, reason := p.split(d.keep(), true)
	if reason == "" {
		reason = r.check(hs)
	}
	if reason != "" {
		return reason
	}
	h := &s.head
	h.Method, h.Scheme, h.Authority, h.Path, h.Protocol = p.method, p.scheme, p.authority, p.path, p.protocol
	h.Headers, h.ContentLength = hs, r.length
	if r.hostAt >= 0 {
		if p.authority != nil && !bytes.EqualFold(p.authority, r.host) {
			return badHost // section 8.3.1 lets us refuse
		}
		if h.Authority == nil && p.method != nil && string(p.method) != "CONNECT" {
			h.Authority = r.host
		}
		h.Headers = append(hs[:r.hostAt], hs[r.hostAt+1:]...)
	}
	switch {
	case h.ContentLength >= 0 && end && h.ContentLength != 0:
		return badLength
	case h.ContentLength >= 0:
		s.remaining = h.ContentLength
	}
	return h.checkRequest(extended)
}

// checkRequest judges the pseudo-header fields of a request (section 8.3.1).
func (h *Head) checkRequest(extended bool) (reason string) {
	if h.Method == nil {
		return badMissing
	}
	if !all(h.Method, isToken) {
		return badMethod
	}
	if h.Authority != nil && !http1.ValidAuthority(h.Authority) {
		return badAuthority
	}
	connect := string(h.Method) == "CONNECT"
	switch {
	case connect && h.Protocol == nil:
		return h.checkConnect()
	case h.Protocol != nil && (!connect || !extended || !all(h.Protocol, isToken)):
		return badConnect // RFC 8441 section 4
	case h.Scheme == nil || h.Path == nil || h.Authority == nil:
		return badMissing
	case !validScheme(h.Scheme):
		return badScheme
	case !http1.ValidPath(h.Path) && (string(h.Path) != "*" || string(h.Method) != "OPTIONS"):
		return badPath
	}
	return ""
}

// checkConnect: section 8.5.
func (h *Head) checkConnect() (reason string) {
	if h.Scheme != nil || h.Path != nil || h.Authority == nil {
		return badConnect
	}
	if _, port := http1.SplitPort(h.Authority); len(port) == 0 { // it is valid
		return badConnect
	}
	return ""
}

// response makes the head of a response of the block that was read.
func (d *decoder) response(s *Stream, h *Head, end bool) (reason string) {
	var p pseudo
	var r regular
	hs, reason := p.split(d.keep(), false)
	if reason == "" {
		reason = r.check(hs)
	}
	if reason != "" {
		return reason
	}
	if len(p.status) != 3 {
		return badStatus
	}
	for _, c := range p.status {
		if c-'0' > 9 {
			return badStatus
		}
		h.Status = h.Status*10 + int(c-'0')
	}
	if h.Status < 100 || h.Status > 599 {
		return badStatus
	}
	h.Headers, h.ContentLength = hs, r.length
	if h.Status < 200 {
		if end || h.Status == 101 {
			return badInterim // sections 8.1 and 8.6
		}
		return ""
	}
	s.gotHead = true
	switch {
	case s.tunnel && h.Status < 300:
		s.remaining = -1 // RFC 9110 section 9.3.6
	case s.noBody, h.Status == 204, h.Status == 304:
		s.remaining = 0
	default:
		s.remaining = r.length
	}
	if end && s.remaining > 0 {
		return badLength
	}
	return ""
}

// trailers makes trailer fields of the block that was read (section 8.1).
func (d *decoder) trailers() (fields []http1.Header, reason string) {
	var r regular
	hs := d.keep()
	if len(hs) > 0 && len(hs[0].Name) > 0 && hs[0].Name[0] == ':' {
		return nil, badPseudo
	}
	return hs, r.check(hs)
}
