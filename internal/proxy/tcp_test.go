package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/balance"
	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/snapshot"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// newTCPRig is a Server that sends all bytes to the endpoints unread.
func newTCPRig(t testing.TB, addresses []string, edit func(*ServerConfig, *upstream.Config)) *rig {
	t.Helper()
	var action atomic.Pointer[route.Action]
	r := newRig(t, addresses, func(s *ServerConfig, c *upstream.Config) {
		s.Protocol = ProtocolTCP
		s.TCP = action.Load
		if edit != nil {
			edit(s, c)
		}
	})
	action.Store(route.NewAction("bytes", 0, route.Backend{Cluster: r.cluster, Weight: 1}))
	return r
}

// logged ends the server and gives its access log.
func (r *rig) logged() string {
	r.drain()
	return r.log.String()
}

func closeWrite(t testing.TB, c net.Conn) {
	t.Helper()
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

func reset(c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// wasReset tells whether the connection ended by RST.
func wasReset(p *peer) bool {
	_, err := io.Copy(io.Discard, p.br)
	return errors.Is(err, syscall.ECONNRESET)
}

func TestTCPServerSpeaksFirstAndEachSideEndsItsHalf(t *testing.T) {
	up := startUpstream(t, func(p *peer, _ int) {
		p.send("220 hello\n")
		p.send("got " + p.rest() + "\n") // what comes until the other half ends
	})
	r := newTCPRig(t, []string{up.addr}, nil)
	c := dial(t, r.addr)
	if line, err := c.br.ReadString('\n'); line != "220 hello\n" {
		t.Fatalf("%q, %v", line, err)
	}
	c.send("one")
	c.send("two")
	closeWrite(t, c.Conn)
	if got := c.rest(); got != "got onetwo\n" {
		t.Errorf("%q behind the end of our half", got)
	}
	line := r.logged()
	if !strings.Contains(line, `"- - -" 0 - - - "-" 6 21 `) || !strings.Contains(line, `"`+up.addr+`" test 127.0.0.1:`) || !strings.HasSuffix(line, " bytes\n") {
		t.Errorf("logged %q", line)
	}
}

func TestTCPServerEndsItsHalfFirst(t *testing.T) {
	got := make(chan string, 1)
	up := startUpstream(t, func(p *peer, _ int) {
		p.send("all")
		_ = p.Conn.(*net.TCPConn).CloseWrite()
		got <- p.rest()
	})
	r := newTCPRig(t, []string{up.addr}, nil)
	c := dial(t, r.addr)
	if s := c.rest(); s != "all" {
		t.Errorf("%q", s)
	}
	c.send("still here")
	c.Close()
	if s := <-got; s != "still here" {
		t.Errorf("the endpoint got %q after it had ended its half", s)
	}
}

func TestTCPCarriesMuchBothWays(t *testing.T) {
	const size = 24 << 20
	up := startUpstream(t, func(p *peer, _ int) {
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = io.CopyN(p.Conn, zeros{}, size)
			_ = p.Conn.(*net.TCPConn).CloseWrite()
		})
		_, _ = io.Copy(io.Discard, p.br)
		wg.Wait()
	})
	r := newTCPRig(t, []string{up.addr}, nil)
	c := dial(t, r.addr)
	var wg sync.WaitGroup
	wg.Go(func() {
		if n, err := io.CopyN(c.Conn, zeros{}, size); err != nil {
			t.Errorf("sent %d: %v", n, err)
		}
		closeWrite(t, c.Conn)
	})
	if n, err := io.Copy(io.Discard, c.br); n != size || err != nil {
		t.Errorf("received %d, %v", n, err)
	}
	wg.Wait()
	eventually(t, "all at the endpoint", func() bool { return up.bytes.Load() == size })
	if line := r.logged(); !strings.Contains(line, ` 0 - - - "-" 25165824 25165824 `) {
		t.Errorf("logged %q", line)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// A nudge that breaks the kernel's work off loses nothing, and the counters are
// not left behind.
func TestTCPBulkThatPausesIsCounted(t *testing.T) {
	const burst = 1 << 20
	more := make(chan struct{})
	up := startUpstream(t, func(p *peer, _ int) {
		for range 2 {
			p.send(pattern(burst))
			<-more
		}
	})
	r := newTCPRig(t, []string{up.addr}, nil)
	c := dial(t, r.addr)
	b := make([]byte, burst)
	for i := range 2 {
		if _, err := io.ReadFull(c.br, b); err != nil || string(b) != pattern(burst) {
			t.Fatalf("burst %d: %v", i, err)
		}
		var open *tcpConn
		eventually(t, "the bytes are counted", func() bool {
			r.server.mu.Lock()
			defer r.server.mu.Unlock()
			for s := range r.server.conns {
				open, _ = s.(*tcpConn)
			}
			return open != nil && open.back.bytes.Load() == int64(i+1)*burst && open.back.bulk.Load() == 0
		})
		more <- struct{}{}
	}
	if s := c.rest(); s != "" {
		t.Errorf("%d bytes too many", len(s))
	}
}

func TestTCPResets(t *testing.T) {
	strict := func(_ *ServerConfig, c *upstream.Config) {
		c.Breaker = breaker.LinkerdConsecutive()
		c.Breaker.Detectors.Consecutive.Failures = 1
	}
	for _, tt := range []struct {
		name   string
		handle func(p *peer)
		client func(t *testing.T, c *peer)
		flag   string
		open   bool
	}{
		{"by the endpoint before a byte", func(p *peer) {
			_, _ = p.br.ReadByte()
			reset(p.Conn)
		}, func(t *testing.T, c *peer) {
			c.send("x")
			if !wasReset(c) {
				t.Error("the caller was not told")
			}
		}, "UC upstream_reset_before_response_started{connection_termination}", true},
		{"by the endpoint midway", func(p *peer) {
			p.send("y")
			_, _ = p.br.ReadByte()
			reset(p.Conn)
		}, func(t *testing.T, c *peer) {
			_, _ = c.br.ReadByte()
			c.send("x")
			if !wasReset(c) {
				t.Error("the caller was not told")
			}
		}, "UC upstream_reset_after_response_started{connection_termination}", false},
		{"by the caller", func(p *peer) {
			p.send("y")
			if !wasReset(p) {
				t.Error("the endpoint was not told")
			}
		}, func(_ *testing.T, c *peer) {
			_, _ = c.br.ReadByte()
			reset(c.Conn)
		}, "DC downstream_remote_disconnect", false},
		{"orderly by the endpoint before a byte", func(*peer) {}, func(_ *testing.T, c *peer) { c.rest() }, "- -", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up := startUpstream(t, func(p *peer, _ int) { tt.handle(p) })
			r := newTCPRig(t, []string{up.addr}, strict)
			c := dial(t, r.addr)
			tt.client(t, c)
			c.Close()
			eventually(t, "the connection has ended", func() bool { return r.server.Open() == 0 })
			if open := r.cluster.States()[0].State == breaker.Open; open != tt.open {
				t.Errorf("the breaker is open: %v, want %v", open, tt.open)
			}
			if line := r.logged(); !strings.Contains(line, " 0 "+tt.flag+" ") {
				t.Errorf("logged %q, want %q", line, tt.flag)
			}
		})
	}
}

func TestTCPDrainWaitsForOpenConnections(t *testing.T) {
	up := startUpstream(t, func(p *peer, _ int) { _, _ = io.Copy(p.Conn, p.br) })
	r := newTCPRig(t, []string{up.addr}, func(s *ServerConfig, _ *upstream.Config) { s.Timeouts.DrainIdle = time.Millisecond })
	c := dial(t, r.addr)
	c.send("a")
	_, _ = c.br.ReadByte()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := r.server.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("drained with a connection open: %v", err)
	}
	c.send("b")
	if b, err := c.br.ReadByte(); b != 'b' {
		t.Fatalf("a connection that was open broke off: %v", err)
	}
	c.Close()
	if err := r.server.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTCPEndsAtOnceWithTheServer(t *testing.T) {
	up := startUpstream(t, func(p *peer, _ int) { p.rest() })
	r := newTCPRig(t, []string{up.addr}, nil)
	c := dial(t, r.addr)
	c.send("a")
	eventually(t, "the byte is there", func() bool { return up.bytes.Load() == 1 })
	r.drain()
	if !c.closed() {
		t.Error("still open")
	}
}

// refusing is an address that refuses connections, until listen is called.
type refusing struct {
	t    testing.TB
	addr string
}

func newRefusing(t testing.TB) *refusing {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	return &refusing{t, ln.Addr().String()}
}

func (r *refusing) listen(greeting string) {
	r.t.Helper()
	ln, err := net.Listen("tcp", r.addr)
	if err != nil {
		r.t.Skipf("somebody took the port: %v", err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, greeting)
			c.Close()
		}
	})
	r.t.Cleanup(func() { ln.Close(); wg.Wait() })
}

