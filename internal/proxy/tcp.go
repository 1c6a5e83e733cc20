package proxy

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/listener"
	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/snapshot"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// This file carries connections whose bytes are not looked into: where they
// go, which endpoint gets them, and what its breaker hears.
//
// The verdict on the endpoint follows Envoy, where what befalls a connection is
// of local origin: a connection that cannot be made is a failure, one that is
// made a success. But many a broken endpoint still accepts, and resets at once
// (the port of a pod whose program hangs, a load balancer without members). So
// success waits for a first byte from the endpoint, for its orderly end, or
// for tcpSettle without either; and a reset before that is a failure. What the
// caller does says nothing.

const (
	// tcpTries bounds the endpoints that a connection is tried on.
	tcpTries = 3
	// tcpSettle is the number of ticks (1s) after which a connection that stands
	// is a success though no byte came: with many a protocol the caller speaks
	// first, and may take its time.
	tcpSettle = 10
)

// tcpConn is one connection of opaque bytes. Its goroutine owns all but what is
// marked otherwise.
type tcpConn struct {
	srv    *Server
	down   *listener.Conn
	early  []byte // read already
	name   string // that a ClientHello asks for; empty: none
	target string // what was looked up, for the log

	start    time.Duration
	action   *route.Action
	cluster  *upstream.Cluster
	endpoint *upstream.Endpoint
	permit   breaker.Permit
	asked    time.Duration // when the endpoint was
	up       *upstream.Conn
	failure  error // of connecting

	ctx  context.Context // ends when the server does so without grace
	gone context.CancelFunc

	// Shared with the sweeper and between both directions.
	current     atomic.Pointer[upstream.Conn]
	moved       atomic.Uint64 // tick of the last byte, either way
	established atomic.Uint64 // tick, plus 1; 0: not yet
	expired     atomic.Bool   // nothing moved for too long
	settled     atomic.Bool   // the verdict was given
	heard       atomic.Bool   // a byte came from the endpoint, or its end
	closing     atomic.Bool   // one direction has ended and cannot do so alone
	ended       atomic.Uint32 // telemetry.Reason of the first thing that went wrong
	there, back flow          // to the endpoint, and from it
}

// serveTCP carries a connection of opaque bytes. early was read of it already;
// name is that of its ClientHello, if any.
func (s *Server) serveTCP(down *listener.Conn, early []byte, name string) {
	c := newTCPConn(s, down, early)
	c.name = name
	unregister := s.register(c)
	why := c.destination()
	if why == telemetry.ViaUpstream {
		why = c.connect()
	}
	if why == telemetry.ViaUpstream {
		why = c.join()
	}
	unregister()
	c.finish(why)
}

func newTCPConn(s *Server, down *listener.Conn, early []byte) *tcpConn {
	c := &tcpConn{srv: s, down: down, early: early, start: s.clock()}
	c.ctx, c.gone = context.WithCancel(context.Background())
	c.touch()
	return c
}

// destination finds the action that says where the bytes go.
func (c *tcpConn) destination() telemetry.Reason {
	s := c.srv
	if s.cfg.TCP != nil {
		if c.action = s.cfg.TCP(); c.action == nil {
			return telemetry.RouteNotFound
		}
		return telemetry.ViaUpstream
	}
	original, redirected := s.cfg.original(c.down.Conn)
	why := telemetry.RouteNotFound
	if c.name != "" {
		port := uint16(443)
		if redirected {
			port = original.Port()
		}
		why = c.lookUp(net.JoinHostPort(c.name, strconv.Itoa(int(port))))
	}
	// A name that means nothing to the mesh may be asked for at a service's
	// address all the same.
	if why == telemetry.RouteNotFound && redirected {
		why = c.lookUp(original.String())
	}
	return why
}

