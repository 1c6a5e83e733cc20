package http2

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// raw writes a frame as it is.
func raw(t http2.FrameType, f http2.Flags, id uint32, payload ...byte) func(fr *http2.Framer) {
	return func(fr *http2.Framer) { _ = fr.WriteRawFrame(t, f, id, payload) }
}

// Errors of the connection, each with its code (RFC 9113).
func TestConnectionErrors(t *testing.T) {
	for _, tc := range []struct {
		name string
		code http2.ErrCode
		send func(fr *http2.Framer)
	}{
		{"DATA on stream 0", http2.ErrCodeProtocol, raw(http2.FrameData, 0, 0, 1)},
		{"DATA on an idle stream", http2.ErrCodeProtocol, raw(http2.FrameData, 0, 9, 1)},
		{"DATA on a server's stream", http2.ErrCodeProtocol, raw(http2.FrameData, 0, 2, 1)},
		{"DATA padded, empty", http2.ErrCodeFrameSize, raw(http2.FrameData, 8, 1)},
		{"DATA with too much padding", http2.ErrCodeProtocol, raw(http2.FrameData, 8, 1, 2, 0)},
		{"HEADERS on stream 0", http2.ErrCodeProtocol, raw(http2.FrameHeaders, 4, 0, 0x82)},
		{"HEADERS on a server's stream", http2.ErrCodeProtocol, raw(http2.FrameHeaders, 4, 2, 0x82)},
		{"HEADERS with too much padding", http2.ErrCodeProtocol, raw(http2.FrameHeaders, 12, 9, 9, 0x82)},
		{"HEADERS too short for a priority", http2.ErrCodeFrameSize, raw(http2.FrameHeaders, 0x24, 9, 0, 0)},
		{"HEADERS that do not decode", http2.ErrCodeCompression, raw(http2.FrameHeaders, 4, 9, 0xff, 0xff)},
		{"HEADERS, then another frame", http2.ErrCodeProtocol, func(fr *http2.Framer) {
			raw(http2.FrameHeaders, 0, 9, 0x82)(fr)
			_ = fr.WritePing(false, [8]byte{})
		}},
		{"HEADERS, then an unknown frame", http2.ErrCodeProtocol, func(fr *http2.Framer) {
			raw(http2.FrameHeaders, 0, 9, 0x82)(fr)
			raw(0x77, 0, 9)(fr)
		}},
		{"HEADERS, then CONTINUATION of another", http2.ErrCodeProtocol, func(fr *http2.Framer) {
			raw(http2.FrameHeaders, 0, 9, 0x82)(fr)
			raw(http2.FrameContinuation, 4, 11, 0x82)(fr)
		}},
		{"CONTINUATION of nothing", http2.ErrCodeProtocol, raw(http2.FrameContinuation, 4, 1, 0x82)},
		{"HEADERS on a lower stream", http2.ErrCodeProtocol, func(fr *http2.Framer) {
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, EndHeaders: true, BlockFragment: []byte{0x82}})
		}},
		{"PRIORITY on stream 0", http2.ErrCodeProtocol, raw(http2.FramePriority, 0, 0, 0, 0, 0, 1, 1)},
		{"RST_STREAM on stream 0", http2.ErrCodeProtocol, raw(http2.FrameRSTStream, 0, 0, 0, 0, 0, 0)},
		{"RST_STREAM on an idle stream", http2.ErrCodeProtocol, raw(http2.FrameRSTStream, 0, 9, 0, 0, 0, 0)},
		{"RST_STREAM of 3 bytes", http2.ErrCodeFrameSize, raw(http2.FrameRSTStream, 0, 1, 0, 0, 0)},
		{"SETTINGS on a stream", http2.ErrCodeProtocol, raw(http2.FrameSettings, 0, 1)},
		{"SETTINGS of 5 bytes", http2.ErrCodeFrameSize, raw(http2.FrameSettings, 0, 0, 0, 0, 0, 0, 0)},
		{"SETTINGS acknowledged with settings", http2.ErrCodeFrameSize, raw(http2.FrameSettings, 1, 0, 0, 0, 0, 0, 0, 0)},
		{"SETTINGS_ENABLE_PUSH of 2", http2.ErrCodeProtocol, raw(http2.FrameSettings, 0, 0, 0, 2, 0, 0, 0, 2)},
		{"SETTINGS_INITIAL_WINDOW_SIZE of 2^31", http2.ErrCodeFlowControl, raw(http2.FrameSettings, 0, 0, 0, 4, 0x80, 0, 0, 0)},
		{"SETTINGS_MAX_FRAME_SIZE of 16383", http2.ErrCodeProtocol, raw(http2.FrameSettings, 0, 0, 0, 5, 0, 0, 0x3f, 0xff)},
		{"SETTINGS_MAX_FRAME_SIZE of 2^24", http2.ErrCodeProtocol, raw(http2.FrameSettings, 0, 0, 0, 5, 1, 0, 0, 0)},
		{"SETTINGS_ENABLE_CONNECT_PROTOCOL of 2", http2.ErrCodeProtocol, raw(http2.FrameSettings, 0, 0, 0, 8, 0, 0, 0, 2)},
		{"PUSH_PROMISE", http2.ErrCodeProtocol, raw(http2.FramePushPromise, 4, 1, 0, 0, 0, 2, 0x82)},
		{"PING on a stream", http2.ErrCodeProtocol, raw(http2.FramePing, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0)},
		{"PING of 7 bytes", http2.ErrCodeFrameSize, raw(http2.FramePing, 0, 0, 0, 0, 0, 0, 0, 0, 0)},
		{"GOAWAY on a stream", http2.ErrCodeProtocol, raw(http2.FrameGoAway, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0)},
		{"GOAWAY of 7 bytes", http2.ErrCodeFrameSize, raw(http2.FrameGoAway, 0, 0, 0, 0, 0, 0, 0, 0, 0)},
		{"WINDOW_UPDATE of 3 bytes", http2.ErrCodeFrameSize, raw(http2.FrameWindowUpdate, 0, 0, 0, 0, 1)},
		{"WINDOW_UPDATE of 0", http2.ErrCodeProtocol, raw(http2.FrameWindowUpdate, 0, 0, 0, 0, 0, 0)},
		{"WINDOW_UPDATE on an idle stream", http2.ErrCodeProtocol, raw(http2.FrameWindowUpdate, 0, 9, 0, 0, 0, 1)},
		{"WINDOW_UPDATE above 2^31-1", http2.ErrCodeFlowControl, raw(http2.FrameWindowUpdate, 0, 0, 0x7f, 0xff, 0xff, 0xff)},
		{"a frame of 16385 bytes", http2.ErrCodeFrameSize, raw(http2.FrameData, 0, 1, make([]byte, 16385)...)},
		{"SETTINGS that bring a window above 2^31-1", http2.ErrCodeFlowControl, func(fr *http2.Framer) {
			_ = fr.WriteWindowUpdate(5, maxWindow-defaultWindow)
			_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: defaultWindow + 1})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ls := &logs{}
			withServer(t, Config{}, ls.accept, func(p *peer) {
				p.settle()
				p.headers(1, false, p.get())
				p.headers(5, false, p.get())
				if !p.send(tc.send) {
					synctest.Wait() // it may close before it has read all
				}
				p.wantGoAway(tc.code)
			})
			ls.check(t)
		})
	}
}

