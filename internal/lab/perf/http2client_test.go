package perf

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	h2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2Peer reads the client's preface, sends settings, and then calls answer
// for each request that has ended, or been opened, until the client goes.
func http2Peer(conn net.Conn, settings []h2.Setting, answer func(fr *h2.Framer, f *h2.MetaHeadersFrame)) {
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, len(h2.ClientPreface))); err != nil {
		return
	}
	fr := h2.NewFramer(conn, conn)
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := fr.WriteSettings(settings...); err != nil {
		return
	}
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return
		}
		if f, ok := f.(*h2.MetaHeadersFrame); ok {
			answer(fr, f)
		}
	}
}

// fields is a header block of pairs.
func fields(pairs ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(pairs); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return b.Bytes()
}

func head(fr *h2.Framer, id uint32, end bool, pairs ...string) {
	_ = fr.WriteHeaders(h2.HeadersFrameParam{StreamID: id, BlockFragment: fields(pairs...), EndHeaders: true, EndStream: end})
}

// dialPeer connects to a server of one connection, over real sockets: they
// hold what both sides write at once.
func dialPeer(t *testing.T, server func(net.Conn)) (*h2conn, error) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if conn, err := l.Accept(); err == nil {
			server(conn)
		}
	}()
	c, err := dialHTTP2(t.Context(), l.Addr().String())
	t.Cleanup(func() {
		if c != nil {
			c.Close()
		}
		l.Close()
		<-done
	})
	return c, err
}

// withPeer runs use on a connection to a peer.
func withPeer(t *testing.T, settings []h2.Setting, answer func(fr *h2.Framer, f *h2.MetaHeadersFrame), use func(c *h2conn) error) error {
	t.Helper()
	c, err := dialPeer(t, func(conn net.Conn) { http2Peer(conn, settings, answer) })
	if err != nil {
		return err
	}
	return use(c)
}

func TestAskHTTP2(t *testing.T) {
	plain := func(fr *h2.Framer, f *h2.MetaHeadersFrame) {
		_ = fr.WritePing(false, [8]byte{1})
		head(fr, f.StreamID, false, ":status", "200")
		_ = fr.WriteData(f.StreamID, true, []byte(answer))
	}
	call := func(status string) func(fr *h2.Framer, f *h2.MetaHeadersFrame) {
		return func(fr *h2.Framer, f *h2.MetaHeadersFrame) {
			head(fr, f.StreamID, false, ":status", "200", "content-type", "application/grpc")
			_ = fr.WriteData(f.StreamID, false, message([]byte(answer)))
			head(fr, f.StreamID, true, "grpc-status", status)
		}
	}
	tests := []struct {
		name, path string
		answer     func(fr *h2.Framer, f *h2.MetaHeadersFrame)
		want       string
	}{
		{"answer", "/", plain, ""},
		{"call", sayPath, call("0"), ""},
		{"call that fails", sayPath, call("14"), `grpc-status "14"`},
		{"no call", sayPath, plain, `grpc-status ""`},
		{"trailers only", sayPath, func(fr *h2.Framer, f *h2.MetaHeadersFrame) {
			head(fr, f.StreamID, true, ":status", "200", "grpc-status", "0")
		}, "body \"\""},
		{"status", "/", func(fr *h2.Framer, f *h2.MetaHeadersFrame) { head(fr, f.StreamID, true, ":status", "503") }, `answer "503"`},
		{"another body", "/", func(fr *h2.Framer, f *h2.MetaHeadersFrame) {
			head(fr, f.StreamID, false, ":status", "200")
			_ = fr.WriteData(f.StreamID, true, []byte("abc"))
		}, `body "abc"`},
		{"reset", "/", func(fr *h2.Framer, f *h2.MetaHeadersFrame) {
			_ = fr.WriteRSTStream(f.StreamID, h2.ErrCodeRefusedStream)
		}, "stream 1 was reset: REFUSED_STREAM"},
		{"end", "/", func(fr *h2.Framer, _ *h2.MetaHeadersFrame) {
			_ = fr.WriteGoAway(0, h2.ErrCodeEnhanceYourCalm, []byte("too much"))
		}, `ENHANCE_YOUR_CALM "too much"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := withPeer(t, nil, tt.answer, func(c *h2conn) error { return c.ask(tt.path) })
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestHoldHTTP2(t *testing.T) {
	allow := func(n uint32) []h2.Setting {
		return []h2.Setting{{ID: h2.SettingMaxConcurrentStreams, Val: n}}
	}
	var open atomic.Int32
	accept := func(fr *h2.Framer, f *h2.MetaHeadersFrame) {
		open.Add(1)
		head(fr, f.StreamID, false, ":status", "200")
	}
	if err := withPeer(t, allow(3), accept, func(c *h2conn) error { return c.hold(3) }); err != nil || open.Load() != 3 {
		t.Errorf("%d open, %v, want 3", open.Load(), err)
	}
	if err := withPeer(t, allow(2), accept, func(c *h2conn) error { return c.hold(3) }); err == nil || !strings.Contains(err.Error(), "allows 2 streams") {
		t.Errorf("more than are allowed: %v", err)
	}
	refuse := func(fr *h2.Framer, f *h2.MetaHeadersFrame) {
		head(fr, f.StreamID, true, ":status", "200", "grpc-status", "14")
	}
	if err := withPeer(t, nil, refuse, func(c *h2conn) error { return c.hold(1) }); err == nil || !strings.Contains(err.Error(), "stream 1 was answered with") {
		t.Errorf("refused: %v", err)
	}
}

func TestNotHTTP2(t *testing.T) {
	_, err := dialPeer(t, func(conn net.Conn) {
		_, _ = io.ReadFull(conn, make([]byte, len(h2.ClientPreface)))
		_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
		conn.Close()
	})
	if err == nil || !strings.Contains(err.Error(), "settings: ") {
		t.Errorf("got %v, want an error about settings", err)
	}
}
