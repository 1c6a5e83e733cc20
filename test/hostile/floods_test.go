package hostile

import (
	"testing"

	"golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/test/mesh"
	"github.com/reclosermesh/recloser/test/peer"
)

// stream is the id of a client's stream number i.
func stream(i int) uint32 { return uint32(2*i + 1) }

// calm is the code for whoever asks too much (RFC 9113, section 7).
const calm = http2.ErrCodeEnhanceYourCalm

// onOpenStream returns a round that opens a stream for a request with a body
// before it does what f does to that stream.
func onOpenStream(f func(fr *http2.Framer, id uint32) error) func(*peer.Conn, int) error {
	return func(c *peer.Conn, i int) error {
		if i == 0 {
			if err := c.Headers(1, false, peer.Request("POST", "/")...); err != nil {
				return err
			}
		}
		return c.Write(func(fr *http2.Framer) error { return f(fr, 1) })
	}
}

// onNewStream returns a round that opens another stream each time.
func onNewStream(f func(fr *http2.Framer, id uint32) error) func(*peer.Conn, int) error {
	return func(c *peer.Conn, i int) error {
		id := stream(i)
		if err := c.Headers(id, false, peer.Request("POST", "/", "content-length", "10")...); err != nil {
			return err
		}
		return c.Write(func(fr *http2.Framer) error { return f(fr, id) })
	}
}

// floods are what a peer can send at next to no cost to itself. What is cheap
// about each is the reason why it is one.
var floods = []struct {
	name  string
	round func(c *peer.Conn, i int) error
}{
	{"rapid reset", onNewStream(func(fr *http2.Framer, id uint32) error { // CVE-2023-44487
		return fr.WriteRSTStream(id, http2.ErrCodeCancel)
	})},
	// CVE-2025-8671: the peer has us reset its streams, by small faults.
	{"made to reset, by no increment", onNewStream(func(fr *http2.Framer, id uint32) error {
		return fr.WriteWindowUpdate(id, 0)
	})},
	{"made to reset, by a window too large", onNewStream(func(fr *http2.Framer, id uint32) error {
		return fr.WriteWindowUpdate(id, 1<<31-1)
	})},
	{"made to reset, by too much data", onNewStream(func(fr *http2.Framer, id uint32) error {
		return fr.WriteData(id, true, make([]byte, 11))
	})},
	{"SETTINGS", func(c *peer.Conn, _ int) error {
		return c.Write(func(fr *http2.Framer) error {
			return fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535})
		})
	}},
	{"PING", func(c *peer.Conn, i int) error {
		return c.Write(func(fr *http2.Framer) error { return fr.WritePing(false, [8]byte{byte(i)}) })
	}},
	{"empty DATA", onOpenStream(func(fr *http2.Framer, id uint32) error { return fr.WriteData(id, false, nil) })},
	{"padding alone", onOpenStream(func(fr *http2.Framer, id uint32) error {
		return fr.WriteDataPadded(id, false, nil, make([]byte, 1))
	})},
	{"PRIORITY", func(c *peer.Conn, i int) error {
		return c.Write(func(fr *http2.Framer) error {
			return fr.WritePriority(stream(i), http2.PriorityParam{StreamDep: stream(i + 1), Weight: 1})
		})
	}},
	{"WINDOW_UPDATE of the connection", func(c *peer.Conn, _ int) error {
		return c.Write(func(fr *http2.Framer) error { return fr.WriteWindowUpdate(0, 1) })
	}},
	{"WINDOW_UPDATE of a stream", onOpenStream(func(fr *http2.Framer, id uint32) error { return fr.WriteWindowUpdate(id, 1) })},
	{"frames of no known type", func(c *peer.Conn, _ int) error {
		return c.Write(func(fr *http2.Framer) error { return fr.WriteRawFrame(0xfa, 0, 0, nil) })
	}},
}

// TestFloods sends each to a listener, to a deaf peer's advantage as well: one
// that does not read what it is answered.
func TestFloods(t *testing.T) {
	for _, to := range []mesh.Protocol{mesh.HTTP1, mesh.HTTP2} {
		t.Run("to "+string(to), func(t *testing.T) {
			a := newArena(t, to, "")
			for _, flood := range floods {
				for name, deaf := range map[string]bool{"": false, ", deaf": true} {
					t.Run(flood.name+name, func(t *testing.T) {
						a.t = t
						a.withstand(48*MiB, func() {
							mustClose(t, a.strike(4, assault{round: flood.round, deaf: deaf}), calm)
						})
					})
				}
			}
		})
	}
}
