package http2

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// h2c is HTTP/2 without TLS, and nothing else.
func h2c() *http.Protocols {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	return &p
}

// otherClient is net/http's client, on a connection of its own.
func otherClient() *http.Client {
	return &http.Client{Transport: &http.Transport{Protocols: h2c()}}
}

// The client of net/http gets back what it sends.
func TestServerAgainstOtherClient(t *testing.T) {
	for _, cfg := range []*Config{nil, {StreamWindow: 1}, {StreamWindow: 777, MaxFrameSize: 1 << 20, MaxBuffered: 1000}} {
		l := listen(t)
		serveOn(t, l, cfg, startEcho)
		hc := otherClient()
		for _, n := range []int{0, 1, 100, 16384, 16385, 65535, 65536, 300000} {
			if cfg != nil && cfg.StreamWindow == 1 && n > 1000 {
				continue
			}
			body := bytes.Repeat([]byte("x"), n)
			resp, err := hc.Post("http://"+l.Addr().String()+"/", "text/plain", bytes.NewReader(body))
			if err != nil {
				t.Fatal(n, err)
			}
			got, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(n, err)
			}
			if n == 0 {
				body = []byte("hello")
			}
			if !bytes.Equal(got, body) {
				t.Errorf("%d bytes: got %d", n, len(got))
			}
			resp.Body.Close()
		}
		hc.CloseIdleConnections()
	}
}

// otherServer serves connections of a listener with net/http's server.
func otherServer(t testing.TB, l net.Listener, cfg http.HTTP2Config, h http.Handler) {
	srv := &http.Server{Handler: h, Protocols: h2c(), HTTP2: &cfg}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(l) })
	t.Cleanup(func() {
		_ = srv.Close()
		wg.Wait()
	})
}

// far is what net/http's server does for us, by path.
func far(w http.ResponseWriter, r *http.Request) {
	switch kind, arg, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/"); kind {
	case "echo":
		w.Header().Set("Trailer", "X-Sum")
		_ = http.NewResponseController(w).Flush()
		h := sha256.New()
		b := make([]byte, 5000)
		for {
			n, err := r.Body.Read(b)
			h.Write(b[:n])
			_, _ = w.Write(b[:n])
			if err != nil {
				break
			}
		}
		w.Header().Set("X-Sum", fmt.Sprintf("%x", h.Sum(nil)))
	case "size":
		n, _ := strconv.Atoi(arg)
		w.Header().Set("Content-Length", arg)
		_, _ = w.Write(bytes.Repeat([]byte("s"), n))
	case "early":
		w.Header().Set("Link", "</a>")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusNoContent)
	case "abort":
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case "hang":
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	case "ignore": // answers before it has the body, and wants none of it
		w.WriteHeader(http.StatusTeapot)
	}
}

// relay joins a server's streams to those of a client's connection, as a proxy
// does: without room above, they wait.
type relay struct {
	up   *Conn
	mu   sync.Mutex
	wait []*leg
}

// leg is one exchange through the relay. It is the sink of the stream from
// below; its other half is that of the stream above.
type leg struct {
	mu       sync.Mutex
	fields   []http1.Header
	end      bool
	down     *Stream
	up       *Stream
	early    []byte // came before up was there
	earlyEnd bool
	trailers []http1.Header
	gone     bool
}

type upperLeg struct{ *leg }

func (r *relay) accept(s *Stream, h *Head, end bool) Sink {
	g := &leg{down: s, end: end}
	g.fields = append([]http1.Header{
		{Name: []byte(":method"), Value: h.Method},
		{Name: []byte(":scheme"), Value: h.Scheme},
		{Name: []byte(":authority"), Value: h.Authority},
		{Name: []byte(":path"), Value: h.Path},
	}, h.Headers...)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.wait) > 0 || !g.open(r.up) {
		r.wait = append(r.wait, g)
		return g
	}
	s.Conn().FlushAfter(r.up)
	return g
}

