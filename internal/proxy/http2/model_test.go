package http2

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// script is a transport whose input is given, in pieces, and whose output is
// kept. It ends with the input.
type script struct {
	net.Conn
	c     *Conn
	in    []byte
	piece int
	mu    sync.Mutex
	out   bytes.Buffer
}

func (s *script) Read(b []byte) (int, error) {
	if len(s.in) == 0 {
		s.c.mu.Lock() // what was queued is written first
		for s.c.writing {
			s.c.cond.Wait()
		}
		s.c.mu.Unlock()
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), s.piece)], s.in)
	s.in = s.in[n:]
	return n, nil
}

func (s *script) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(b)
}
func (s *script) Close() error                     { return nil }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// state is what the model knows of a stream (RFC 9113 section 5.1).
type state struct {
	open      bool
	how       closedHow
	localEnd  bool
	remoteEnd bool
	gotHead   bool
	window    int
	body      int
	events    []string
}

// model says what a sequence of frames must lead to.
type model struct {
	server  bool
	max     int
	streams map[uint32]*state
	highest uint32 // that was used
	resets  map[uint32]http2.ErrCode
	code    http2.ErrCode // of the connection's error
	failed  bool
}

func (m *model) fail(code http2.ErrCode) { m.failed, m.code = true, code }

func (m *model) idle(id uint32) bool { return id%2 == 0 || id > m.highest }

func (m *model) at(id uint32) *state {
	s := m.streams[id]
	if s == nil {
		s = &state{}
		m.streams[id] = s
	}
	return s
}

// reset is an error of one stream.
func (m *model) reset(id uint32, code http2.ErrCode) {
	s := m.at(id)
	if s.open {
		s.open = false
		s.events = append(s.events, fmt.Sprintf("closed we %v", code))
	}
	s.how = closedByUs
	m.resets[id] = code
}

func (m *model) count() (n int) {
	for _, s := range m.streams {
		if s.open {
			n++
		}
	}
	return n
}

func (m *model) remoteEnded(s *state) {
	s.remoteEnd = true
	if s.localEnd {
		s.open, s.how = false, closedEnded
		s.events = append(s.events, "closed well")
	}
}

func (m *model) data(id uint32, n int, end bool) {
	s := m.at(id)
	switch {
	case id == 0 || m.idle(id):
		m.fail(http2.ErrCodeProtocol)
	case !s.open && s.how == closedByUs:
	case !s.open && s.how == closedEnded:
		m.fail(http2.ErrCodeStreamClosed)
	case !s.open, s.remoteEnd:
		m.reset(id, http2.ErrCodeStreamClosed)
	case !s.gotHead:
		m.reset(id, http2.ErrCodeProtocol)
	case n > s.window:
		m.reset(id, http2.ErrCodeFlowControl)
	default:
		s.window -= n
		s.body += n
		if end {
			s.events = append(s.events, "end")
			m.remoteEnded(s)
		}
	}
}

// headers is a block that is a head, trailers, or malformed (as either).
func (m *model) headers(id uint32, kind int, end bool) {
	if id%2 == 0 {
		m.fail(http2.ErrCodeProtocol)
		return
	}
	s := m.at(id)
	switch {
	case m.server && id > m.highest:
		m.highest = id
		switch {
		case m.count() >= m.max:
			m.reset(id, http2.ErrCodeRefusedStream)
		case kind != 0 && kind != 1:
			m.reset(id, http2.ErrCodeProtocol)
		default:
			*s = state{open: true, gotHead: true, window: defaultWindow, localEnd: kind == 1}
			s.events = append(s.events, "head")
			if end {
				m.remoteEnded(s)
			}
		}
	case !m.server && m.idle(id):
		m.fail(http2.ErrCodeProtocol)
	case !s.open && s.how == closedByUs:
	case !s.open && s.how == closedUnknown:
		m.fail(http2.ErrCodeProtocol)
	case !s.open:
		m.fail(http2.ErrCodeStreamClosed)
	case s.remoteEnd:
		m.reset(id, http2.ErrCodeStreamClosed)
	case !s.gotHead:
		m.response(id, s, kind, end)
	case !end, kind != 2:
		m.reset(id, http2.ErrCodeProtocol)
	default:
		s.events = append(s.events, "trailers")
		m.remoteEnded(s)
	}
}

func (m *model) response(id uint32, s *state, kind int, end bool) {
	switch {
	case kind == 0:
		s.gotHead = true
		s.events = append(s.events, "head")
		if end {
			m.remoteEnded(s)
		}
	case kind == 1 && !end: // interim
		s.events = append(s.events, "head")
	default:
		m.reset(id, http2.ErrCodeProtocol)
	}
}

