package detect

import (
	"iter"
	"slices"
)

// Of the record and handshake protocols (RFC 8446 sections 4, 5.1 and 4.2).
const (
	recordHandshake     = 22
	recordHeader        = 5
	maxRecord           = 1 << 14
	majorVersion        = 3 // of all versions since SSL 3.0
	clientHello         = 1
	handshakeHeader     = 4
	minHello            = 2 + 32 + 1 + 4 + 2
	extensionServerName = 0
	extensionALPN       = 16
	hostName            = 0
	maxExtensions       = 64 // browsers send about 20
	maxName             = 253
	maxProtocols        = 255
)

// Hello is what a ClientHello says of itself. The zero value is ready; Look
// writes all of it.
type Hello struct {
	name      [maxName]byte
	nameLen   int
	protocols [maxProtocols]byte // as in the extension: each after its length
	protoLen  int
}

// ServerName is the host that the client asks for (SNI, RFC 6066 section 3), as
// it was sent; empty: none. It consists of letters, digits, hyphens,
// underscores and single dots between them, so it can stand in an authority.
func (h *Hello) ServerName() []byte { return h.name[:h.nameLen] }

// Protocols are the application protocols that the client offers (ALPN, RFC
// 7301), first those that it prefers; those beyond 255 bytes are left out.
func (h *Hello) Protocols() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for list := h.protocols[:h.protoLen]; len(list) > 0; {
			n := 1 + int(list[0])
			if !yield(list[1:n]) {
				return
			}
			list = list[n:]
		}
	}
}

// parse reads a ClientHello, which may be spread over several records: TLS,
// More, or Opaque for what is none.
func (h *Hello) parse(b []byte) Kind {
	h.nameLen, h.protoLen = 0, 0
	have, need, kind := measure(b)
	if kind != TLS {
		return kind
	}
	if have < need {
		return More
	}
	r := reader{b: b, left: need}
	r.skip(handshakeHeader)
	if !h.read(&r) {
		return Opaque
	}
	return TLS
}

// measure walks over the records of b: how many bytes of handshake messages
// are here, and how many the first message has. Kind TLS says that nothing
// speaks against a ClientHello.
func measure(b []byte) (have, need int, kind Kind) {
	var head [handshakeHeader]byte
	for at := 0; ; {
		n, kind := record(b[at:])
		if kind != TLS {
			return 0, 0, kind
		}
		at += recordHeader
		here := b[at:min(at+n, len(b))]
		if have < handshakeHeader {
			copy(head[have:], here)
		}
		have += len(here)
		if have > 0 && head[0] != clientHello {
			return 0, 0, Opaque
		}
		if have >= handshakeHeader {
			need = handshakeHeader + (int(head[1])<<16 | int(head[2])<<8 | int(head[3]))
			if need < handshakeHeader+minHello || need > MaxBytes-recordHeader {
				return 0, 0, Opaque
			}
			if have >= need {
				return have, need, TLS
			}
		}
		if at += n; at >= len(b) {
			return 0, 0, More
		}
	}
}

// record looks at a record's header: the length of what follows it.
func record(b []byte) (n int, kind Kind) {
	if len(b) > 0 && b[0] != recordHandshake || len(b) > 1 && b[1] != majorVersion {
		return 0, Opaque
	}
	if len(b) < recordHeader {
		return 0, More
	}
	n = int(b[3])<<8 | int(b[4])
	if n == 0 || n > maxRecord { // an empty one must not be (RFC 8446 section 5.1)
		return 0, Opaque
	}
	return n, TLS
}

// read reads the body of a ClientHello (RFC 8446 section 4.1.2). False: it is
// malformed.
func (h *Hello) read(r *reader) bool {
	if r.u16()>>8 != majorVersion {
		return false
	}
	r.skip(32)
	session := r.u8()
	if session > 32 {
		return false
	}
	r.skip(session)
	suites := r.u16()
	if suites == 0 || suites%2 != 0 {
		return false
	}
	r.skip(suites)
	methods := r.u8()
	if methods == 0 {
		return false
	}
	r.skip(methods)
	if r.bad {
		return false
	}
	if r.left == 0 {
		return true // no extensions: TLS 1.2 and before
	}
	if r.u16() != r.left || r.bad {
		return false
	}
	return h.extensions(r)
}

