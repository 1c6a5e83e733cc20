package proxy

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// Tests of what only time brings about, on synctest's clock. Pipes stand in for
// sockets: they have no halves to be closed.

// pipeListener accepts pipes.
type pipeListener struct {
	queue  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// bubble is a Server on pipes; all bytes go to one endpoint.
type bubble struct {
	server  *Server
	cluster *upstream.Cluster
	ln      *pipeListener
	log     *strings.Builder
	access  *telemetry.AccessLog
}

// inBubble runs a test with a Server whose endpoint does handle.
func inBubble(t *testing.T, handle func(net.Conn), edit func(*ServerConfig, *upstream.Config), test func(t *testing.T, b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		clock := func() time.Duration { return time.Since(start) + time.Second }
		metrics := telemetry.NewProxy(telemetry.Options{})
		logger := slog.New(slog.DiscardHandler)
		var wg sync.WaitGroup
		cfg := upstream.Config{
			Name: "test", Limits: breaker.UnlimitedLimits(), MaxWaiting: 10, Endpoints: []upstream.EndpointConfig{{Address: "a:1"}},
			Dial: func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				wg.Go(func() {
					defer theirs.Close()
					handle(theirs)
				})
				return ours, nil
			},
		}
		b := &bubble{ln: &pipeListener{queue: make(chan net.Conn), closed: make(chan struct{})}, log: &strings.Builder{}}
		b.access = telemetry.NewAccessLog(b.log, telemetry.LogText, logger)
		sc := ServerConfig{
			Name: "test", Logger: logger, Clock: clock, Protocol: ProtocolDetect, AccessLog: b.access,
			Metrics: metrics.Downstream(telemetry.Inbound, "1"),
		}
		var action *route.Action
		sc.TCP = func() *route.Action { return action }
		if edit != nil {
			edit(&sc, &cfg)
		}
		set := upstream.NewSet(upstream.SetOptions{Metrics: metrics, Logger: logger, Clock: clock})
		b.cluster = set.Apply([]upstream.Config{cfg})["test"]
		action = route.NewAction("bytes", 0, route.Backend{Cluster: b.cluster, Weight: 1})
		if sc.Hosts == nil {
			sc.Hosts = oneHost{anyPath(0, b.cluster)}
		}
		b.server = NewServer(sc)
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			if err := b.server.Serve(ctx, b.ln); err != nil && ctx.Err() == nil && !b.server.draining.Load() {
				t.Errorf("Serve: %v", err)
			}
		})
		wg.Go(func() { _ = set.Run(ctx) })
		test(t, b)
		cancel()
		wg.Wait()
	})
}

// dial is a caller's connection.
func (b *bubble) dial(t *testing.T) *peer {
	t.Helper()
	ours, theirs := net.Pipe()
	b.ln.queue <- theirs
	t.Cleanup(func() { ours.Close() })
	return &peer{Conn: ours, br: bufio.NewReader(ours)}
}

// logged is the access log so far.
func (b *bubble) logged() string {
	synctest.Wait()
	b.access.Flush()
	return b.log.String()
}

func sleep(d time.Duration) { time.Sleep(d) } //nolint:forbidigo // the bubble's clock

func echoing(c net.Conn) { _, _ = io.Copy(c, c) }

func TestTCPIdle(t *testing.T) {
	inBubble(t, echoing, func(s *ServerConfig, _ *upstream.Config) {
		s.Protocol, s.Timeouts.TCP = ProtocolTCP, time.Minute
	}, func(t *testing.T, b *bubble) {
		c := b.dial(t)
		for range 5 { // never quiet for so long, though open for longer
			c.send("x")
			if got, err := c.br.ReadByte(); got != 'x' {
				t.Fatal(err)
			}
			sleep(50 * time.Second)
		}
		start := time.Now()
		if rest := c.rest(); rest != "" {
			t.Errorf("%q", rest)
		}
		if took := time.Since(start); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("closed after %v more of quiet, want the rest of a minute", took)
		}
		if line := b.logged(); !strings.Contains(line, " 0 SI stream_idle_timeout ") {
			t.Errorf("logged %q", line)
		}
	})
}

