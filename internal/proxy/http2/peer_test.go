package http2

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// peer is the other end of an engine's connection, written on the Framer. It
// lives in a synctest bubble: after wait, all that can happen has happened.
type peer struct {
	t    *testing.T
	c    *Conn
	nc   net.Conn
	fr   *http2.Framer
	buf  bytes.Buffer
	enc  *hpack.Encoder
	end  chan struct{} // Serve has returned
	stop chan struct{}

	mu     sync.Mutex
	frames []seen
	dead   bool // the engine closed the transport
	paused chan struct{}
}

// seen is a frame that the engine sent.
type seen struct {
	t      http2.FrameType
	f      http2.Flags
	id     uint32
	code   http2.ErrCode
	last   uint32
	n      int // length, or increment of a WINDOW_UPDATE
	debug  string
	fields []string
	data   []byte
}

func (s seen) String() string {
	switch s.t {
	case http2.FrameGoAway:
		return fmt.Sprintf("GOAWAY last=%d %v %q", s.last, s.code, s.debug)
	case http2.FrameRSTStream:
		return fmt.Sprintf("RST_STREAM %d %v", s.id, s.code)
	case http2.FrameHeaders:
		return fmt.Sprintf("HEADERS %d %v %v", s.id, s.fields, s.f)
	}
	return fmt.Sprintf("%v %d n=%d %v", s.t, s.id, s.n, s.f)
}

// withServer runs f with a client's end of a server's connection.
func withServer(t *testing.T, cfg Config, accept func(*Stream, *Head, bool) Sink, f func(p *peer)) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t, &cfg, func(nc net.Conn) *Conn { return NewServer(nc, nil, &cfg, accept) })
		p.write([]byte(http2.ClientPreface))
		p.run(f)
	})
}

// withClient runs f with a server's end of a client's connection.
func withClient(t *testing.T, cfg Config, onRoom func(*Conn), f func(p *peer)) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t, &cfg, func(nc net.Conn) *Conn { return NewClient(nc, &cfg, onRoom) })
		p.run(f)
	})
}

func newPeer(t *testing.T, cfg *Config, dial func(net.Conn) *Conn) *peer {
	start := time.Now()
	cfg.Clock = func() time.Duration { return time.Since(start) }
	ours, theirs := net.Pipe()
	p := &peer{t: t, nc: theirs, end: make(chan struct{}), stop: make(chan struct{})}
	p.fr = http2.NewFramer(&p.buf, nil)
	p.fr.AllowIllegalWrites = true
	p.enc = hpack.NewEncoder(&p.buf)
	p.c = dial(ours)
	go func() { _ = p.c.Serve(); close(p.end) }()
	go p.read()
	go func() {
		for {
			select {
			case <-p.stop:
				return
			case <-time.After(100 * time.Millisecond):
				p.c.Sweep(time.Since(start))
			}
		}
	}()
	return p
}

func (p *peer) run(f func(p *peer)) {
	defer func() {
		p.nc.Close()
		<-p.end
		close(p.stop)
		synctest.Wait()
		p.checkEmpty()
	}()
	f(p)
}

// checkEmpty tells what an ended connection has left behind.
func (p *peer) checkEmpty() {
	if p.c.out.bytes != 0 || len(p.c.events) != 0 || len(p.c.streams) != 0 || p.c.helpers != 0 {
		p.t.Errorf("left behind: %d bytes, %d events, %d streams, %d goroutines",
			p.c.out.bytes, len(p.c.events), len(p.c.streams), p.c.helpers)
	}
}

// read collects what the engine sends, unless paused.
func (p *peer) read() {
	if p.c.server == false {
		b := make([]byte, len(http2.ClientPreface))
		for n := 0; n < len(b); {
			m, err := p.nc.Read(b[n:])
			if err != nil {
				return
			}
			n += m
		}
	}
	fr := http2.NewFramer(nil, p.nc)
	fr.SetMaxReadFrameSize(1 << 20)
	dec := hpack.NewDecoder(4096, nil)
	var block []byte
	for {
		p.mu.Lock()
		pause := p.paused
		p.mu.Unlock()
		if pause != nil {
			<-pause
		}
		f, err := fr.ReadFrame()
		p.mu.Lock()
		if err != nil {
			p.dead = true
			p.mu.Unlock()
			return
		}
		h := f.Header()
		s := seen{t: h.Type, f: h.Flags, id: h.StreamID, n: int(h.Length)}
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			s.code, s.last, s.debug = f.ErrCode, f.LastStreamID, string(f.DebugData())
		case *http2.RSTStreamFrame:
			s.code = f.ErrCode
		case *http2.WindowUpdateFrame:
			s.n = int(f.Increment)
		case *http2.DataFrame:
			s.data = bytes.Clone(f.Data())
		case *http2.HeadersFrame:
			block = append(block[:0], f.HeaderBlockFragment()...)
			if f.HeadersEnded() {
				s.fields = decodeAll(p.t, dec, block)
			}
		case *http2.ContinuationFrame:
			block = append(block, f.HeaderBlockFragment()...)
			if f.HeadersEnded() {
				s.fields = decodeAll(p.t, dec, block)
			}
		}
		p.frames = append(p.frames, s)
		p.mu.Unlock()
	}
}

func decodeAll(t *testing.T, d *hpack.Decoder, b []byte) (out []string) {
	fs, err := d.DecodeFull(b)
	if err != nil {
		t.Error(err)
	}
	for _, f := range fs {
		out = append(out, f.Name+"="+f.Value)
	}
	return out
}