// The first frame of a peer is SETTINGS, behind the preface.
func TestStartOfConnection(t *testing.T) {
	withServer(t, Config{}, (&logs{}).accept, func(p *peer) {
		p.send(func(fr *http2.Framer) { _ = fr.WritePing(false, [8]byte{}) })
		p.wantGoAway(http2.ErrCodeProtocol)
	})
	withServer(t, Config{}, (&logs{}).accept, func(p *peer) {
		p.send(func(fr *http2.Framer) { _ = fr.WriteSettingsAck() })
		p.wantGoAway(http2.ErrCodeProtocol)
	})
	withClient(t, Config{}, nil, func(p *peer) {
		p.write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		f, _ := p.find(http2.FrameGoAway)
		if f.code == http2.ErrCodeNo {
			t.Errorf("an answer of HTTP/1.1 is taken: %v", f)
		}
	})
}

// Errors of one stream: it is reset with the code, its sink hears of it, and
// the connection goes on.
func TestStreamErrors(t *testing.T) {
	for _, tc := range []struct {
		name string
		code http2.ErrCode
		send func(p *peer)
	}{
		{"DATA behind the end", http2.ErrCodeStreamClosed, func(p *peer) {
			p.headers(3, true, p.get())
			p.send(raw(http2.FrameData, 0, 3, 1))
		}},
		{"HEADERS behind the end", http2.ErrCodeStreamClosed, func(p *peer) {
			p.headers(3, true, p.get())
			p.headers(3, true, p.block("a", "b"))
		}},
		{"WINDOW_UPDATE of 0", http2.ErrCodeProtocol, func(p *peer) {
			p.headers(3, true, p.get())
			p.send(raw(http2.FrameWindowUpdate, 0, 3, 0, 0, 0, 0))
		}},
		{"WINDOW_UPDATE above 2^31-1", http2.ErrCodeFlowControl, func(p *peer) {
			p.headers(3, true, p.get())
			p.send(raw(http2.FrameWindowUpdate, 0, 3, 0x7f, 0xff, 0xff, 0xff))
		}},
		{"more DATA than window", http2.ErrCodeFlowControl, func(p *peer) {
			p.headers(3, false, p.get())
			for range 5 {
				p.send(raw(http2.FrameData, 0, 3, make([]byte, 16384)...))
			}
		}},
		{"more DATA than content-length", http2.ErrCodeProtocol, func(p *peer) {
			p.headers(3, false, p.get("content-length", "1"))
			p.send(raw(http2.FrameData, 0, 3, 1, 2))
		}},
		{"less DATA than content-length", http2.ErrCodeProtocol, func(p *peer) {
			p.headers(3, false, p.get("content-length", "3"))
			p.send(raw(http2.FrameData, 1, 3, 1, 2))
		}},
		{"less DATA than content-length, and trailers", http2.ErrCodeProtocol, func(p *peer) {
			p.headers(3, false, p.get("content-length", "3"))
			p.headers(3, true, p.block("a", "b"))
		}},
		{"no DATA, but content-length", http2.ErrCodeProtocol, func(p *peer) {
			p.headers(3, true, p.get("content-length", "3"))
		}},
		{"trailers without the end", http2.ErrCodeProtocol, func(p *peer) {
			p.headers(3, false, p.get())
			p.headers(3, false, p.block("a", "b"))
		}},
		{"trailers with a pseudo-header field", http2.ErrCodeProtocol, func(p *peer) {
			p.headers(3, false, p.get())
			p.headers(3, true, p.block(":path", "/"))
		}},
		{"a stream that depends on itself", http2.ErrCodeProtocol, func(p *peer) {
			p.send(func(fr *http2.Framer) {
				_ = fr.WriteHeaders(http2.HeadersFrameParam{
					StreamID: 3, EndHeaders: true, BlockFragment: p.get(), Priority: http2.PriorityParam{StreamDep: 3},
				})
			})
		}},
		{"one stream too many", http2.ErrCodeRefusedStream, func(p *peer) {
			p.headers(3, false, p.get())
			p.headers(5, false, p.get())
			p.headers(7, false, p.get())
			p.wantReset(7, http2.ErrCodeRefusedStream)
			p.send(raw(http2.FrameWindowUpdate, 0, 3, 0, 0, 0, 0)) // make room again
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ls := &logs{}
			withServer(t, Config{MaxConcurrentStreams: 3}, ls.accept, func(p *peer) {
				p.settle()
				p.headers(1, false, p.get())
				tc.send(p)
				if tc.code != http2.ErrCodeRefusedStream {
					p.wantReset(3, tc.code)
				}
				// The rest goes on.
				p.headers(11, true, p.get())
				synctest.Wait()
				if last := ls.all[len(ls.all)-1]; last.s.ID() != 11 {
					t.Errorf("the connection does not go on: %v", p.all())
				}
			})
			ls.check(t)
		})
	}
}

