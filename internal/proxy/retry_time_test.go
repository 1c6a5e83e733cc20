package proxy

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// inTimedBubble is inBubble for requests of HTTP/1.1 on one route, which edit
// makes; ask is one request, and gives how long it took.
func inTimedBubble(t *testing.T, handle func(net.Conn), edit func(*route.Action),
	test func(t *testing.T, ask func() (status int, reason string, took time.Duration)),
) {
	t.Helper()
	hosts := &lateHosts{}
	inBubble(t, handle, func(s *ServerConfig, _ *upstream.Config) { s.Protocol, s.Hosts, s.TCP = ProtocolHTTP1, hosts, nil },
		func(t *testing.T, b *bubble) {
			a := route.NewAction("test", 0, route.Backend{Cluster: b.cluster, Weight: 1})
			edit(a)
			hosts.table.Store(route.SingleTable(a))
			test(t, func() (int, string, time.Duration) {
				c := b.dial(t)
				defer c.Close()
				start := time.Now()
				c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				resp, _ := c.answer(t, "GET")
				return resp.StatusCode, resp.Header.Get("recloser-reason"), time.Since(start)
			})
		})
}

// unwilling answers each request with 503.
func unwilling(c net.Conn) {
	answering("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")(&peer{Conn: c, br: bufio.NewReader(c)}, 0)
}

// hanging answers nothing.
func hanging(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// The pauses are anything up to 1, 3 and 7 times the base.
func TestPausesBetweenTries(t *testing.T) {
	inTimedBubble(t, unwilling, func(a *route.Action) {
		a.Retry = retrying(3, "5xx")
		a.Retry.BackoffBase = time.Second
	}, func(t *testing.T, ask func() (int, string, time.Duration)) {
		const requests = 40
		var all time.Duration
		for range requests {
			status, _, took := ask()
			if all += took; status != 503 || took > 11*time.Second {
				t.Errorf("%d after %v, want 503 within 11s", status, took)
			}
		}
		if mean := all / requests; mean < 3500*time.Millisecond || mean > 7500*time.Millisecond {
			t.Errorf("%v on average, want about 5.5s", mean)
		}
	})
}

// What each bound of a route means for an endpoint that says nothing.
func TestBoundsOfARoute(t *testing.T) {
	for _, tt := range []struct {
		name   string
		edit   func(*route.Action)
		reason string
		took   time.Duration
	}{
		{"two more tries", func(a *route.Action) {
			a.Retry = retrying(2, "5xx")
			a.Retry.PerTry = 2 * time.Second
		}, "upstream_per_try_timeout", 6 * time.Second},
		{"tries within the route's timeout", func(a *route.Action) {
			a.Retry = retrying(20, "5xx")
			a.Retry.PerTry, a.Timeout = 2*time.Second, 5*time.Second
		}, "upstream_response_timeout", 5 * time.Second},
		{"a pause that ends too late", func(a *route.Action) {
			a.Retry = retrying(20, "5xx")
			a.Retry.PerTry, a.Retry.BackoffMin, a.Timeout = 2*time.Second, 3*time.Second, 5*time.Second
		}, "upstream_per_try_timeout", 2 * time.Second},
		{"per try alone", func(a *route.Action) { a.Retry = &route.Retry{PerTry: time.Second} }, "upstream_per_try_timeout", time.Second},
		{"response", func(a *route.Action) { a.ResponseTimeout = 7 * time.Second }, "upstream_response_timeout", 7 * time.Second},
		{"idle", func(a *route.Action) { a.IdleTimeout = 10 * time.Second }, "stream_idle_timeout", 10 * time.Second},
		{"the longest stream", func(a *route.Action) { a.MaxStream = 8 * time.Second }, "upstream_response_timeout", 8 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inTimedBubble(t, hanging, tt.edit, func(t *testing.T, ask func() (int, string, time.Duration)) {
				for range 2 {
					status, reason, took := ask()
					if status != 504 || reason != tt.reason || took < tt.took || took > tt.took+3*tickLength {
						t.Errorf("%d %q after %v, want %q after %v", status, reason, took, tt.reason, tt.took)
					}
				}
			})
		})
	}
}