// lookUp finds the action for an authority, asking the control plane on first
// use.
func (c *tcpConn) lookUp(authority string) telemetry.Reason {
	hosts := c.srv.cfg.Hosts
	if hosts == nil {
		return telemetry.RouteNotFound
	}
	c.target = authority
	table, known := hosts.Lookup([]byte(authority))
	if !known {
		ctx, cancel := context.WithTimeout(c.ctx, c.srv.t.Hosts)
		defer cancel()
		var err error
		table, err = hosts.Await(ctx, authority)
		switch {
		case table != nil:
		case errors.Is(err, context.DeadlineExceeded):
			return telemetry.NoControlPlane
		case errors.Is(err, context.Canceled):
			return telemetry.DownstreamGone
		case errors.Is(err, snapshot.ErrTooManyHosts):
			return telemetry.Overload
		}
	}
	if table == nil {
		return telemetry.RouteNotFound
	}
	if c.action = table.TCP(); c.action == nil {
		return telemetry.RouteNotFound
	}
	return telemetry.ViaUpstream
}

// connect chooses a cluster of the action, and makes a connection to an endpoint
// of it; where that fails, to another. Nothing was sent by then, so nothing is
// lost.
func (c *tcpConn) connect() telemetry.Reason {
	if c.cluster = c.action.PickCluster(rand.Uint32()); c.cluster == nil {
		return telemetry.ClusterNotFound
	}
	var space [tcpTries]*upstream.Endpoint
	tried := space[:0]
	why := telemetry.NoHealthyUpstream
	key := c.key()
	for len(tried) < tcpTries {
		e, permit, ok := c.cluster.PickTCP(c.srv.clock(), key, tried)
		if !ok && len(tried) == 0 {
			var err error
			if e, permit, err = c.cluster.AwaitTCP(c.srv.clock(), 0, c.ctx.Done(), key); err != nil {
				return waitFailure(err)
			}
		} else if !ok {
			return why
		}
		if why = c.dial(e, permit); why != telemetry.ConnectFailure && why != telemetry.ConnectTimeout {
			return why
		}
		tried = append(tried, e)
	}
	return why
}

// key is by the caller's address: of bytes nothing else is known.
func (c *tcpConn) key() upstream.Key {
	if !c.cluster.Config().LB.Hashes() {
		return upstream.Key{}
	}
	from, ok := c.down.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return upstream.Key{}
	}
	return upstream.SourceKey(from.AddrPort().Addr())
}

func waitFailure(err error) telemetry.Reason {
	switch {
	case errors.Is(err, upstream.ErrOverflow):
		return telemetry.WaitingFull
	case errors.Is(err, context.Canceled):
		return telemetry.DownstreamGone
	default:
		return telemetry.NoHealthyUpstream
	}
}

// dial connects to one endpoint. The breaker hears of a failure at once.
func (c *tcpConn) dial(e *upstream.Endpoint, permit breaker.Permit) telemetry.Reason {
	s := c.srv
	c.endpoint, c.permit, c.asked = e, permit, s.clock()
	e.Begin()
	c.up, c.failure = e.Connect(c.asked + s.t.Stream)
	if c.failure == nil {
		c.touch()
		c.established.Store(s.tick.Load() + 1)
		c.current.Store(c.up)
		if c.isGone() {
			c.up.Interrupt() // it was before the connection was there to be seen
		}
		return telemetry.ViaUpstream
	}
	e.Abandon()
	now := s.clock()
	result := upstream.DialResult(c.failure)
	result.Latency = now - c.asked
	permit.Done(now, result)
	switch result.Cause {
	case breaker.Overflow:
		return telemetry.LimitOverflow
	case breaker.ConnectTimeout:
		return telemetry.ConnectTimeout
	default:
		return telemetry.ConnectFailure
	}
}

// settle gives the verdict on the endpoint, once.
func (c *tcpConn) settle(cause breaker.Cause) {
	if c.settled.Swap(true) {
		return
	}
	now := c.srv.clock()
	c.permit.Done(now, breaker.Result{GRPCStatus: -1, Cause: cause, Latency: now - c.asked})
}

// went notes what ended the connection, the first time, and ends both sides.
func (c *tcpConn) went(why telemetry.Reason) {
	c.ended.CompareAndSwap(uint32(telemetry.ViaUpstream), uint32(why))
	c.interrupt()
}

