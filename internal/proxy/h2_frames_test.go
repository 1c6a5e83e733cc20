package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// framed is one side of a connection of HTTP/2, frame by frame.
type framed struct {
	t  testing.TB
	c  net.Conn
	fr *xhttp2.Framer
	mu sync.Mutex // writes
}

func newFramed(t testing.TB, c net.Conn) *framed {
	f := &framed{t: t, c: c, fr: xhttp2.NewFramer(c, c)}
	f.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	t.Cleanup(func() { c.Close() })
	return f
}

// dialFramed is a caller that has said its preface and SETTINGS.
func dialFramed(t testing.TB, addr string) *framed {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	f := newFramed(t, c)
	if _, err := io.WriteString(c, xhttp2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f.write(func() error { return f.fr.WriteSettings() })
	return f
}

func (f *framed) write(how func() error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = how()
}

func (f *framed) headers(id uint32, end bool, pairs ...string) {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	enc.SetMaxDynamicTableSize(0)
	for i := 0; i < len(pairs); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	f.write(func() error {
		return f.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: id, BlockFragment: b.Bytes(), EndStream: end, EndHeaders: true})
	})
}

func (f *framed) get(id uint32, path string) {
	f.headers(id, true, ":method", "GET", ":scheme", "http", ":authority", "bb:8080", ":path", path)
}

// next gives the next frame that is no SETTINGS, PING or WINDOW_UPDATE, which
// are answered; nil at the connection's end.
func (f *framed) next() xhttp2.Frame {
	f.t.Helper()
	_ = f.c.SetReadDeadline(time.Now().Add(hangs))
	for {
		fr, err := f.fr.ReadFrame()
		if err != nil {
			return nil
		}
		switch fr := fr.(type) {
		case *xhttp2.SettingsFrame:
			if !fr.IsAck() {
				f.write(f.fr.WriteSettingsAck)
			}
		case *xhttp2.PingFrame:
			if !fr.IsAck() {
				f.write(func() error { return f.fr.WritePing(true, fr.Data) })
			}
		case *xhttp2.WindowUpdateFrame:
		default:
			return fr
		}
	}
}

// answer reads until the stream has ended and gives status and body.
func (f *framed) answer(id uint32) (status, body string) {
	f.t.Helper()
	for {
		switch fr := f.next().(type) {
		case nil:
			f.t.Fatalf("the connection ended before stream %d", id)
		case *xhttp2.MetaHeadersFrame:
			if fr.StreamID == id {
				if s := fr.PseudoValue("status"); s != "" {
					status = s
				}
				if fr.StreamEnded() {
					return status, body
				}
			}
		case *xhttp2.DataFrame:
			if fr.StreamID == id {
				body += string(fr.Data())
				if fr.StreamEnded() {
					return status, body
				}
			}
		case *xhttp2.RSTStreamFrame:
			if fr.StreamID == id {
				return "reset " + fr.ErrCode.String(), body
			}
		}
	}
}

// framedBackend calls serve for each connection, with its number from 1, once
// it has said its settings.
func framedBackend(t testing.TB, serve func(n int, f *framed), settings ...xhttp2.Setting) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 1; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_, _ = io.ReadFull(c, make([]byte, len(xhttp2.ClientPreface)))
				f := newFramed(t, c)
				f.write(func() error { return f.fr.WriteSettings(settings...) })
				serve(n, f)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

// An endpoint that goes away by GOAWAY, or refuses a stream, did not look at
// the request: nobody hears of it, be its method what it may.
func TestUnprocessedIsSentAgain(t *testing.T) {
	for _, how := range []string{"goaway", "refused"} {
		for _, version := range []int{1, 2} {
			t.Run(fmt.Sprint(how, " to a caller of HTTP/", version), func(t *testing.T) {
				addr := framedBackend(t, func(n int, f *framed) {
					for fr := f.next(); fr != nil; fr = f.next() {
						h, ok := fr.(*xhttp2.MetaHeadersFrame)
						switch {
						case !ok:
						case n == 1 && how == "goaway" && h.StreamID > 1:
							f.write(func() error { return f.fr.WriteGoAway(1, xhttp2.ErrCodeNo, nil) })
							return
						case n == 1 && how == "refused" && h.StreamID == 3:
							f.write(func() error { return f.fr.WriteRSTStream(h.StreamID, xhttp2.ErrCodeRefusedStream) })
						default:
							f.headers(h.StreamID, false, ":status", "200")
							f.write(func() error { return f.fr.WriteData(h.StreamID, true, []byte(h.PseudoValue("path"))) })
						}
					}
				})
				r := newRig(t, []string{addr}, func(_ *ServerConfig, uc *upstream.Config) { uc.Protocol = upstream.HTTP2 })
				hc := client(t)
				if version == 2 {
					hc = client2(t)
				}
				for _, path := range []string{"/1", "/2", "/3"} {
					resp, err := hc.Post(r.url(path), "text/plain", strings.NewReader("body"))
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || resp.StatusCode != 200 || string(body) != path {
						t.Errorf("%s: %d %q, %v", path, resp.StatusCode, body, err)
					}
				}
			})
		}
	}
}