func TestTCPRefusedConnectionsGoElsewhereAndTheEndpointComesBackByItself(t *testing.T) {
	bad := newRefusing(t)
	good := startUpstream(t, func(p *peer, _ int) { p.send("good") })
	r := newTCPRig(t, []string{bad.addr, good.addr}, func(_ *ServerConfig, c *upstream.Config) {
		c.Breaker = breaker.LinkerdConsecutive()
		c.Breaker.Detectors.Consecutive.Failures = 2
		c.Breaker.Recovery.Min, c.Breaker.Recovery.Max = 100*time.Millisecond, 200*time.Millisecond
	})
	state := func() breaker.State {
		for _, s := range r.cluster.States() {
			if s.Name == bad.addr {
				return s.State
			}
		}
		return breaker.Closed
	}
	for range 100 {
		if s := dial(t, r.addr).rest(); s != "good" {
			t.Fatalf("a caller got %q: its connection was not made elsewhere", s)
		}
		if state() != breaker.Closed {
			break
		}
	}
	if state() == breaker.Closed {
		t.Fatal("refused connections do not open the breaker")
	}
	bad.listen("back")
	// No caller is there: only a dial in the background can find out.
	eventually(t, "the endpoint is closed again", func() bool { return state() == breaker.Closed })
	eventually(t, "it gets connections", func() bool { return dial(t, r.addr).rest() == "back" })
}

