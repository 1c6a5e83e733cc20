package bridge

import "github.com/reclosermesh/recloser/internal/proxy/http1"

// AppendTrailers1 appends the end of a chunked body: the last chunk, the trailer
// fields, and the empty line.
func AppendTrailers1(dst []byte, fields []http1.Header) []byte {
	dst = append(dst, "0\r\n"...)
	for i := range fields {
		if h := &fields[i]; InTrailers(h) && valid(h) {
			dst = h.AppendLine(dst)
		}
	}
	return append(dst, "\r\n"...)
}

// AppendTrailers2 appends the trailer fields as fields of HTTP/2. arena is as
// for AppendRequest2.
func AppendTrailers2(dst []http1.Header, arena *[]byte, fields []http1.Header) []http1.Header {
	for i := range fields {
		if h := &fields[i]; InTrailers(h) {
			dst = append(dst, http1.Header{Name: lower(arena, h.Name), Value: h.Value, Sensitive: h.Sensitive})
		}
	}
	return dst
}

// InTrailers tells whether a field may come behind a body. Those may not that
// its recipient must know before: about framing, routing, the connection,
// authentication, the request's conditions, the response's control, and how the
// body is to be read (RFC 9110 section 6.5.1). Such a field is left out: a
// recipient that merges trailers into the head would take it for a part of that.
// Of these, http1 refuses the worst.
func InTrailers(h *http1.Header) bool {
	if len(h.Name) == 0 || h.Name[0] == ':' || !http1.ValidTrailer(h.Name) {
		return false
	}
	for _, name := range &inHeadOnly {
		if http1.EqualFold(h.Name, name) {
			return false
		}
	}
	return true
}

var inHeadOnly = [...]string{
	"age", "date", "expires", "forwarded", "if-match", "if-modified-since", "if-none-match", "if-range",
	"if-unmodified-since", "location", "pragma", "retry-after", "vary", "www-authenticate",
}