// room opens what waits.
func (r *relay) room(up *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.wait) > 0 && r.wait[0].open(up) {
		r.wait = r.wait[1:]
	}
	up.Flush()
}

// open tells whether there was room.
func (g *leg) open(up *Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone {
		return true
	}
	s, err := up.Open(g.fields, g.end, upperLeg{g})
	if err != nil {
		return false
	}
	g.up = s
	if len(g.early) > 0 || g.earlyEnd {
		g.down.Consumed(s.SendData(g.early, g.earlyEnd))
		up.FlushAfter(g.down.Conn())
	}
	if g.trailers != nil {
		s.SendHead(g.trailers, true)
	}
	return true
}

func (g *leg) upper() *Stream {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.up
}

func (g *leg) Head(*Stream, *Head, bool) {}

func (g *leg) Data(s *Stream, b []byte, end bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.up == nil {
		g.early, g.earlyEnd = append(g.early, b...), end
		return
	}
	s.Consumed(g.up.SendData(b, end))
	s.Conn().FlushAfter(g.up.Conn())
}

func (g *leg) Trailers(s *Stream, fields []http1.Header) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.up == nil {
		g.trailers = fields
		return
	}
	g.up.SendHead(fields, true)
	s.Conn().FlushAfter(g.up.Conn())
}

func (g *leg) Sent(s *Stream, n int) {
	if up := g.upper(); up != nil {
		up.Consumed(n)
		s.Conn().FlushAfter(up.Conn())
	}
}

func (g *leg) Closed(s *Stream, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gone = true
	if g.up != nil && err != nil {
		g.up.Reset(http2.ErrCodeCancel)
		s.Conn().FlushAfter(g.up.Conn())
	}
}

func (u upperLeg) Head(s *Stream, h *Head, end bool) {
	fields := []http1.Header{field(":status", strconv.Itoa(h.Status))}
	u.down.SendHead(append(fields, h.Headers...), end)
	s.Conn().FlushAfter(u.down.Conn())
}

func (u upperLeg) Data(s *Stream, b []byte, end bool) {
	s.Consumed(u.down.SendData(b, end))
	s.Conn().FlushAfter(u.down.Conn())
}

func (u upperLeg) Trailers(s *Stream, fields []http1.Header) {
	u.down.SendHead(fields, true)
	s.Conn().FlushAfter(u.down.Conn())
}

func (u upperLeg) Sent(s *Stream, n int) {
	u.down.Consumed(n)
	s.Conn().FlushAfter(u.down.Conn())
}

func (u upperLeg) Closed(s *Stream, err error) {
	if e, ok := err.(*StreamError); ok { //nolint:errorlint // the type itself
		code := e.Code
		if code != http2.ErrCodeNo {
			code = http2.ErrCodeInternal
		}
		u.down.Reset(code)
		s.Conn().FlushAfter(u.down.Conn())
	}
}

