package hostile

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/test/mesh"
	"github.com/reclosermesh/recloser/test/peer"
)

// TestContinuations never ends a header block (CVE-2024-27316): with frames of
// any size, since each size is counted by another bound.
func TestContinuations(t *testing.T) {
	a := newArena(t, mesh.HTTP1, "")
	for _, size := range []int{0, 1, 1000, 16384} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			a.t = t
			a.withstand(24*MiB, func() {
				outcomes := a.strike(4, assault{round: func(c *peer.Conn, i int) error { return endless(c, i, size, peer.Request("GET", "/")) }})
				mustClose(t, outcomes, calm)
			})
		})
	}
}

// endless begins a header block with fields, and goes on with CONTINUATION
// frames of fields that each have so many bytes, with no end.
func endless(c *peer.Conn, i, size int, fields []string) error {
	if i == 0 {
		block, err := c.Encode(fields...)
		if err != nil {
			return err
		}
		return c.Write(func(fr *http2.Framer) error {
			return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block})
		})
	}
	return c.Write(func(fr *http2.Framer) error { return fr.WriteContinuation(1, false, literal(size)) })
}

// literal is a header block of so many bytes: fields that are not indexed, with
// names of one letter.
func literal(size int) []byte {
	var b bytes.Buffer
	for size-b.Len() >= 104 {
		b.WriteString("\x00\x01x\x64" + strings.Repeat("v", 100))
	}
	// What is left is made of the shortest representation: an indexed field.
	for b.Len() < size {
		b.WriteByte(0x80 | 15) // accept-charset, of the static table
	}
	return b.Bytes()
}

// TestExpandingHeaders sends few bytes that stand for many: a field of 4,000
// bytes that goes into the dynamic table once and is named by one byte after
// that, 16,000 times in one block.
func TestExpandingHeaders(t *testing.T) {
	a := newArena(t, mesh.HTTP1, "")
	a.withstand(24*MiB, func() {
		outcomes := a.strike(4, assault{
			rounds:  50,
			round:   func(c *peer.Conn, i int) error { return bomb(c, stream(i), peer.Request("GET", "/")) },
			settled: func(o *outcome) bool { return len(o.statuses)+len(o.resets) >= 50 },
		})
		mustRefuse(t, outcomes, 50)
	})
}

// bomb opens a stream, or answers on it, with a block that expands to 64 MB.
func bomb(c *peer.Conn, id uint32, fields []string) error {
	block, err := c.Encode(append(fields, "x-bomb", strings.Repeat("b", 4000))...)
	if err != nil {
		return err
	}
	// 62 is the youngest entry of the dynamic table (RFC 7541, section 2.3.3).
	block = append(block, bytes.Repeat([]byte{0x80 | 62}, 16384-len(block)-100)...)
	return c.Write(func(fr *http2.Framer) error {
		return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true, EndStream: true})
	})
}

// mustRefuse fails unless each request was refused: with a status of our own, by
// a reset, or by the end of the connection.
func mustRefuse(t *testing.T, outcomes []outcome, requests int) {
	t.Helper()
	for i, o := range outcomes {
		refused := len(o.resets)
		other := make(map[string]int)
		for _, status := range o.statuses {
			if status == "431" || status == "400" {
				refused++
			} else {
				other[status]++
			}
		}
		if len(other) > 0 || refused < requests && (!o.closed || o.code != calm) {
			t.Errorf("connection %d: %d of %d were refused, others got %v; closed %v with %v %q",
				i, refused, requests, other, o.closed, o.code, o.debug)
		}
	}
}

// TestLargeTable lets the proxy remember all that it sends: a peer may allow a
// table of any size, and ours must not take it up. What is sent would be 40 MB.
func TestLargeTable(t *testing.T) {
	a := newArena(t, mesh.HTTP1, "")
	transport := &http.Transport{Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxDecoderHeaderTableSize: 1 << 30}}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	a.withstand(16*MiB, func() {
		var all sync.WaitGroup
		for n := range 8 {
			all.Go(func() {
				for i := range 1250 {
					mark := strings.Repeat(fmt.Sprintf("%d.%d;", n, i), 4000/8)
					if err := a.marked(transport, mark); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
	})
}

// marked makes a request of which the answer has a header that no other has.
func (a *arena) marked(transport *http.Transport, mark string) error {
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodGet, "http://"+a.addr+"/", http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("X-Mark", mark)
	res, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if got := res.Header.Get("X-Mark"); res.StatusCode != http.StatusOK || got != mark {
		return fmt.Errorf("%s, with a header of %d bytes of %d", res.Status, len(got), len(mark))
	}
	return nil
}

// TestManyFields sends more fields than any program has use for, small ones.
func TestManyFields(t *testing.T) {
	a := newArena(t, mesh.HTTP1, "")
	a.withstand(24*MiB, func() {
		outcomes := a.strike(4, assault{
			rounds: 50,
			round: func(c *peer.Conn, i int) error {
				fields := peer.Request("GET", "/")
				for n := range 1500 {
					fields = append(fields, "x-"+strconv.Itoa(n%7), "")
				}
				return c.Headers(stream(i), true, fields...)
			},
			settled: func(o *outcome) bool { return len(o.statuses)+len(o.resets) >= 50 },
		})
		mustRefuse(t, outcomes, 50)
	})
}