// Malformed requests are reset and never told.
func TestMalformedRequests(t *testing.T) {
	ok := []string{":method", "GET", ":scheme", "http", ":authority", "a.b", ":path", "/"}
	with := func(change ...string) []string {
		out := append([]string(nil), ok...)
		for i := 0; i < len(change); i += 2 {
			for k := 0; k < len(out); k += 2 {
				if out[k] == change[i] {
					out[k+1] = change[i+1]
				}
			}
		}
		return out
	}
	without := func(name string) (out []string) {
		for k := 0; k < len(ok); k += 2 {
			if ok[k] != name {
				out = append(out, ok[k], ok[k+1])
			}
		}
		return out
	}
	and := func(f []string, more ...string) []string { return append(append([]string(nil), f...), more...) }
	connect := []string{":method", "CONNECT", ":authority", "a.b:1"}
	for name, fields := range map[string][]string{
		"no method":                without(":method"),
		"no scheme":                without(":scheme"),
		"no path":                  without(":path"),
		"no authority":             without(":authority"),
		"empty path":               with(":path", ""),
		"path without slash":       with(":path", "x"),
		"path of an authority":     with(":path", "http://a.b/"),
		"asterisk and GET":         with(":path", "*"),
		"fragment":                 with(":path", "/#x"),
		"space in the path":        with(":path", "/ x"),
		"percent in the path":      with(":path", "/%zz"),
		"backslash in the path":    with(":path", `/\`),
		"method of two words":      with(":method", "A B"),
		"empty method":             with(":method", ""),
		"scheme of two words":      with(":scheme", "a b"),
		"user in the authority":    with(":authority", "u@a.b"),
		"port in the authority":    with(":authority", "a.b:99999"),
		"status":                   and(ok[:6], ":status", "200", ":path", "/"),
		"unknown pseudo":           and(ok[:6], ":what", "x", ":path", "/"),
		"pseudo twice":             and(ok, ":path", "/"),
		"pseudo behind regular":    and(ok[:6], "a", "b", ":path", "/"),
		"upper case":               and(ok, "A", "b"),
		"empty name":               and(ok, "", "b"),
		"space in a name":          and(ok, "a b", "c"),
		"colon in a name":          and(ok, "a:", "c"),
		"LF in a value":            and(ok, "a", "b\nc"),
		"CR in a value":            and(ok, "a", "b\rc"),
		"NUL in a value":           and(ok, "a", "b\x00c"),
		"DEL in a value":           and(ok, "a", "b\x7fc"),
		"space before a value":     and(ok, "a", " b"),
		"tab behind a value":       and(ok, "a", "b\t"),
		"connection":               and(ok, "connection", "close"),
		"keep-alive":               and(ok, "keep-alive", "1"),
		"proxy-connection":         and(ok, "proxy-connection", "close"),
		"transfer-encoding":        and(ok, "transfer-encoding", "chunked"),
		"upgrade":                  and(ok, "upgrade", "h2c"),
		"te gzip":                  and(ok, "te", "gzip"),
		"te trailers and more":     and(ok, "te", "trailers, gzip"),
		"content-length twice":     and(ok, "content-length", "0", "content-length", "0"),
		"content-length signed":    and(ok, "content-length", "+0"),
		"content-length empty":     and(ok, "content-length", ""),
		"content-length huge":      and(ok, "content-length", "9999999999999999999999"),
		"content-length is a list": and(ok, "content-length", "0, 0"),
		"host differs":             and(ok, "host", "c.d"),
		"host twice":               and(ok, "host", "a.b", "host", "a.b"),
		"host is none":             and(without(":authority"), "host", "a b"),
		"CONNECT with path":        and(connect, ":path", "/"),
		"CONNECT with scheme":      and(connect, ":scheme", "http"),
		"CONNECT without port":     {":method", "CONNECT", ":authority", "a.b"},
		"CONNECT with host only":   {":method", "CONNECT", "host", "a.b:1"},
		"protocol without CONNECT": and(ok[:6], ":protocol", "websocket", ":path", "/"),
		"protocol without path":    and(connect, ":protocol", "websocket", ":scheme", "http"),
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			ls := &logs{}
			withServer(t, Config{ExtendedConnect: true}, ls.accept, func(p *peer) {
				p.settle()
				p.headers(1, true, p.block(fields...))
				p.wantReset(1, http2.ErrCodeProtocol)
				if len(ls.all) != 0 {
					t.Errorf("it was told: %+v", ls.all[0].head)
				}
			})
		})
	}
	for name, fields := range map[string][]string{
		"plain":              ok,
		"host and authority": and(ok, "host", "A.b"),
		"host alone":         and(without(":authority"), "host", "a.b"),
		"te trailers":        and(ok, "te", "trailers"),
		"OPTIONS":            with(":method", "OPTIONS", ":path", "*"),
		"CONNECT":            connect,
		"extended CONNECT":   {":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "a.b", ":path", "/x"},
		"no content":         and(ok, "content-length", "0"),
		"empty value":        and(ok, "a", ""),
		"IPv6":               with(":authority", "[::1]:80"),
		"another scheme":     with(":scheme", "coap+tcp"),
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			ls := &logs{}
			withServer(t, Config{ExtendedConnect: true}, ls.accept, func(p *peer) {
				p.settle()
				p.headers(1, true, p.block(fields...))
				if p.all(); len(ls.all) != 1 {
					t.Fatalf("not taken: %v", p.all())
				}
				h := ls.all[0].head
				if !bytes.EqualFold(h.Authority[:3], []byte("a.b")) && h.Authority[0] != '[' {
					t.Errorf("authority %q", h.Authority)
				}
				if _, ok := http1.Find(h.Headers, "host"); ok {
					t.Error("host is told twice")
				}
			})
		})
	}
}

// Extended CONNECT needs to be offered.
func TestExtendedConnectNotOffered(t *testing.T) {
	ls := &logs{}
	withServer(t, Config{}, ls.accept, func(p *peer) {
		p.settle()
		p.headers(1, false, p.block(":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "a.b", ":path", "/x"))
		p.wantReset(1, http2.ErrCodeProtocol)
	})
}