// isRefused tells whether a connection ends by RST without a byte, be it before the
// caller knows that it was established.
func isRefused(t testing.TB, addr string) bool {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err == nil {
		defer c.Close()
		_ = c.SetReadDeadline(time.Now().Add(hangs))
		_, err = c.Read(make([]byte, 1))
	}
	return errors.Is(err, syscall.ECONNRESET)
}

func TestTCPNothingIsThere(t *testing.T) {
	bad := newRefusing(t)
	for _, tt := range []struct {
		name string
		edit func(*ServerConfig, *upstream.Config)
		flag string
	}{
		{"every endpoint refuses", nil, "UF upstream_reset_before_response_started{connection_failure}"},
		{"no endpoint", func(_ *ServerConfig, c *upstream.Config) { c.Endpoints, c.FailFast = nil, 0 }, "UH no_healthy_upstream"},
		{"nobody may wait", func(_ *ServerConfig, c *upstream.Config) { c.Endpoints, c.MaxWaiting = nil, 0 }, "UH no_healthy_upstream{too_many_waiting}"},
		{"no action", func(s *ServerConfig, _ *upstream.Config) { s.TCP = func() *route.Action { return nil } }, "NR route_not_found"},
		{"no cluster", func(s *ServerConfig, _ *upstream.Config) {
			s.TCP = func() *route.Action { return route.NewAction("x", 0, route.Backend{Weight: 1}) }
		}, "NC cluster_not_found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newTCPRig(t, []string{bad.addr}, tt.edit)
			if !isRefused(t, r.addr) {
				t.Error("not reset")
			}
			if line := r.logged(); !strings.Contains(line, `"- - -" 0 `+tt.flag+" ") {
				t.Errorf("logged %q, want %q", line, tt.flag)
			}
		})
	}
}