func (m *model) rst(id uint32) {
	s := m.at(id)
	switch {
	case id == 0 || m.idle(id):
		m.fail(http2.ErrCodeProtocol)
	case s.open:
		s.open, s.how = false, closedByPeer
		s.events = append(s.events, "closed peer CANCEL")
	}
}

func (m *model) windowUpdate(id, n uint32) {
	s := m.at(id)
	switch {
	case id == 0 && n == 0:
		m.fail(http2.ErrCodeProtocol)
	case id == 0 && n > 1000:
		m.fail(http2.ErrCodeFlowControl)
	case id == 0:
	case m.idle(id):
		m.fail(http2.ErrCodeProtocol)
	case s.open && n == 0:
		m.reset(id, http2.ErrCodeProtocol)
	case s.open && n > 1000:
		m.reset(id, http2.ErrCodeFlowControl)
	}
}

// modelSink takes down events as the model does.
type modelSink struct {
	events []string
	body   int
}

func (k *modelSink) Head(_ *Stream, _ *Head, end bool) {
	k.events = append(k.events, "head")
}

func (k *modelSink) Data(_ *Stream, b []byte, end bool) {
	k.body += len(b)
	if end {
		k.events = append(k.events, "end")
	}
}

func (k *modelSink) Trailers(*Stream, []http1.Header) { k.events = append(k.events, "trailers") }
func (k *modelSink) Sent(*Stream, int)                {}

func (k *modelSink) Closed(_ *Stream, err error) {
	what := "closed well"
	if e, ok := err.(*StreamError); ok { //nolint:errorlint // the type itself
		who := "we"
		if e.Remote {
			who = "peer"
		}
		what = fmt.Sprintf("closed %s %v", who, e.Code)
		if e.Conn {
			what = "lost"
		}
	}
	k.events = append(k.events, what)
}

// modelIDs are the streams that the sequences are about.
var modelIDs = []uint32{1, 3, 5, 7, 9, 11, 0, 2}

// play feeds the frames that ops stand for to an engine and to the model, and
// compares.
func play(t *testing.T, server bool, ops []byte) {
	sinks := map[uint32]*modelSink{}
	tr := &script{piece: 1 << 20}
	if len(ops) > 0 {
		tr.piece = 1 + int(ops[0])*3
	}
	cfg := &Config{MaxConcurrentStreams: 3, MaxResets: 1 << 30, MaxSettings: 1 << 30, MaxIdleFrames: 1 << 30, MaxControlFrames: 1 << 30}
	m := &model{server: server, max: 3, streams: map[uint32]*state{}, resets: map[uint32]http2.ErrCode{}}
	var c *Conn
	if server {
		c = NewServer(tr, nil, cfg, func(s *Stream, h *Head, end bool) Sink {
			k := &modelSink{events: []string{"head"}}
			sinks[s.ID()] = k
			if string(h.Path) == "/now" {
				s.SendHead(status200, true)
			}
			return k
		})
	} else {
		c = NewClient(tr, cfg, nil)
		for range 4 {
			k := &modelSink{}
			s, _ := c.Open(getFields, len(sinks) != 3, k)
			sinks[s.ID()] = k
			m.highest = s.ID()
			*m.at(s.ID()) = state{open: true, window: defaultWindow, localEnd: len(sinks) != 4}
		}
	}
	tr.c = c
	tr.in = m.frames(server, ops)
	_ = c.Serve()
	m.compare(t, c, tr, sinks)
}