// startRelay gives the address of a relay before net/http's server.
func startRelay(t testing.TB, srv http.HTTP2Config, cfg *Config) string {
	above := listen(t)
	otherServer(t, above, srv, http.HandlerFunc(far))
	nc, err := net.Dial("tcp", above.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{}
	settled := make(chan struct{})
	up := NewClient(nc, cfg, func(c *Conn) {
		if r.up == nil && c.PeerSettled() {
			r.up = c
			close(settled)
		}
		r.room(c)
	})
	var wg sync.WaitGroup
	wg.Go(func() { _ = up.Serve() })
	<-settled // that server holds us to its window from the start
	t.Cleanup(func() {
		up.Close(http2.ErrCodeNo, "")
		wg.Wait()
		if n := up.Streams(); n != 0 {
			t.Errorf("%d streams left above", n)
		}
	})
	below := listen(t)
	serveOn(t, below, cfg, r.accept)
	return "http://" + below.Addr().String()
}

// Exchanges of all kinds, many at a time, pass two connections of ours between
// net/http's client and server.
func TestRelayBetweenOthers(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg Config
		srv http.HTTP2Config
		max int
	}{
		"usual":         {Config{}, http.HTTP2Config{MaxConcurrentStreams: 1000}, 100000},
		"tiny windows":  {Config{StreamWindow: 500}, http.HTTP2Config{MaxConcurrentStreams: 1000, MaxReceiveBufferPerStream: 1000}, 20000},
		"small buffers": {Config{MaxBuffered: 2000, MaxFrameSize: 1 << 17}, http.HTTP2Config{MaxConcurrentStreams: 1000, MaxReadFrameSize: 1 << 18}, 100000},
	} {
		t.Run(name, func(t *testing.T) {
			base := startRelay(t, tc.srv, &tc.cfg)
			var wg sync.WaitGroup
			for i := range 4 {
				hc := otherClient()
				for k := range 8 {
					wg.Go(func() {
						for round := range 4 {
							exchange(t, hc, base, (i*8+k+round)%8, tc.max, round)
						}
					})
				}
				t.Cleanup(hc.CloseIdleConnections)
			}
			wg.Wait()
		})
	}
}

// exchange is one exchange of some kind.
func exchange(t *testing.T, hc *http.Client, base string, kind, size, round int) {
	body := bytes.Repeat([]byte("0123456789"), size/10/(round+1)+round)
	switch kind {
	case 0, 1:
		var r io.Reader = struct{ io.Reader }{bytes.NewReader(body)} // of unknown length
		if kind == 1 {
			r = iotest.HalfReader(r)
		}
		resp, err := hc.Post(base+"/echo", "text/plain", r)
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(iotest.HalfReader(resp.Body))
		want := fmt.Sprintf("%x", sha256.Sum256(body))
		if err != nil || !bytes.Equal(got, body) || resp.Trailer.Get("X-Sum") != want {
			t.Errorf("echo: %d of %d bytes, %v, trailers %v", len(got), len(body), err, resp.Trailer)
		}
	case 2, 3:
		resp, err := hc.Get(base + "/size/" + strconv.Itoa(len(body)))
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		if kind == 3 {
			_, _ = io.ReadFull(resp.Body, make([]byte, 5)) // and enough of it
			return
		}
		if got, err := io.ReadAll(resp.Body); err != nil || len(got) != len(body) {
			t.Errorf("size: %d of %d bytes, %v", len(got), len(body), err)
		}
	case 4:
		early := 0
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, _ textproto.MIMEHeader) error { early = code; return nil },
		})
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, base+"/early", nil)
		resp, err := hc.Do(req)
		if err != nil || early != 103 || resp.StatusCode != 204 {
			t.Errorf("early: %v, %d", err, early)
		}
	case 5:
		resp, err := hc.Get(base + "/abort")
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		if err == nil {
			t.Error("abort: no error")
		}
	case 6:
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, base+"/hang", bytes.NewReader(body))
		resp, err := hc.Do(req)
		cancel()
		if err != nil {
			t.Error("hang:", err)
			return
		}
		resp.Body.Close()
	case 7:
		resp, err := hc.Post(base+"/ignore", "text/plain", bytes.NewReader(body))
		if err != nil {
			t.Error("ignore:", err)
			return
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusTeapot {
			t.Error("ignore:", resp.Status)
		}
	}
}

// A reader that does not read holds back its own stream alone: others pass, and
// what is kept for it is bounded by the windows.
func TestSlowReaderHoldsBackItself(t *testing.T) {
	base := startRelay(t, http.HTTP2Config{}, &Config{})
	hc := otherClient()
	defer hc.CloseIdleConnections()
	resp, err := hc.Get(base + "/size/50000000")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var passed atomic.Int64
	for range 50 {
		exchange(t, hc, base, 2, 200000, 0)
		passed.Add(1)
	}
	if n, err := io.CopyN(io.Discard, resp.Body, 50000000); err != nil {
		t.Error(n, err)
	}
}
