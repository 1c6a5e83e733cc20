package http1

import (
	"bytes"
	"testing"
)

// scanValue looks at eight bytes at a time; byte by byte the result is the
// same, whatever the byte and wherever it stands.
func TestScanValue(t *testing.T) {
	const size = 20
	for c := range 256 {
		for at := range size {
			for _, around := range []byte{'a', ' ', '\t', 0x80, 0xff, 0x7e, 0x20} {
				b := bytes.Repeat([]byte{around}, size)
				b[at] = byte(c)
				want := size
				if c != '\t' && (c < 0x20 || c == 0x7f) { // RFC 9110 section 5.5
					want = at
				}
				for from := 0; from <= at; from++ {
					if got := scanValue(b, from); got != want {
						t.Fatalf("byte %#x at %d among %#x from %d: %d, want %d", c, at, around, from, got, want)
					}
				}
			}
		}
	}
}

// Two that are refused do not hide each other.
func TestScanValueFirst(t *testing.T) {
	for _, x := range []byte("\x00\x1f\x7f\r\n") {
		for _, y := range []byte("\x00\x1f\x7f\x20\x21\x80") {
			b := []byte{'a', 'a', x, y, y, y, y, y, y}
			if got := scanValue(b, 0); got != 2 {
				t.Errorf("%q: %d", b, got)
			}
		}
	}
}

// Names are known in any case of letters, and only they.
func TestIdentify(t *testing.T) {
	names := map[string]Field{
		"host": FieldHost, "content-length": FieldContentLength, "transfer-encoding": FieldTransferEncoding,
		"connection": FieldConnection, "keep-alive": FieldKeepAlive, "proxy-connection": FieldProxyConnection,
		"te": FieldTE, "trailer": FieldTrailer, "upgrade": FieldUpgrade, "expect": FieldExpect,
		"http2-settings": FieldHTTP2Settings, "x-request-id": FieldRequestID,
	}
	for name, id := range names {
		for _, n := range [][]byte{[]byte(name), bytes.ToUpper([]byte(name)), bytes.ToTitle([]byte(name))} {
			if got := identify(n); got != id {
				t.Errorf("%s: %d, want %d", n, got, id)
			}
		}
		for i := range name {
			for c := range 256 {
				b := []byte(name)
				b[i] = byte(c)
				if known := identify(b) != FieldOther; known != bytes.EqualFold(b, []byte(name)) && class[c]&isToken != 0 {
					t.Errorf("%q: known %v", b, known)
				}
			}
		}
	}
}