// A draining server says so, ends what is under way in peace, and its
// connections with it.
func TestDrainHTTP2(t *testing.T) {
	inside, end := make(chan struct{}), make(chan struct{})
	addr := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		close(inside)
		<-end
		_, _ = io.WriteString(w, "whole")
	})
	r := newRig(t, []string{addr}, func(_ *ServerConfig, uc *upstream.Config) { uc.Protocol = upstream.HTTP1 })
	f := dialFramed(t, r.addr)
	f.get(1, "/")
	<-inside
	drained := make(chan error)
	go func() { drained <- r.server.Drain(t.Context()) }()
	for n := 0; n < 2; {
		switch fr := f.next().(type) {
		case nil:
			t.Fatal("the connection ended with a stream open")
		case *xhttp2.GoAwayFrame:
			n++
			if want := []uint32{1<<31 - 1, 1}[n-1]; fr.LastStreamID != want || fr.ErrCode != xhttp2.ErrCodeNo {
				t.Errorf("GOAWAY %d: last stream %d, %v, want %d", n, fr.LastStreamID, fr.ErrCode, want)
			}
		}
	}
	close(end)
	if status, body := f.answer(1); status != "200" || body != "whole" {
		t.Errorf("%s %q", status, body)
	}
	if fr := f.next(); fr != nil {
		t.Errorf("after the last stream: %v", fr)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// CONNECT opens a tunnel to a service, by either version.
func TestConnect(t *testing.T) {
	up := startUpstream(t, func(p *peer, _ int) {
		p.send("hello")
		_, _ = io.Copy(p.Conn, p.br)
	})
	r := newRig(t, []string{up.addr}, nil)
	t.Run("HTTP/1.1", func(t *testing.T) {
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "CONNECT bb:9000 HTTP/1.1\r\nHost: bb:9000\r\n\r\nearly")
		_ = c.(*net.TCPConn).CloseWrite()
		got, err := io.ReadAll(c)
		if want := "HTTP/1.1 200 OK\r\n\r\nhelloearly"; err != nil || string(got) != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	})
	t.Run("HTTP/2", func(t *testing.T) {
		f := dialFramed(t, r.addr)
		f.headers(1, false, ":method", "CONNECT", ":authority", "bb:9000")
		f.write(func() error { return f.fr.WriteData(1, true, []byte("early")) })
		if status, body := f.answer(1); status != "200" || body != "helloearly" {
			t.Errorf("%s %q", status, body)
		}
	})
}

// A caller that is silent on an idle connection is asked to go after the idle
// time, and one on whose stream nothing moves is answered.
func TestIdleHTTP2(t *testing.T) {
	addr := backend(t, func(_ http.ResponseWriter, q *http.Request) { <-q.Context().Done() })
	r := newRig(t, []string{addr}, func(sc *ServerConfig, uc *upstream.Config) {
		uc.Protocol = upstream.HTTP1
		sc.Timeouts.Idle, sc.Timeouts.Stream = 300*time.Millisecond, 300*time.Millisecond
	})
	f := dialFramed(t, r.addr)
	f.get(1, "/")
	if status, body := f.answer(1); status != "504" {
		t.Errorf("a stream on which nothing moves: %s %q", status, body)
	}
	for {
		fr := f.next()
		if fr == nil {
			break // the connection has ended
		}
		if g, ok := fr.(*xhttp2.GoAwayFrame); !ok || g.ErrCode != xhttp2.ErrCodeNo {
			t.Errorf("an idle connection: %v", fr)
		}
	}
}

// A gRPC call whose endpoint goes in the middle of its answer ends with a
// status, as a call of gRPC does.
func TestGRPCEndsWithStatus(t *testing.T) {
	for _, how := range []string{"connection", "stream"} {
		t.Run(how, func(t *testing.T) {
			addr := framedBackend(t, func(_ int, f *framed) {
				for fr := f.next(); fr != nil; fr = f.next() {
					h, ok := fr.(*xhttp2.MetaHeadersFrame)
					if !ok {
						continue
					}
					f.headers(h.StreamID, false, ":status", "200", "content-type", "application/grpc")
					f.write(func() error { return f.fr.WriteData(h.StreamID, false, make([]byte, 5)) })
					if how == "connection" {
						return
					}
					f.write(func() error { return f.fr.WriteRSTStream(h.StreamID, xhttp2.ErrCodeInternal) })
				}
			})
			r := newRig(t, []string{addr}, func(_ *ServerConfig, uc *upstream.Config) { uc.Protocol = upstream.HTTP2 })
			q, _ := http.NewRequest(http.MethodPost, r.url("/s/m"), nil)
			q.Header.Set("Content-Type", "application/grpc")
			resp, err := client2(t).Do(q)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || len(b) != 5 || resp.Trailer.Get("grpc-status") != "14" || resp.Trailer.Get("recloser-reason") == "" {
				t.Errorf("%d bytes, %v, trailers %v", len(b), err, resp.Trailer)
			}
		})
	}
}

// An endpoint that speaks HTTP/1.1 where HTTP/2 is declared is told apart from
// one that is not there.
func TestEndpointOfTheWrongVersion(t *testing.T) {
	up := startUpstream(t, func(p *peer, _ int) { p.send("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n") })
	r := newRig(t, []string{up.addr}, func(_ *ServerConfig, uc *upstream.Config) { uc.Protocol = upstream.HTTP2 })
	resp, err := client2(t).Get(r.url("/"))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if want := "no connection to the endpoint: it does not speak HTTP/2"; resp.StatusCode != 503 || string(body) != want {
		t.Errorf("%d %q, want %q", resp.StatusCode, body, want)
	}
	r.drain()
	if log := r.log.String(); !strings.Contains(log, "the peer speaks HTTP/1.x, not HTTP/2") {
		t.Errorf("logged %q", log)
	}
}