func TestTCPMayBeQuietForEver(t *testing.T) {
	inBubble(t, echoing, func(s *ServerConfig, _ *upstream.Config) {
		s.Protocol, s.Timeouts.TCP = ProtocolTCP, -1
	}, func(t *testing.T, b *bubble) {
		c := b.dial(t)
		sleep(65 * time.Minute)
		c.send("x")
		if got, err := c.br.ReadByte(); got != 'x' {
			t.Errorf("after more than the usual hour: %v", err)
		}
	})
}

func TestDetectionOfSingleBytes(t *testing.T) {
	either := func(c net.Conn) {
		p := &peer{Conn: c, br: bufio.NewReader(c)}
		if first, _ := p.br.Peek(1); string(first) == "G" {
			answering(okAnswer("http"))(p, 0)
			return
		}
		line, _ := p.br.ReadString('\n')
		p.send("raw:" + line)
	}
	slowly := func(c *peer, s string) {
		for i := range len(s) {
			c.send(s[i : i+1])
			synctest.Wait() // it was read, by itself
		}
	}
	inBubble(t, either, nil, func(t *testing.T, b *bubble) {
		c := b.dial(t)
		for range 2 { // the connection stays one of HTTP
			slowly(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			if _, body := c.answer(t, "GET"); body != "http" {
				t.Errorf("%q", body)
			}
		}
		c.Close()
		c = b.dial(t)
		slowly(c, "HELO mail.example\n")
		if line, err := c.br.ReadString('\n'); line != "raw:HELO mail.example\n" {
			t.Errorf("%q, %v", line, err)
		}
	})
}

func TestDetectionWaitsOnlySoLong(t *testing.T) {
	greet := func(c net.Conn) {
		_, _ = io.WriteString(c, "220 ready\n")
		echoing(c)
	}
	for _, begin := range []string{"", "SE"} {
		inBubble(t, greet, nil, func(t *testing.T, b *bubble) {
			c := b.dial(t)
			if begin != "" {
				c.send(begin)
			}
			start := time.Now()
			if line, err := c.br.ReadString('\n'); line != "220 ready\n" {
				t.Fatalf("%q, %v", line, err)
			}
			if took := time.Since(start); took < 3*time.Second || took > 4*time.Second {
				t.Errorf("waited %v, want 3s", took)
			}
			c.send("Q\n")
			if line, err := c.br.ReadString('\n'); line != begin+"Q\n" {
				t.Errorf("%q, %v", line, err)
			}
		})
	}
}

func TestDetectionMayWaitForEver(t *testing.T) {
	inBubble(t, echoing, func(s *ServerConfig, _ *upstream.Config) { s.Timeouts.Detect = -1 }, func(t *testing.T, b *bubble) {
		c := b.dial(t)
		sleep(time.Minute)
		if n := b.cluster.Endpoints()[0].Metrics().OpenConnections(); n != 0 {
			t.Errorf("%d connections to the endpoint before a byte came", n)
		}
		c.send("Q\n")
		if line, err := c.br.ReadString('\n'); line != "Q\n" {
			t.Errorf("%q, %v", line, err)
		}
	})
}

// A begin of a request is one of HTTP, and is answered as one.
func TestDetectionOfASlowRequest(t *testing.T) {
	inBubble(t, echoing, nil, func(t *testing.T, b *bubble) {
		c := b.dial(t)
		c.send("GET / HT")
		start := time.Now()
		if resp, _ := c.answer(t, "GET"); resp.StatusCode != 408 {
			t.Errorf("status %d", resp.StatusCode)
		}
		if took := time.Since(start); took > 14*time.Second {
			t.Errorf("after %v", took)
		}
	})
}

func TestDetectionWhileDraining(t *testing.T) {
	inBubble(t, echoing, func(s *ServerConfig, _ *upstream.Config) { s.Timeouts.Detect = time.Hour }, func(t *testing.T, b *bubble) {
		c := b.dial(t)
		synctest.Wait()
		if err := b.server.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if rest := c.rest(); rest != "" {
			t.Errorf("%q", rest)
		}
		if line := b.logged(); line != "" {
			t.Errorf("a silent connection was taken for bytes while draining: %q", line)
		}
	})
}

// Where there is no place for opaque bytes, a silent connection is an idle one.
func TestSilenceWithoutDestination(t *testing.T) {
	inBubble(t, echoing, func(s *ServerConfig, _ *upstream.Config) {
		s.TCP, s.Hosts, s.Timeouts.Idle = nil, oneHost{}, 10*time.Minute
	}, func(t *testing.T, b *bubble) {
		c := b.dial(t)
		sleep(8 * time.Minute)
		c.send("GET / HTTP/1.1\r\nHost: nobody\r\nConnection: close\r\n\r\n")
		if resp, _ := c.answer(t, "GET"); resp.StatusCode != 404 {
			t.Errorf("status %d", resp.StatusCode)
		}
		idle := b.dial(t)
		start := time.Now()
		idle.rest()
		if took := time.Since(start); took < 10*time.Minute || took > 10*time.Minute+time.Second {
			t.Errorf("an idle connection was closed after %v, want 10m", took)
		}
		bytes := b.dial(t)
		bytes.send("\x00\x01")
		if rest := bytes.rest(); rest != "" {
			t.Errorf("%q", rest)
		}
		if line := b.logged(); !strings.Contains(line, `"- - -" 0 NR route_not_found `) {
			t.Errorf("logged %q", line)
		}
	})
}

// The verdict on an endpoint that says nothing comes with time.
func TestTCPSettles(t *testing.T) {
	quiet := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	inBubble(t, quiet, func(s *ServerConfig, c *upstream.Config) {
		s.Protocol = ProtocolTCP
		c.Breaker = breaker.LinkerdConsecutive()
		c.Breaker.Detectors.Consecutive.Failures = 1
	}, func(t *testing.T, b *bubble) {
		state := func() breaker.State { return b.cluster.States()[0].State }
		e, p, _ := b.cluster.Pick(b.server.clock(), upstream.Key{})
		p.Done(b.server.clock(), breaker.Result{Status: 500})
		if state() != breaker.Open {
			t.Fatalf("%s is %v", e.Address(), state())
		}
		sleep(2 * time.Minute) // the back-off has passed: the next connection is the probe
		b.dial(t)
		sleep(500 * time.Millisecond)
		if state() != breaker.HalfOpen {
			t.Errorf("after half a second: %v, want half-open", state())
		}
		sleep(700 * time.Millisecond)
		if state() != breaker.Closed {
			t.Errorf("after 1.2s: %v, want closed", state())
		}
	})
}

// Waiting for an endpoint, or for the control plane, ends with the server.
func TestTCPWaitsEndWithTheServer(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*ServerConfig, *upstream.Config)
	}{
		{"for an endpoint", func(s *ServerConfig, c *upstream.Config) {
			s.Protocol, c.Endpoints, c.FailFast = ProtocolTCP, nil, time.Hour
		}},
		{"for the control plane", func(s *ServerConfig, _ *upstream.Config) {
			var network redirection
			network.set("10.0.0.1:1")
			s.TCP, s.Hosts, s.original, s.Timeouts.Hosts = nil, silentHosts{}, network.original, time.Hour
		}},
	} {
		inBubble(t, echoing, tt.edit, func(t *testing.T, b *bubble) {
			c := b.dial(t)
			sleep(4 * time.Second)
			if b.server.Open() != 1 {
				t.Errorf("%s: it does not wait", tt.name)
			}
			b.server.interruptAll()
			start := time.Now()
			c.rest()
			if took := time.Since(start); took != 0 {
				t.Errorf("%s: went on for %v", tt.name, took)
			}
		})
	}
}

// silentHosts never answers.
type silentHosts struct{}

func (silentHosts) Lookup([]byte) (*route.Table, bool) { return nil, false }

func (silentHosts) Await(ctx context.Context, _ string) (*route.Table, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