// frames makes the frames of ops, as long as the model knows of no error.
func (m *model) frames(server bool, ops []byte) []byte {
	var b, hb bytes.Buffer
	fr := http2.NewFramer(&b, nil)
	fr.AllowIllegalWrites = true
	enc := hpack.NewEncoder(&hb)
	if server {
		b.WriteString(http2.ClientPreface)
	}
	_ = fr.WriteSettings()
	block := func(kind int) []byte {
		hb.Reset()
		f := [][2]string{{"x-trailer", "1"}}
		switch {
		case kind == 3:
			f = [][2]string{{"Upper", "case"}}
		case kind < 2 && server:
			f = [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", []string{"/", "/now"}[kind]}}
		case kind < 2:
			f = [][2]string{{":status", []string{"200", "103"}[kind]}}
		}
		for _, kv := range f {
			_ = enc.WriteField(hpack.HeaderField{Name: kv[0], Value: kv[1]})
		}
		return hb.Bytes()
	}
	for i := 1; i+1 < len(ops) && !m.failed; i += 2 {
		op, arg := ops[i], ops[i+1]
		id := modelIDs[arg%8]
		end := arg&0x80 != 0
		switch op % 12 {
		case 0, 1, 2:
			kind := int(op/12) % 4
			bl := block(kind)
			cut := len(bl)
			if arg&0x40 != 0 {
				cut = 1
			}
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: end, EndHeaders: cut == len(bl), BlockFragment: bl[:cut]})
			if cut < len(bl) {
				_ = fr.WriteContinuation(id, true, bl[cut:])
			}
			m.headers(id, kind, end)
		case 3, 4:
			n := int(op) / 12
			_ = fr.WriteData(id, end, make([]byte, n))
			m.data(id, n, end)
		case 5:
			_ = fr.WriteData(id, end, make([]byte, 16384))
			m.data(id, 16384, end)
		case 6:
			_ = fr.WriteRSTStream(id, http2.ErrCodeCancel)
			m.rst(id)
		case 7:
			n := []uint32{0, 1, 1000, maxWindow}[op/12%4]
			_ = fr.WriteWindowUpdate(id, n)
			m.windowUpdate(id, n)
		case 8:
			_ = fr.WritePing(end, [8]byte{1})
		case 9:
			_ = fr.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: uint32(arg) * 20})
		case 10:
			_ = fr.WriteRawFrame(0x42, http2.Flags(op), id, []byte{arg})
		case 11:
			if id != 0 {
				_ = fr.WritePriority(id, http2.PriorityParam{StreamDep: 13})
			}
		}
	}
	return b.Bytes()
}

func (m *model) compare(t *testing.T, c *Conn, tr *script, sinks map[uint32]*modelSink) {
	for id, s := range m.streams {
		if s.open {
			s.events = append(s.events, "lost")
		}
		k := sinks[id]
		if k == nil {
			k = &modelSink{}
		}
		if got, want := strings.Join(k.events, "|"), strings.Join(s.events, "|"); got != want {
			t.Errorf("stream %d: %s, want %s", id, got, want)
		}
		if k.body != s.body {
			t.Errorf("stream %d: %d bytes, want %d", id, k.body, s.body)
		}
	}
	out := tr.out.Bytes()
	if !m.server {
		out = bytes.TrimPrefix(out, []byte(http2.ClientPreface))
	}
	fr := http2.NewFramer(nil, bytes.NewReader(out))
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var goAway *http2.ErrCode
	resets := map[uint32]http2.ErrCode{}
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			if err != io.EOF { //nolint:errorlint // what the Framer says at the end
				t.Errorf("we sent what does not read: %v", err)
			}
			break
		}
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			code := f.ErrCode
			goAway = &code
		case *http2.RSTStreamFrame:
			resets[f.StreamID] = f.ErrCode
		}
	}
	for id, code := range m.resets {
		if got, ok := resets[id]; !ok || got != code {
			t.Errorf("stream %d: RST_STREAM %v %v, want %v", id, got, ok, code)
		}
		delete(resets, id)
	}
	if len(resets) > 0 {
		t.Errorf("RST_STREAM that nothing asked for: %v", resets)
	}
	switch {
	case m.failed && (goAway == nil || *goAway != m.code):
		t.Errorf("GOAWAY %v, want %v (%v)", goAway, m.code, c.Err())
	case !m.failed && goAway != nil:
		t.Errorf("GOAWAY %v, but nothing is wrong", *goAway)
	}
	if c.helpers != 0 || len(c.streams) != 0 || len(c.events) != 0 {
		t.Errorf("left behind: %d, %d, %d", c.helpers, len(c.streams), len(c.events))
	}
}

// Any sequence of frames leads where the states of RFC 9113 section 5.1 say.
func FuzzFrames(f *testing.F) {
	f.Add(true, []byte("\xff\x00\x00\x03\x80\x00\x01\x0c\x02\x05\x01\x06\x02"))
	f.Add(true, []byte("\x00\x00\x80\x0c\x81\x0c\x02\x03\x02\x03\x82\x18\x80"))
	f.Add(false, []byte("\xff\x00\x80\x0c\x01\x00\x01\x03\x01\x18\x81\x06\x02"))
	f.Add(false, []byte("\x10\x0c\x43\x00\x43\x03\x03\x03\x83\x24\x02\x07\x02"))
	f.Fuzz(func(t *testing.T, server bool, ops []byte) {
		if len(ops) > 400 {
			return
		}
		play(t, server, ops)
	})
}
