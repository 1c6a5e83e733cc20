package hostile

import (
	"fmt"
	"testing"

	"golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/test/mesh"
	"github.com/reclosermesh/recloser/test/peer"
)

// TestSlowBodies begins thousands of requests over many connections, of which
// the bodies never come. They are ended after the time without a byte, and leave
// nothing.
func TestSlowBodies(t *testing.T) {
	const conns, streams = 50, 100
	a := newArena(t, mesh.HTTP2, "", "--stream-timeout", "4s")
	before := a.proxy.MustFigures()
	a.withstand(96*MiB, func() {
		outcomes := a.strike(conns, assault{
			rounds: streams,
			round: func(c *peer.Conn, i int) error {
				if err := c.Headers(stream(i), false, peer.Request("POST", "/", "content-length", "1000000")...); err != nil {
					return err
				}
				return c.Write(func(fr *http2.Framer) error { return fr.WriteData(stream(i), false, []byte("one byte or two")) })
			},
			settled: func(o *outcome) bool { return ended(o, streams) },
		})
		for i, o := range outcomes {
			if !o.closed && !ended(&o, streams) {
				t.Errorf("connection %d: %d answers and %d resets of %d streams", i, len(o.statuses), len(o.resets), streams)
			}
		}
	})
	mesh.Until(t, "the origin to be left in peace", a.idle)
	mesh.Until(t, "what the streams took to be given back", func() error {
		after, err := a.proxy.Figures()
		if err == nil && after.Goroutines > before.Goroutines+20 {
			err = fmt.Errorf("%d goroutines, and %d before", after.Goroutines, before.Goroutines)
		}
		return err
	})
}

// ended tells whether each of n streams was answered or reset.
func ended(o *outcome, n int) bool {
	for i := range n {
		_, reset := o.resets[stream(i)]
		if _, answered := o.statuses[stream(i)]; !reset && !answered {
			return false
		}
	}
	return true
}

// TestHalfBegun stops in the middle of what begins a request: a header block, or
// a frame. Each is ended in the time that a head may take, also where it goes on
// drop by drop.
func TestHalfBegun(t *testing.T) {
	a := newArena(t, mesh.HTTP1, "", "--head-timeout", "1s")
	for name, f := range map[string]func(fr *http2.Framer, c *peer.Conn, block []byte) error{
		"header block": func(fr *http2.Framer, _ *peer.Conn, block []byte) error {
			return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:4]})
		},
		"frame": func(_ *http2.Framer, c *peer.Conn, _ []byte) error {
			_, err := c.Conn.Write([]byte{0, 0, 100, byte(http2.FrameHeaders), 5, 0})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			a.t = t
			a.withstand(16*MiB, func() {
				outcomes := a.strike(20, assault{rounds: 1, round: func(c *peer.Conn, _ int) error {
					block, err := c.Encode(peer.Request("GET", "/")...)
					if err != nil {
						return err
					}
					return c.Write(func(fr *http2.Framer) error { return f(fr, c, block) })
				}})
				for i, o := range outcomes {
					if !o.closed {
						t.Errorf("connection %d: is left open", i)
					}
				}
			})
		})
	}
}
