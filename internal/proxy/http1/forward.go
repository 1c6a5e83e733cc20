package http1

// ForwardOptions is what a forwarded head says beyond what was received.
type ForwardOptions struct {
	// Extra fields are appended to the head, for instance an x-request-id.
	// They must be valid and not about framing or the connection.
	Extra []Header
	// Close states "Connection: close".
	Close bool
	// HTTP10 (responses): the client speaks HTTP/1.0. Chunked bodies must then
	// be decoded and end with the connection, so Close belongs to them.
	HTTP10 bool
}

// AppendForward appends the head as it goes to the upstream: HTTP/1.1,
// origin-form, Host first as the effective authority, then all end-to-end
// fields in their order and as they were sent, then what is about the next
// connection, restated (RFC 9110 section 7.6.1). r must come from Parse, and
// the parsed buffer must still be there.
//
// Not forwarded are Connection, the fields that it names, Keep-Alive,
// Proxy-Connection, TE (except trailers), Upgrade (except Request.Upgrade) and
// HTTP2-Settings. Transfer-Encoding is restated.
func (r *Request) AppendForward(dst []byte, opts ForwardOptions) []byte {
	dst = append(dst, r.Method...)
	dst = append(dst, ' ')
	if r.Connect {
		dst = append(dst, r.Target...)
	} else {
		dst = append(dst, r.Path...)
	}
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, r.Host...)
	dst = append(dst, "\r\n"...)

	drop := dropRequest
	if r.Minor == 0 {
		drop |= 1 << FieldExpect // RFC 9110 section 10.1.1
	}
	dst = appendFields(dst, r.buf, r.Headers, &r.f, drop)

	if r.Body.Kind == BodyChunked {
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	dst = appendConnection(dst, opts.Close, r.Upgrade, r.TETrailers)
	if r.TETrailers {
		dst = append(dst, "TE: trailers\r\n"...)
	}
	return appendExtra(dst, opts.Extra)
}

// AppendForward appends the head as it goes to the client: HTTP/1.1, the status
// and all end-to-end fields as they were sent, then what is about the client's
// connection. r must come from Parse, and the parsed buffer must still be
// there. A 1xx must not be sent to an HTTP/1.0 client.
func (r *Response) AppendForward(dst []byte, opts ForwardOptions) []byte {
	dst = appendStatus(dst, r.Status)
	dst = append(dst, r.Reason...)
	dst = append(dst, "\r\n"...)

	drop := dropResponse
	if r.Status < 200 || r.Status == 204 || r.Tunnel {
		drop |= 1 << FieldContentLength // RFC 9110 section 8.6
	}
	if opts.HTTP10 {
		drop |= 1 << FieldTrailer
	}
	dst = appendFields(dst, r.buf, r.Headers, &r.f, drop)

	// Also without a body, as answer to HEAD or as 304, the field may stand.
	if r.f.has(hasChunked) && !opts.HTTP10 && !r.Tunnel {
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	switch {
	case opts.HTTP10 && !opts.Close:
		dst = append(dst, "Connection: keep-alive\r\n"...)
	default:
		dst = appendConnection(dst, opts.Close && r.Status >= 200, r.Upgrade, false)
	}
	return appendExtra(dst, opts.Extra)
}

// Fields that are never copied.
const (
	dropConnection = 1<<FieldConnection | 1<<FieldKeepAlive | 1<<FieldProxyConnection |
		1<<FieldTransferEncoding | 1<<FieldUpgrade
	dropRequest  = uint32(dropConnection | 1<<FieldHost | 1<<FieldTE | 1<<FieldHTTP2Settings)
	dropResponse = uint32(dropConnection)
)

// appendFields copies the field lines that are not in drop and not named by
// Connection. Lines that are written as we write them are copied in runs.
func appendFields(dst, buf []byte, hs []Header, f *fields, drop uint32) []byte {
	named := f.has(optOther)
	from, to := uint32(0), uint32(0)
	for i := range hs {
		h := &hs[i]
		if drop&(1<<h.id) != 0 || named && droppable(h) && namedByConnection(hs, h.Name) {
			continue
		}
		if h.plain {
			if h.start == to {
				to = h.end
				continue
			}
			dst = append(dst, buf[from:to]...)
			from, to = h.start, h.end
			continue
		}
		dst = append(dst, buf[from:to]...)
		from, to = 0, 0
		dst = append(dst, h.Name...)
		dst = append(dst, ": "...)
		dst = append(dst, h.Value...)
		dst = append(dst, "\r\n"...)
	}
	return append(dst, buf[from:to]...)
}

// droppable tells whether a Connection option may remove the field. Fields
// that are meant for all recipients must not be named there (RFC 9110 section
// 7.6.1); a client that names them tries to take them from a request behind the
// back of those who rely on them, so they stay.
func droppable(h *Header) bool {
	if h.id != FieldOther {
		return false // what must go is in the drop set already
	}
	for _, p := range [...]string{"content-", "x-forwarded-"} {
		if len(h.Name) > len(p) && equalFold(h.Name[:len(p)], p) {
			return false
		}
	}
	switch len(h.Name) {
	case 4:
		return !equalFold(h.Name, "date")
	case 6:
		return !equalFold(h.Name, "cookie")
	case 9:
		return !equalFold(h.Name, "forwarded")
	case 10:
		return !equalFold(h.Name, "set-cookie")
	case 13:
		return !equalFold(h.Name, "authorization") && !equalFold(h.Name, "cache-control")
	}
	return true
}

func namedByConnection(hs []Header, name []byte) bool {
	for i := range hs {
		if hs[i].id != FieldConnection {
			continue
		}
		for rest := hs[i].Value; len(rest) > 0; {
			var item []byte
			if item, rest = nextItem(rest); equalFoldBytes(item, name) {
				return true
			}
		}
	}
	return false
}

// appendConnection appends the options of the next connection, and Upgrade
// where it is kept. A connection that is upgraded can not also be closed.
func appendConnection(dst []byte, closing bool, upgrade []byte, te bool) []byte {
	if !closing && upgrade == nil && !te {
		return dst
	}
	dst = append(dst, "Connection: "...)
	if closing {
		dst = append(dst, "close, "...)
	}
	if te {
		dst = append(dst, "TE, "...)
	}
	if upgrade != nil {
		dst = append(dst, "Upgrade, "...)
	}
	dst = append(dst[:len(dst)-2], "\r\n"...)
	if upgrade != nil {
		dst = append(dst, "Upgrade: "...)
		dst = append(dst, upgrade...)
		dst = append(dst, "\r\n"...)
	}
	return dst
}

func appendExtra(dst []byte, extra []Header) []byte {
	for i := range extra {
		dst = append(dst, extra[i].Name...)
		dst = append(dst, ": "...)
		dst = append(dst, extra[i].Value...)
		dst = append(dst, "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// appendStatus appends a status line up to the SP before the reason.
func appendStatus(dst []byte, status int) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = append(dst, byte('0'+status/100%10), byte('0'+status/10%10), byte('0'+status%10), ' ')
	return dst
}
