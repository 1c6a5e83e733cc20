// Package detect tells from the first bytes of a connection what it speaks:
// HTTP/1.x, HTTP/2 with prior knowledge, TLS, or none of these.
//
// It is pure: it is given what came so far and says what that is, or that more
// is needed. It never needs more than MaxBytes, does not allocate, and looks at
// a first line or a ClientHello closely only when all of it is there.
package detect

import "bytes"

// MaxBytes is the most that is ever looked at: with so many bytes, Look never
// says More. It bounds a ClientHello with its record headers.
const MaxBytes = 16 << 10

// Preface begins each HTTP/2 connection (RFC 9113 section 3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// maxMethod is the longest method that is believed, in bytes. The longest that
// is registered has 17.
const maxMethod = 32

// Kind is what a connection speaks.
type Kind uint8

const (
	// More says that the bytes so far do not tell.
	More Kind = iota
	// HTTP1 is a request line: "METHOD target HTTP/1.1" or another version in
	// that form. Whether it is valid is for the codec to say.
	HTTP1
	// HTTP2 is the whole of Preface.
	HTTP2
	// TLS is a ClientHello.
	TLS
	// Opaque is none of these.
	Opaque
)

// String is the kind as a short stable name.
func (k Kind) String() string {
	return [...]string{"more", "http1", "http2", "tls", "opaque"}[min(k, Opaque)]
}

// Look tells what a connection speaks that begins with b. What a ClientHello
// says of itself is written to hello, which must not be nil.
func Look(b []byte, hello *Hello) Kind {
	kind := look(b, hello)
	if kind == More && len(b) >= MaxBytes {
		return Guess(b)
	}
	return kind
}

func look(b []byte, hello *Hello) Kind {
	if len(b) == 0 {
		return More
	}
	if b[0] == recordHandshake {
		return hello.parse(b)
	}
	if n := min(len(b), len(Preface)); string(b[:n]) == Preface[:n] {
		if n == len(Preface) {
			return HTTP2
		}
		return More
	}
	return requestLine(b)
}

// Guess is for when nothing more comes, or not in time, after Look said More:
// what has the begin of a request line up to its target is HTTP1, so that its
// sender gets an answer in its own language. Everything else is Opaque.
func Guess(b []byte) Kind {
	n := min(len(b), len(Preface))
	method, target, ok := bytes.Cut(skipEmptyLine(b), []byte{' '})
	if !ok || len(method) == 0 || len(target) == 0 || string(b[:n]) == Preface[:n] {
		return Opaque
	}
	if requestLine(b) == Opaque {
		return Opaque
	}
	if target[0] == '/' || target[0] == '*' || bytes.HasPrefix(target, []byte("http://")) {
		return HTTP1
	}
	return Opaque
}

// skipEmptyLine leaves out one CRLF before a request line, which a server should
// ignore (RFC 9112 section 2.2).
func skipEmptyLine(b []byte) []byte {
	return bytes.TrimPrefix(b, []byte("\r\n"))
}

// requestLine tells whether b begins with a request line (RFC 9112 section 3).
// Text protocols have lines of words too ("EHLO name", "SET key value"): only
// the version at its end shows that one is HTTP's.
func requestLine(b []byte) Kind {
	if len(b) == 1 && b[0] == '\r' {
		return More
	}
	b = skipEmptyLine(b)
	n := 0
	for n < len(b) && tokens[b[n]] {
		if n++; n > maxMethod {
			return Opaque
		}
	}
	if n == len(b) {
		return More
	}
	if n == 0 || b[n] != ' ' {
		return Opaque
	}
	line, _, whole := bytes.Cut(b[n+1:], []byte{'\n'})
	if !printable(line) {
		return Opaque
	}
	if !whole {
		return More
	}
	return versioned(bytes.TrimSuffix(line, []byte{'\r'}))
}

// printable tells whether no control character is in line, but HTAB, and CR at
// its end.
func printable(line []byte) bool {
	for i, c := range line {
		if c < ' ' && c != '\t' && (c != '\r' || i != len(line)-1) || c == 0x7f {
			return false
		}
	}
	return true
}

// versioned tells whether a request line ends with a version: "HTTP/" DIGIT
// "." DIGIT.
func versioned(line []byte) Kind {
	const form = " HTTP/1.1"
	at := len(line) - len(form)
	if at <= 0 {
		return Opaque
	}
	v := line[at:]
	if string(v[:6]) != form[:6] || !digit(v[6]) || v[7] != '.' || !digit(v[8]) {
		return Opaque
	}
	return HTTP1
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// tokens are the characters of a token (RFC 9110 section 5.6.2).
var tokens = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()