func TestTCPConnectionLimit(t *testing.T) {
	up := startUpstream(t, func(p *peer, _ int) { p.send("x"); p.rest() })
	r := newTCPRig(t, []string{up.addr}, func(_ *ServerConfig, c *upstream.Config) { c.Limits.MaxConnections = 1 })
	first := dial(t, r.addr)
	_, _ = first.br.ReadByte()
	if !isRefused(t, r.addr) {
		t.Error("a second connection was made")
	}
	first.Close()
	eventually(t, "the limit is free again", func() bool { return !isRefused(t, r.addr) })
	if line := r.logged(); !strings.Contains(line, " 0 UO ") {
		t.Errorf("logged %q", line)
	}
}

// namedHosts knows some authorities.
type namedHosts struct {
	mu     sync.Mutex
	asked  []string
	tables map[string]*route.Table
	err    error // of Await
}

func (h *namedHosts) know(authority string, table *route.Table) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tables[authority] = table
}

func (h *namedHosts) Lookup(authority []byte) (*route.Table, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = append(h.asked, string(authority))
	t, ok := h.tables[string(authority)]
	return t, ok
}

func (h *namedHosts) Await(context.Context, string) (*route.Table, error) { return nil, h.err }

// redirection stands in for the network's.
type redirection struct {
	to atomic.Pointer[netip.AddrPort]
}

func (r *redirection) set(to string) {
	at := netip.MustParseAddrPort(to)
	r.to.Store(&at)
}

func (r *redirection) original(net.Conn) (netip.AddrPort, bool) {
	if at := r.to.Load(); at != nil {
		return *at, true
	}
	return netip.AddrPort{}, false
}

func TestTCPOriginalDestination(t *testing.T) {
	up := startUpstream(t, func(p *peer, _ int) { p.send("hi") })
	for _, to := range []string{"10.1.2.3:3306", "[fd00::7]:25"} {
		hosts := &namedHosts{tables: map[string]*route.Table{}, err: snapshot.ErrNoHost}
		var network redirection
		network.set(to)
		r := newRig(t, []string{up.addr}, func(s *ServerConfig, _ *upstream.Config) {
			s.Protocol, s.Hosts = ProtocolDetect, hosts
			s.Timeouts.Detect = 100 * time.Millisecond
			s.original = network.original
		})
		hosts.know(to, anyPath(0, r.cluster))
		if s := dial(t, r.addr).rest(); s != "hi" { // silent: the server speaks first
			t.Errorf("%s: %q", to, s)
		}
		c := dial(t, r.addr)
		c.send("\x00\x01 no HTTP")
		if s := c.rest(); s != "hi" {
			t.Errorf("%s: %q", to, s)
		}
		network.set("10.9.9.9:1")
		if !dial(t, r.addr).closed() {
			t.Error("an unknown destination was served")
		}
		if line := r.logged(); !strings.Contains(line, ` 0 NR route_not_found - "-" 0 0 `) || !strings.Contains(line, `"10.9.9.9:1"`) {
			t.Errorf("logged %q", line)
		}
	}
}

func TestNoControlPlaneForBytes(t *testing.T) {
	var network redirection
	network.set("10.1.2.3:1")
	r := newRig(t, nil, func(s *ServerConfig, _ *upstream.Config) {
		s.Protocol, s.Hosts, s.original = ProtocolDetect, &namedHosts{err: context.DeadlineExceeded}, network.original
	})
	c := dial(t, r.addr)
	c.send("\x00")
	if !c.closed() {
		t.Error("not closed")
	}
	if line := r.logged(); !strings.Contains(line, " 0 NC no_answer_from_control_plane ") {
		t.Errorf("logged %q", line)
	}
}

func TestTCPMetrics(t *testing.T) {
	up := startUpstream(t, func(p *peer, _ int) { p.send("four" + p.rest()) })
	var metrics *telemetry.DownstreamMetrics
	r := newTCPRig(t, []string{up.addr}, func(s *ServerConfig, _ *upstream.Config) { metrics = s.Metrics })
	c := dial(t, r.addr)
	c.send("abc")
	closeWrite(t, c.Conn)
	c.rest()
	eventually(t, "the connection has ended", func() bool { return metrics.OpenConnections() == 0 })
	e := r.cluster.Endpoints()[0].Metrics()
	if e.OpenConnections() != 0 {
		t.Error("the endpoint's connection counts as open")
	}
}

