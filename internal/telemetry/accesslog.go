package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// LogFormat is the form of the access log's lines.
type LogFormat uint8

// The formats, both Istio's.
const (
	// LogText is Istio's default text format.
	LogText LogFormat = iota
	// LogJSON has the same facts as one JSON object in each line.
	LogJSON
)

// ParseLogFormat reads "text" or "json".
func ParseLogFormat(s string) (LogFormat, error) {
	switch s {
	case "text":
		return LogText, nil
	case "json":
		return LogJSON, nil
	}
	return 0, fmt.Errorf("access log format %q: allowed are \"text\" and \"json\"", s)
}

// AccessEntry is one exchange. Slices are read during Log only, so they may
// point into the connection's buffers. Empty fields are written as "-" or null.
type AccessEntry struct {
	Start    time.Time
	Duration time.Duration
	// UpstreamTime is the time until the endpoint's head came; negative: none.
	UpstreamTime time.Duration

	Method, Path, Authority []byte
	// Protocol is "HTTP/1.1" and the like; empty: bytes that are not looked into.
	Protocol string
	// Status is the status that the caller got; 0: none.
	Status int
	// GRPCStatus is that of a gRPC answer; negative: none. The text format,
	// which is Istio's, has no place for it.
	GRPCStatus int
	Reason     Reason
	// Delayed: a fault of the route held the request back (flag DI).
	Delayed bool
	// Untried is why a failed request was not tried again although its route has
	// it so: RetriesSpent (flag URX) or LimitOverflow (UO).
	Untried Reason
	// Details takes the place of Reason's details when it is set, for
	// instance to name the rule of the codec that a request broke.
	Details string

	BytesReceived, BytesSent          int64
	ForwardedFor, UserAgent           []byte
	RequestID                         []byte
	UpstreamHost, UpstreamCluster     string
	UpstreamLocal                     string
	UpstreamFailure                   string
	DownstreamLocal, DownstreamRemote string
	RouteName                         string
	// ServerName is the name that a ClientHello asks for, be it that TLS ends
	// here or that it is passed through.
	ServerName string
}

// flags are Envoy's response flags of the exchange.
func (e *AccessEntry) flags() string {
	flag := e.Reason.Flag()
	if more := e.Untried.Flag(); flag == "-" {
		flag = more
	} else if more != "-" {
		flag += "," + more
	}
	switch {
	case !e.Delayed:
		return flag
	case flag == "-":
		return "DI"
	default:
		return "DI," + flag
	}
}

const (
	logFlushSize  = 32 << 10
	logFlushEvery = time.Second
)

// AccessLog writes a line for each exchange. A nil *AccessLog writes nothing,
// which is the default of a proxy.
//
// Lines gather in a buffer that is written when it is full, and once a second
// by Run. Log waits for the writer when the buffer is full: a reader that does
// not keep up slows the proxy down rather than grow its memory.
type AccessLog struct {
	w      io.Writer
	format LogFormat
	logger *slog.Logger

	mu     sync.Mutex
	buf    []byte // guarded by mu
	failed bool   // guarded by mu: the last write failed and was reported
}

// NewAccessLog makes an access log on w.
func NewAccessLog(w io.Writer, format LogFormat, logger *slog.Logger) *AccessLog {
	return &AccessLog{w: w, format: format, logger: logger, buf: make([]byte, 0, logFlushSize+4096)}
}

// Enabled says whether Log writes anything: callers need not fill an entry else.
func (l *AccessLog) Enabled() bool { return l != nil }

// Log writes one line.
func (l *AccessLog) Log(e *AccessEntry) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.format == LogJSON {
		l.buf = appendJSONLine(l.buf, e)
	} else {
		l.buf = appendTextLine(l.buf, e)
	}
	if len(l.buf) >= logFlushSize {
		l.flushLocked()
	}
}

// Flush writes what has gathered.
func (l *AccessLog) Flush() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flushLocked()
}

func (l *AccessLog) flushLocked() {
	if len(l.buf) == 0 {
		return
	}
	_, err := l.w.Write(l.buf)
	l.buf = l.buf[:0]
	if err != nil && !l.failed {
		l.logger.Error("access log cannot be written; lines are lost", "error", err)
	}
	l.failed = err != nil
}

// Run flushes once a second until ctx ends, and a last time then.
func (l *AccessLog) Run(ctx context.Context) error {
	if l == nil {
		<-ctx.Done()
		return nil
	}
	defer l.Flush()
	tick := time.NewTicker(logFlushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			l.Flush()
		}
	}
}
