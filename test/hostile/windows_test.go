package hostile

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/test/mesh"
	"github.com/reclosermesh/recloser/test/peer"
)

// TestWindowFaults are what section 6.9 of RFC 9113 has the connection end for.
func TestWindowFaults(t *testing.T) {
	a := newArena(t, mesh.HTTP1, "")
	for name, f := range map[string]func(fr *http2.Framer) error{
		"connection's overflow": func(fr *http2.Framer) error { return fr.WriteWindowUpdate(0, 1<<31-1) },
		"size above 2^31-1": func(fr *http2.Framer) error {
			return fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
		},
		"overflow by SETTINGS": func(fr *http2.Framer) error {
			return errors.Join(fr.WriteWindowUpdate(1, 1<<30), fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			a.t = t
			a.withstand(16*MiB, func() {
				mustClose(t, a.strike(4, assault{rounds: 1, round: onOpenStream(func(fr *http2.Framer, _ uint32) error { return f(fr) })}),
					http2.ErrCodeFlowControl)
			})
		})
	}
}

// TestBeyondWindow sends more than it may, to an upstream that takes nothing: the
// proxy must neither keep it nor pass it on. Either the stream or the connection
// is to blame (section 6.9.1).
func TestBeyondWindow(t *testing.T) {
	blocked := newUpstream(t, nil, func(*peer.Conn, http2.Frame) error { return nil })
	a := newArena(t, mesh.HTTP1, blocked.addr)
	part := make([]byte, 16384)
	a.withstand(48*MiB, func() {
		outcomes := a.strike(4, assault{
			rounds: 4000, // 64 MB
			round: func(c *peer.Conn, i int) error {
				if i == 0 {
					if err := c.Headers(1, false, peer.Request("POST", "/hostile/")...); err != nil {
						return err
					}
				}
				return c.Write(func(fr *http2.Framer) error { return fr.WriteData(1, false, part) })
			},
			settled: func(o *outcome) bool { return len(o.resets) > 0 },
		})
		for _, o := range outcomes {
			beyondWindow(t, o)
		}
	})
}

// beyondWindow fails unless stream 1 or the connection ended for its window.
func beyondWindow(t *testing.T, o outcome) {
	t.Helper()
	code, reset := o.resets[1]
	if (!reset || code != http2.ErrCodeFlowControl) && (!o.closed || o.code != http2.ErrCodeFlowControl) {
		t.Errorf("reset %v with %v, closed %v with %v %q; want FLOW_CONTROL_ERROR", reset, code, o.closed, o.code, o.debug)
	}
}

// TestShutWindows asks for 800 MB in all and lets nothing of it come. The proxy
// must stop reading from the origin, and give up after its time without a byte.
func TestShutWindows(t *testing.T) {
	for _, to := range []mesh.Protocol{mesh.HTTP1, mesh.HTTP2} {
		t.Run("to "+string(to), func(t *testing.T) {
			a := newArena(t, to, "", "--stream-timeout", "3s")
			a.withstand(96*MiB, func() {
				outcomes := a.strike(10, assault{
					settings: []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}},
					rounds:   20,
					round: func(c *peer.Conn, i int) error {
						return c.Headers(stream(i), true, peer.Request("GET", "/?bytes=4000000")...)
					},
					settled: func(o *outcome) bool { return len(o.resets) == 20 },
				})
				for _, o := range outcomes {
					if !o.closed && len(o.resets) < 20 {
						t.Errorf("%d of 20 streams were reset, and the connection is open", len(o.resets))
					}
				}
			})
			mesh.Until(t, "the origin to be left in peace", a.idle)
		})
	}
}

// idle tells whether the origin has no request.
func (a *arena) idle() error {
	if n := a.held.Load(); n > 0 {
		return fmt.Errorf("%d requests are under way", n)
	}
	return nil
}

// TestTinyWindows lets an answer come one byte at a time, on many streams.
func TestTinyWindows(t *testing.T) {
	a := newArena(t, mesh.HTTP2, "", "--stream-timeout", "10s")
	a.withstand(48*MiB, func() {
		a.strike(10, assault{
			settings: []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 1}},
			rounds:   20_000,
			round: func(c *peer.Conn, i int) error {
				id := stream(i % 20)
				if i < 20 {
					return c.Headers(id, true, peer.Request("GET", "/?bytes=1000000")...)
				}
				return c.Write(func(fr *http2.Framer) error { return fr.WriteWindowUpdate(id, 1) })
			},
			settled: func(*outcome) bool { return true },
		})
	})
	mesh.Until(t, "the origin to be left in peace", a.idle)
}