// BenchmarkTCP carries one byte there and back, and much one way.
func BenchmarkTCP(b *testing.B) {
	up := startUpstream(b, func(p *peer, _ int) {
		if first, _ := p.br.ReadByte(); first == 'e' {
			_, _ = io.Copy(p.Conn, p.Conn)
			return
		}
		_, _ = io.Copy(io.Discard, p.Conn)
	})
	r := newTCPRig(b, []string{up.addr}, nil)
	b.Run("there and back", func(b *testing.B) {
		c := dial(b, r.addr)
		c.send("e")
		b.ReportAllocs()
		for b.Loop() {
			c.send("x")
			if _, err := c.br.ReadByte(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("much", func(b *testing.B) {
		c := dial(b, r.addr)
		c.send("m")
		piece := make([]byte, 1<<20)
		b.SetBytes(int64(len(piece)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Write(piece); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A program that refuses connections trips the breaker of the proxy before its
// own: the end that a caller gets is no orderly one.
func TestTCPRefusedBehindAnotherProxy(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := ln.Addr().String()
	ln.Close()
	inner := newTCPRig(t, []string{nobody}, nil)
	outer := newTCPRig(t, []string{inner.addr}, func(_ *ServerConfig, uc *upstream.Config) {
		uc.Breaker = breaker.LinkerdConsecutive()
		uc.Breaker.Detectors.Consecutive = &breaker.Consecutive{Failures: 3}
	})
	for range 3 {
		if !isRefused(t, outer.addr) {
			t.Error("the caller took it for an orderly end")
		}
	}
	eventually(t, "the breaker is open", func() bool { return outer.cluster.States()[0].State != breaker.Closed })
}

// A cluster has a say in how long a connection of bytes may stand still, and how
// old it may grow.
func TestTCPTimesOfTheCluster(t *testing.T) {
	for name, set := range map[string]func(*ServerConfig, *upstream.Config){
		"nothing moves": func(_ *ServerConfig, c *upstream.Config) { c.TCPIdleTimeout = 50 * time.Millisecond },
		"too old": func(s *ServerConfig, c *upstream.Config) {
			s.Timeouts.TCP, c.TCPIdleTimeout, c.TCPMaxDuration = time.Millisecond, upstream.NoTimeout, 50*time.Millisecond
		},
	} {
		t.Run(name, func(t *testing.T) {
			up := startUpstream(t, func(p *peer, _ int) { p.rest() })
			r := newTCPRig(t, []string{up.addr}, set)
			c := dial(t, r.addr)
			c.send("hello")
			c.rest()
			want := map[string]string{"nothing moves": " SI ", "too old": " DT "}[name]
			if line := r.logged(); !strings.Contains(line, want) {
				t.Errorf("logged %q, want the flag%s", line, want)
			}
		})
	}
}

// Where the cluster places by hash, connections of one caller go to one endpoint.
func TestTCPHashesTheCaller(t *testing.T) {
	var ups []string
	for range 4 {
		ups = append(ups, startUpstream(t, func(p *peer, _ int) { p.rest() }).addr)
	}
	r := newTCPRig(t, ups, func(_ *ServerConfig, c *upstream.Config) { c.LB = balance.Maglev })
	for range 8 {
		c := dial(t, r.addr)
		c.send("x")
		closeWrite(t, c.Conn)
		c.rest()
	}
	log, seen := r.logged(), map[string]int{}
	for _, up := range ups {
		if n := strings.Count(log, `"`+up+`"`); n > 0 {
			seen[up] = n
		}
	}
	if len(seen) != 1 || strings.Count(log, "\n") != 8 {
		t.Errorf("8 connections of one caller went to %d endpoints: %v", len(seen), seen)
	}
}