func (h *Hello) extensions(r *reader) bool {
	var seen [maxExtensions]int
	for count := 0; r.left > 0; count++ {
		if count == maxExtensions {
			return false
		}
		kind, n := r.u16(), r.u16()
		if r.bad || n > r.left {
			return false
		}
		if slices.Contains(seen[:count], kind) {
			return false
		}
		seen[count] = kind
		outer := r.left - n
		r.left = n
		switch kind {
		case extensionServerName:
			h.readNames(r)
		case extensionALPN:
			h.readProtocols(r)
		default:
			r.skip(n)
		}
		if r.bad || r.left != 0 {
			return false
		}
		r.left = outer
	}
	return true
}

// readNames reads a ServerNameList (RFC 6066 section 3).
func (h *Hello) readNames(r *reader) {
	if n := r.u16(); n == 0 || n != r.left {
		r.bad = true
	}
	for r.left > 0 && !r.bad {
		kind, n := r.u8(), r.u16()
		switch {
		case n == 0:
			r.bad = true
		case kind != hostName:
			r.skip(n)
		case h.nameLen != 0 || n > maxName: // at most one of a kind
			r.bad = true
		default:
			r.copy(h.name[:n])
			h.nameLen = n
			r.bad = r.bad || !validName(h.name[:n])
		}
	}
}

// validName tells whether a name may stand in an authority: a DNS name without
// its last dot.
func validName(name []byte) bool {
	before := byte('.')
	for _, c := range name {
		switch {
		case c == '.' && before == '.':
			return false
		case c != '.' && c != '-' && c != '_' && !alphanumeric(c):
			return false
		}
		before = c
	}
	return before != '.'
}

func alphanumeric(c byte) bool { return digit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' }

// readProtocols reads a ProtocolNameList (RFC 7301 section 3.1).
func (h *Hello) readProtocols(r *reader) {
	if n := r.u16(); n == 0 || n != r.left {
		r.bad = true
	}
	for r.left > 0 && !r.bad {
		n := r.u8()
		if n == 0 {
			r.bad = true
			return
		}
		if h.protoLen+1+n > len(h.protocols) {
			r.skip(n)
			continue
		}
		h.protocols[h.protoLen] = byte(n)
		r.copy(h.protocols[h.protoLen+1 : h.protoLen+1+n])
		h.protoLen += 1 + n
	}
}

// reader reads the bytes of handshake messages out of their records. All records
// up to the end of the message must be there.
type reader struct {
	b      []byte
	record int  // bytes left in the present record
	left   int  // bytes left in what is being read
	bad    bool // more was asked for than is left
}

// chunk gives the next bytes that lie together, at most n of them.
func (r *reader) chunk(n int) []byte {
	if r.record == 0 {
		r.record = int(r.b[3])<<8 | int(r.b[4])
		r.b = r.b[recordHeader:]
	}
	n = min(n, r.record)
	c := r.b[:n]
	r.b = r.b[n:]
	r.record -= n
	r.left -= n
	return c
}

// has tells whether n bytes are left.
func (r *reader) has(n int) bool {
	if r.bad || n > r.left {
		r.bad = true
	}
	return !r.bad
}

func (r *reader) skip(n int) {
	if !r.has(n) {
		return
	}
	for n > 0 {
		n -= len(r.chunk(n))
	}
}

func (r *reader) copy(to []byte) {
	if !r.has(len(to)) {
		return
	}
	for len(to) > 0 {
		to = to[copy(to, r.chunk(len(to))):]
	}
}

func (r *reader) u8() int {
	var b [1]byte
	r.copy(b[:])
	return int(b[0])
}

func (r *reader) u16() int {
	var b [2]byte
	r.copy(b[:])
	return int(b[0])<<8 | int(b[1])
}
