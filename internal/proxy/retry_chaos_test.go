package proxy

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// erraticCaller2 does on a connection of HTTP/2 all that callers do.
func erraticCaller2(f *framed) {
	for id := uint32(1); id < 80; id += 2 {
		data := func(end bool, n int) {
			f.write(func() error { return f.fr.WriteData(id, end, []byte(pattern(n))) })
		}
		switch rand.IntN(7) {
		case 0:
			f.get(id, "/")
		case 1:
			f.get(id, "/")
			f.write(func() error { return f.fr.WriteRSTStream(id, xhttp2.ErrCodeCancel) })
		case 2:
			f.post(id)
			data(false, 100)
		case 3:
			f.post(id, "content-type", "application/grpc", "grpc-timeout", "100m")
			data(rand.IntN(2) == 0, 50)
		case 4:
			f.post(id)
			data(false, 700)
			time.Sleep(time.Millisecond) //nolint:forbidigo // so that some of the body comes later
			data(true, 700)
		default:
			f.post(id)
			data(false, 4)
			f.headers(id, true, "x-end", "trailers")
		}
	}
}

// erraticCaller1 does so on a connection of HTTP/1.1.
func erraticCaller1(p *peer, abort bool) {
	for range 4 {
		switch rand.IntN(5) {
		case 0:
			p.send("GET / HTTP/1.1\r\nHost: bb:8080\r\n\r\n")
		case 1:
			p.send("POST / HTTP/1.1\r\nHost: bb:8080\r\nContent-Length: 4\r\n\r\nbody")
		case 2:
			p.send("POST / HTTP/1.1\r\nHost: bb:8080\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nx-end: 1\r\n\r\n")
		case 3:
			p.send("POST / HTTP/1.1\r\nHost: bb:8080\r\nContent-Length: 1400\r\n\r\n" + pattern(700))
			time.Sleep(time.Millisecond) //nolint:forbidigo // so that some of the body comes later
			p.send(pattern(700))
		default:
			p.send("POST / HTTP/1.1\r\nHost: bb:8080\r\nContent-Length: 40\r\n\r\nnever ends")
		}
	}
	if abort {
		p.abort()
	}
	p.rest()
}

// Whatever callers and endpoints do while requests are tried again and mirrored,
// all that was begun ends, and is ended once.
func TestAllThatWasBegunAgainEnds(t *testing.T) {
	for _, down := range []int{1, 2} {
		for _, up := range []int{1, 2} {
			t.Run(fmt.Sprintf("%d to %d", down, up), func(t *testing.T) {
				var n tally
				addresses, protocol := []string{startUpstream(t, erratic1).addr, startUpstream(t, erratic1).addr}, upstream.HTTP1
				if up == 2 {
					addresses, protocol = []string{framedBackend(t, n.erratic), framedBackend(t, n.erratic)}, upstream.HTTP2
				}
				r := withRoute(t, addresses, func(sc *ServerConfig, uc *upstream.Config) {
					uc.Protocol = protocol
					uc.Limits.MaxConnections = 30
					uc.Limits.MaxRetries = 20
					quickly(sc)
					sc.Timeouts.Idle = 500 * time.Millisecond
					sc.MaxKept, sc.MaxMirrors = 1000, 20
				}, func(*route.Action) {})
				r.routes(func(a *route.Action) {
					a.Timeout, a.ResponseTimeout, a.IdleTimeout = 300*time.Millisecond, 200*time.Millisecond, 250*time.Millisecond
					a.Retry = retrying(3, "reset,5xx,connect-failure,refused-stream,unavailable")
					a.Retry.AnyMethod, a.Retry.PerTry, a.Retry.BackoffBase = true, 50*time.Millisecond, 5*time.Millisecond
					a.Mirrors = []route.Mirror{{Cluster: r.cluster, Fraction: route.Million / 4}}
				})
				r.misuse(t, down)
				eventually(t, "nothing is in flight", func() bool {
					c := r.cluster.Limits().InFlight()
					return c.Requests == 0 && c.Pending == 0 && c.Retries == 0
				})
				eventually(t, "no stream is open at an endpoint", func() bool { return n.open.Load() == 0 })
				r.awaitNoStreams()
				r.drain()
				if c := r.cluster.Limits().InFlight(); up == 1 && c.Connections != 0 {
					t.Errorf("connections at the end: %+v", c)
				}
			})
		}
	}
}

// misuse has callers do all that they do.
func (r *rig) misuse(t *testing.T, version int) {
	var callers sync.WaitGroup
	defer callers.Wait()
	if version == 1 {
		for i := range 60 {
			p := dial(t, r.addr)
			callers.Go(func() {
				defer p.Close()
				erraticCaller1(p, i%4 == 0)
			})
		}
		return
	}
	for i := range 8 {
		f := dialFramed(t, r.addr)
		callers.Go(func() { erraticCaller2(f) })
		callers.Go(func() {
			for f.next() != nil {
			}
		})
		if i%3 == 0 {
			time.AfterFunc(50*time.Millisecond, func() { f.c.Close() })
		} else {
			time.AfterFunc(2*time.Second, func() { f.c.Close() })
		}
	}
}
