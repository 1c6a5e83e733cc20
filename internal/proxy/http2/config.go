package http2

import (
	"time"

	"github.com/reclosermesh/recloser/breaker"
)

// Config is what a connection promises and allows. A zero field means its
// default; values out of range are brought to the nearest end. It is not
// changed after it was given to a connection, and may be shared by many.
type Config struct {
	// MaxConcurrentStreams is how many streams a client may have open on a
	// server's connection (SETTINGS_MAX_CONCURRENT_STREAMS). Default 100.
	MaxConcurrentStreams uint32
	// MaxStreams is how many streams a client has open at most, also where its
	// peer allows more. 0: no bound of ours.
	MaxStreams uint32
	// StreamWindow is how many bytes we let the peer send ahead on one stream
	// (SETTINGS_INITIAL_WINDOW_SIZE). Default 65535, at most 2^31-1.
	StreamWindow uint32
	// MaxFrameSize is the longest frame payload that we take
	// (SETTINGS_MAX_FRAME_SIZE). Default and least 16384, at most 2^24-1.
	MaxFrameSize uint32
	// MaxHeaderBytes bounds a header or trailer section, counted decoded and
	// with 32 bytes for each field (SETTINGS_MAX_HEADER_LIST_SIZE, RFC 9113
	// section 6.5.2). A larger request is answered 431. Default 64 KiB, at
	// most 1 MiB.
	MaxHeaderBytes int
	// MaxHeaders bounds the number of fields of a section. Default 100.
	MaxHeaders int
	// ExtendedConnect: a server lets its clients use extended CONNECT
	// (SETTINGS_ENABLE_CONNECT_PROTOCOL, RFC 8441).
	ExtendedConnect bool
	// KeepAlive is the time without a frame from the peer after which it is
	// sent a PING. 0: never.
	KeepAlive time.Duration
	// KeepAliveTimeout is how long the answer to such a PING may take before
	// the connection is closed. Default 20 s.
	KeepAliveTimeout time.Duration
	// SettingsTimeout bounds the wait for the peer's preface and SETTINGS, and
	// for its acknowledgement of ours. Default 10 s.
	SettingsTimeout time.Duration
	// HeadTimeout bounds how long a header block, or a frame that is not DATA,
	// may take from its first byte to its last. Default 10 s.
	HeadTimeout time.Duration
	// StallTimeout bounds how long the transport may take nothing of what is
	// to be written. Default 30 s.
	StallTimeout time.Duration
	// MaxBuffered is the size of the connection's out buffer above which DATA
	// stays queued on its stream, Open gives ErrFull, and a server reads no
	// more. Default 256 KiB.
	MaxBuffered int

	// The bounds on floods. Each is answered by GOAWAY ENHANCE_YOUR_CALM and
	// the end of the connection.

	// MaxResets is how many more streams than ended well may, within
	// FloodInterval, be reset by a client soon after they began
	// (CVE-2023-44487), or by us for a client's fault (CVE-2025-8671).
	// Default 1000.
	MaxResets int
	// MaxSettings bounds SETTINGS frames within FloodInterval. Default 100.
	MaxSettings int
	// MaxIdleFrames bounds frames that carry nothing within FloodInterval:
	// PING, PRIORITY, WINDOW_UPDATE, empty DATA and frames of unknown type.
	// Each frame of HEADERS or DATA, in either direction, makes good for four.
	// Default 2000.
	MaxIdleFrames int
	// MaxContinuations bounds the CONTINUATION frames of one header block
	// (CVE-2024-27316). Default 64.
	MaxContinuations int
	// MaxControlFrames bounds answers to the peer's frames (RST_STREAM,
	// acknowledgements) that wait for the transport. Default 1000.
	MaxControlFrames int
	// FloodInterval is what the bounds above count over. Default 10 s.
	FloodInterval time.Duration

	// Clock tells the instant; the same that Sweep is given. Default
	// breaker.Monotonic.
	Clock breaker.Clock
	// OnRead and OnWritten, if not nil, are told how many bytes were moved
	// from and to the transport. They are called by whoever moved them, at
	// times with a lock held: they must do no more than count.
	OnRead, OnWritten func(n int)
}

// The least and greatest of what RFC 9113 sections 6.5.2 and 6.9.1 allow, and
// what holds before SETTINGS came.
const (
	minFrameSize  = 1 << 14
	maxFrameSize  = 1<<24 - 1
	maxWindow     = 1<<31 - 1
	defaultWindow = 1<<16 - 1
	maxStreamID   = 1<<31 - 1
	tableSize     = 4096 // RFC 7541: SETTINGS_HEADER_TABLE_SIZE until told otherwise
)

// connWindow is what the peer may send ahead on all streams together. It is
// given back as bytes arrive, so it bounds no memory, only what is in flight.
const connWindow = 1 << 20

// or gives v, or its default where it is zero.
func or[T int | uint32 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// filled is the config with its defaults.
func (cfg *Config) filled() Config {
	var c Config
	if cfg != nil {
		c = *cfg
	}
	c.MaxConcurrentStreams = or(c.MaxConcurrentStreams, 100)
	c.StreamWindow = min(or(c.StreamWindow, defaultWindow), maxWindow)
	c.MaxFrameSize = min(max(c.MaxFrameSize, minFrameSize), maxFrameSize)
	c.MaxHeaderBytes = min(or(c.MaxHeaderBytes, 64<<10), 1<<20)
	c.MaxHeaders = or(c.MaxHeaders, 100)
	c.KeepAliveTimeout = or(c.KeepAliveTimeout, 20*time.Second)
	c.SettingsTimeout = or(c.SettingsTimeout, 10*time.Second)
	c.HeadTimeout = or(c.HeadTimeout, 10*time.Second)
	c.StallTimeout = or(c.StallTimeout, 30*time.Second)
	c.MaxBuffered = or(c.MaxBuffered, 256<<10)
	c.MaxResets = or(c.MaxResets, 1000)
	c.MaxSettings = or(c.MaxSettings, 100)
	c.MaxIdleFrames = or(c.MaxIdleFrames, 2000)
	c.MaxContinuations = or(c.MaxContinuations, 64)
	c.MaxControlFrames = or(c.MaxControlFrames, 1000)
	c.FloodInterval = or(c.FloodInterval, 10*time.Second)
	if c.Clock == nil {
		c.Clock = breaker.Monotonic
	}
	return c
}
