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
	before, err := a.proxy.Figures()
	if err != nil {
		t.Fatal(err)
	}
	a.withstand(80*MiB, func() {
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
