package http2

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/http2"
)

// Conn is one connection. All methods may be called by any goroutine.
type Conn struct {
	// Immutable after New.
	nc     net.Conn
	raw    syscall.RawConn // for writes that do not wait; nil where there is none
	cfg    Config
	server bool
	accept func(s *Stream, h *Head, end bool) Sink
	onRoom func(*Conn)

	in reader // owned by the reader, the goroutine in Serve

	try tryState // owned by who has set writing

	lastRead  atomic.Int64 // instant of the last bytes from the peer
	halfSince atomic.Int64 // instant since which a head or frame is here in part; 0: none is
	moved     atomic.Int64 // instant at which the transport last took something

	mu   sync.Mutex
	cond sync.Cond // on mu: written, told, a helper ended

	// All below is guarded by mu.

	streams map[uint32]*Stream
	closed  closedRing
	seenID  uint32 // server: the highest id that the client used
	lastID  uint32 // server: the highest id that we took up
	nextID  uint32 // client: the id of the next stream
	quiet   time.Duration

	peer    peerSettings
	sendWin int64 // what we may send on all streams together
	acked   bool  // the peer acknowledged our SETTINGS

	out      outBuffer
	enc      encoder
	ready    streamQueue // streams with DATA that their own window allows
	control  int         // answers to the peer in the out buffer
	writing  bool        // somebody writes
	helpers  int         // goroutines started by Flush that run
	inBatch  bool        // the reader tells events
	telling  bool        // somebody is in tell
	soon     bool        // a goroutine is about to flush
	events   []*Stream   // streams with something to tell, from eventsAt on
	eventsAt int
	after    []*Conn // to be flushed when the events are told
	roomNews bool    // onRoom is due
	hadRoom  bool    // client: Room was not none

	phase      phase
	goAway     goAwayState
	goAwayAt   time.Duration // when the first GOAWAY was queued
	goAwaySaid bool          // server: the final GOAWAY was queued
	startedAt  time.Duration
	ping       pingState
	pingAt     time.Duration // when the keep-alive PING was queued
	goAwayErr  error         // what the peer's GOAWAY said, unless it was in peace
	endedWell  int           // streams that ended so since the reader last asked
	framesOut  int           // frames of DATA and HEADERS sent since the reader last asked
	err        error
}

// phase is how far the life of a connection has come.
type phase uint8

const (
	open   phase = iota
	ending       // nothing more is taken from the peer; what is queued is written
	gone         // the transport is closed, or about to be
)

// goAwayState is how far Shutdown has come.
type goAwayState uint8

const (
	goAwayNone  goAwayState = iota
	goAwayFirst             // drains; the peer may not know yet
	goAwayFinal             // the last id is told, or the peer said GOAWAY
)

// pingState says which of our PINGs is on its way.
type pingState uint8

const (
	pingNone pingState = iota
	pingAlive
)

// The payloads of our PINGs.
var (
	payloadAlive = [8]byte{'a', 'l', 'i', 'v', 'e'}
	payloadDrain = [8]byte{'d', 'r', 'a', 'i', 'n'}
)

// peerSettings are what the peer has said, or what holds until it does.
type peerSettings struct {
	settled         bool
	extendedConnect bool
	maxFrame        uint32
	window          int64
	maxStreams      uint32
}

// NewServer makes the server's side of a connection. early are bytes that were
// read from nc already. accept is called by the reader for the head of each
// valid request and gives the stream's Sink; it must not block. end: the
// request has no body.
func NewServer(nc net.Conn, early []byte, cfg *Config, accept func(s *Stream, h *Head, end bool) Sink) *Conn {
	c := newConn(nc, cfg)
	c.server, c.accept = true, accept
	c.in.early = early
	c.in.preface = len(http2.ClientPreface)
	return c
}

// NewClient makes the client's side of a connection. onRoom, which may be nil,
// is called when Room has grown from none or by new settings, and when the
// connection begins to drain or has ended.
func NewClient(nc net.Conn, cfg *Config, onRoom func(*Conn)) *Conn {
	c := newConn(nc, cfg)
	c.onRoom, c.nextID, c.hadRoom = onRoom, 1, true
	c.queueStart()
	return c
}

func newConn(nc net.Conn, cfg *Config) *Conn {
	c := &Conn{nc: nc, cfg: cfg.filled(), streams: map[uint32]*Stream{}}
	c.cond.L = &c.mu
	c.raw = rawConn(nc)
	c.try.fn = c.try.write
	c.peer = peerSettings{maxFrame: minFrameSize, window: defaultWindow, maxStreams: 100}
	c.sendWin = defaultWindow
	c.enc.init()
	c.in.init(c)
	now := c.cfg.Clock()
	c.startedAt, c.quiet = now, now
	c.lastRead.Store(int64(now))
	c.moved.Store(int64(now))
	return c
}

// rawConn gives the socket of nc where it has one.
func rawConn(nc net.Conn) syscall.RawConn {
	if s, ok := nc.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

// Serve says our preface and SETTINGS, and reads until the connection has
// ended; by then the Sink of each open stream has had Closed, and the transport
// is closed. It is called once. The error is that of Err.
func (c *Conn) Serve() error {
	if c.server {
		c.mu.Lock()
		c.queueStart()
		c.mu.Unlock()
	}
	c.flush()
	c.finish(c.in.run())
	return c.Err()
}

// queueStart queues what either side says first. mu is held, or not needed yet.
func (c *Conn) queueStart() {
	if !c.server {
		c.out.write([]byte(http2.ClientPreface))
	}
	s := make([]http2.Setting, 0, 6)
	if c.server {
		s = append(s, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: c.cfg.MaxConcurrentStreams})
		if c.cfg.ExtendedConnect {
			s = append(s, http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1})
		}
	} else {
		s = append(s, http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	}
	if c.cfg.StreamWindow != defaultWindow {
		s = append(s, http2.Setting{ID: http2.SettingInitialWindowSize, Val: c.cfg.StreamWindow})
	}
	if c.cfg.MaxFrameSize != minFrameSize {
		s = append(s, http2.Setting{ID: http2.SettingMaxFrameSize, Val: c.cfg.MaxFrameSize})
	}
	s = append(s, http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: uint32(c.cfg.MaxHeaderBytes)})
	_ = c.framer().WriteSettings(s...)
	c.out.windowUpdate(0, connWindow-defaultWindow)
}

// framer writes frames that are rare into the out buffer. mu is held.
func (c *Conn) framer() *http2.Framer { return http2.NewFramer(&c.out, nil) }