// pass lets time pass in a bubble.
func pass(d time.Duration) { <-time.After(d) }

// pause stops reading until the returned func is called.
func (p *peer) pause() (resume func()) {
	ch := make(chan struct{})
	p.mu.Lock()
	p.paused = ch
	p.mu.Unlock()
	return func() {
		p.mu.Lock()
		p.paused = nil
		p.mu.Unlock()
		close(ch)
	}
}

// write writes bytes; false when the engine takes no more.
func (p *peer) write(b []byte) bool {
	_, err := p.nc.Write(b)
	return err == nil
}

// send writes the frames that f makes; false when the engine takes no more.
func (p *peer) send(f func(fr *http2.Framer)) bool {
	p.buf.Reset()
	f(p.fr)
	return p.write(p.buf.Bytes())
}

// settle exchanges SETTINGS and waits.
func (p *peer) settle(s ...http2.Setting) {
	p.send(func(fr *http2.Framer) {
		_ = fr.WriteSettings(s...)
		_ = fr.WriteSettingsAck()
	})
	synctest.Wait()
}

// block encodes fields given as name, value, name, value.
func (p *peer) block(fields ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	e.SetMaxDynamicTableSizeLimit(0)
	for i := 0; i < len(fields); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return b.Bytes()
}

// get is a request without a body; extra fields follow.
func (p *peer) get(extra ...string) []byte {
	return p.block(append([]string{":method", "GET", ":scheme", "http", ":authority", "a.b:80", ":path", "/"}, extra...)...)
}

func (p *peer) headers(id uint32, end bool, block []byte) bool {
	return p.send(func(fr *http2.Framer) {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: end, EndHeaders: true, BlockFragment: block})
	})
}

// all waits and gives the frames so far.
func (p *peer) all() []seen {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.frames)
}

// find gives the last frame of a type.
func (p *peer) find(t http2.FrameType) (seen, bool) {
	for _, f := range slices.Backward(p.all()) {
		if f.t == t {
			return f, true
		}
	}
	return seen{}, false
}

// wantGoAway waits for GOAWAY with this code and for the end of Serve.
func (p *peer) wantGoAway(code http2.ErrCode) {
	p.t.Helper()
	f, ok := p.find(http2.FrameGoAway)
	if !ok || f.code != code {
		p.t.Errorf("want GOAWAY %v, got %v", code, f)
	}
	p.nc.Close()
	<-p.end
}

// wantReset waits for RST_STREAM with this code, on a connection that lives.
func (p *peer) wantReset(id uint32, code http2.ErrCode) {
	p.t.Helper()
	for _, f := range p.all() {
		if f.t == http2.FrameRSTStream && f.id == id {
			if f.code != code {
				p.t.Errorf("want RST_STREAM %v, got %v", code, f)
			}
			return
		}
	}
	p.t.Errorf("no RST_STREAM for %d in %v", id, p.all())
}

// logSink takes down what it is told.
type logSink struct {
	mu     sync.Mutex
	s      *Stream
	head   *Head
	heads  []*Head
	events []string
	body   []byte
	sent   int
	closed int
	err    error
	eat    bool              // gives window back at once
	hook   func(what string) // called within each event
}

func (l *logSink) note(s *Stream, what string) {
	l.mu.Lock()
	l.s = s
	if l.closed > 0 {
		what += " AFTER CLOSED"
	}
	l.events = append(l.events, what)
	l.mu.Unlock()
	if l.hook != nil {
		l.hook(what)
	}
}

func (l *logSink) Head(s *Stream, h *Head, end bool) {
	l.heads = append(l.heads, h)
	l.note(s, fmt.Sprintf("head %d %v", h.Status, end))
}

func (l *logSink) Data(s *Stream, b []byte, end bool) {
	l.body = append(l.body, b...)
	if l.eat {
		s.Consumed(len(b))
	}
	l.note(s, fmt.Sprintf("data %d %v", len(b), end))
}

func (l *logSink) Trailers(s *Stream, fields []http1.Header) {
	l.note(s, fmt.Sprintf("trailers %d", len(fields)))
}

func (l *logSink) Sent(s *Stream, n int) {
	l.mu.Lock()
	l.sent += n
	l.mu.Unlock()
}

func (l *logSink) Closed(s *Stream, err error) {
	l.note(s, fmt.Sprintf("closed %v", err))
	l.mu.Lock()
	l.closed++
	l.err = err
	l.mu.Unlock()
}

// logs makes a logSink for each stream.
type logs struct {
	mu  sync.Mutex
	all []*logSink
	eat bool
	on  func(s *Stream, h *Head, end bool)
}

func (ls *logs) accept(s *Stream, h *Head, end bool) Sink {
	l := &logSink{s: s, head: h, eat: ls.eat}
	l.events = append(l.events, fmt.Sprintf("request %s %v", h.Path, end))
	ls.mu.Lock()
	ls.all = append(ls.all, l)
	ls.mu.Unlock()
	if ls.on != nil {
		ls.on(s, h, end)
	}
	return l
}

// check tells whether each sink was closed exactly once, and last.
func (ls *logs) check(t *testing.T) {
	t.Helper()
	for _, l := range ls.all {
		if l.closed != 1 {
			t.Errorf("stream %d: closed %d times: %q", l.s.ID(), l.closed, l.events)
		}
	}
}