// finish closes, counts and logs.
func (c *tcpConn) finish(why telemetry.Reason) {
	m := c.srv.cfg.Metrics
	c.gone()
	// A caller for whom there is no connection is told so by RST: an orderly end
	// would say that there was nothing to say, to the breaker before us too.
	torn := c.up == nil || c.ended.Load() != uint32(telemetry.ViaUpstream)
	if c.up != nil {
		c.settle(breaker.Cancelled) // where nothing was to be learned
		c.endpoint.Abandon()
		c.current.Store(nil)
		if torn {
			abort(c.up.Conn)
		}
		c.endpoint.Discard(c.up)
	}
	switch {
	case c.cluster != nil:
		c.cluster.Metrics().TCPClosed(why)
		if c.up == nil {
			c.cluster.Metrics().Failed(why)
		}
	default:
		m.TCPClosed(why)
		m.Refuse(why)
	}
	if torn {
		c.down.Abort()
	}
	if c.srv.cfg.AccessLog.Enabled() {
		c.log(why)
	}
}

// abort has a connection end by RST: its peer must not take what it got for
// all there was to be.
func abort(c net.Conn) {
	if l, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0)
	}
}

func (c *tcpConn) log(why telemetry.Reason) {
	took := c.srv.clock() - c.start
	e := telemetry.AccessEntry{
		GRPCStatus:       -1,
		Start:            time.Now().Add(-took),
		Duration:         took,
		UpstreamTime:     -1,
		Reason:           why,
		BytesReceived:    c.there.bytes.Load(),
		BytesSent:        c.back.bytes.Load(),
		Authority:        []byte(c.target),
		ServerName:       cmp.Or(c.name, c.down.ServerName()),
		DownstreamLocal:  c.down.LocalAddr().String(),
		DownstreamRemote: c.down.RemoteAddr().String(),
	}
	if c.failure != nil {
		e.UpstreamFailure = c.failure.Error()
	}
	if c.action != nil {
		e.RouteName = c.action.RouteName
	}
	if c.cluster != nil {
		e.UpstreamCluster = c.cluster.Name()
	}
	if c.endpoint != nil {
		e.UpstreamHost = c.endpoint.Address()
	}
	if c.up != nil {
		e.UpstreamLocal = c.up.LocalAddr().String()
	}
	c.srv.cfg.AccessLog.Log(&e)
}

func (c *tcpConn) touch() { c.moved.Store(c.srv.tick.Load()) }

func (c *tcpConn) interrupt() {
	c.down.Interrupt()
	if up := c.current.Load(); up != nil {
		up.Interrupt()
	}
}

func (c *tcpConn) leave() {
	c.gone()
	c.interrupt()
}

func (c *tcpConn) isGone() bool { return c.ctx.Err() != nil }

// sweep ends a connection on which nothing moves, or that has lasted for too
// long, and lets one that stands count as a success. Connecting has bounds of its own.
func (c *tcpConn) sweep(tick uint64) {
	since := c.established.Load()
	if since == 0 || c.expired.Load() {
		return
	}
	if tick+1-since >= tcpSettle && !c.settled.Load() {
		c.settle(breaker.Response)
	}
	cfg := c.cluster.Config()
	idle := c.srv.t.TCP
	if cfg.TCPIdleTimeout != 0 {
		idle = cfg.TCPIdleTimeout
	}
	if cfg.TCPMaxDuration > 0 && time.Duration(tick+1-since)*tickLength > cfg.TCPMaxDuration {
		c.went(telemetry.DurationTimeout)
		return
	}
	if idle > 0 && time.Duration(tick-c.moved.Load())*tickLength > idle && !c.there.flowing(tick) && !c.back.flowing(tick) {
		c.expired.Store(true)
		c.interrupt()
		return
	}
	c.there.nudge(tick)
	c.back.nudge(tick)
}

// interrupted tells why a side was interrupted; ViaUpstream: by a nudge.
func (c *tcpConn) interrupted() telemetry.Reason {
	switch {
	case c.isGone():
		return telemetry.DownstreamGone
	case c.ended.Load() != uint32(telemetry.ViaUpstream):
		return telemetry.Reason(c.ended.Load())
	case c.expired.Load():
		return telemetry.IdleTimeout
	}
	return telemetry.ViaUpstream
}

// stopping tells whether both directions are to end.
func (c *tcpConn) stopping() bool {
	return c.closing.Load() || c.interrupted() != telemetry.ViaUpstream
}

func isInterrupt(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
