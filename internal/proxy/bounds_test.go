package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// untilGone is a handler's wait for the end of its caller.
func untilGone(q *http.Request) { <-q.Context().Done() }

// trickle is a body of n bytes, one after each interval.
func trickle(n int, every time.Duration) io.Reader {
	in, out := io.Pipe()
	go func() {
		defer out.Close()
		tick := time.NewTicker(every)
		defer tick.Stop()
		for range n {
			<-tick.C
			if _, err := io.WriteString(out, "x"); err != nil {
				return
			}
		}
	}()
	return in
}

// The time for an answer runs from the end of the request to the end of the
// answer, and an upload takes none of it.
func TestResponseTimeout(t *testing.T) {
	pairs(t, func(t *testing.T, hc *http.Client, serve func(testing.TB, http.HandlerFunc) string, p upstream.Protocol) {
		up := serve(t, func(w http.ResponseWriter, q *http.Request) {
			_, _ = io.Copy(io.Discard, q.Body)
			switch q.URL.Path {
			case "/midway":
				_, _ = io.WriteString(w, "begun")
				w.(http.Flusher).Flush()
				untilGone(q)
			case "/never":
				untilGone(q)
			}
		})
		r := withRoute(t, []string{up}, func(_ *ServerConfig, c *upstream.Config) { c.Protocol = p },
			func(a *route.Action) { a.ResponseTimeout = 150 * time.Millisecond })
		slowly := func() io.Reader { return trickle(4, 60*time.Millisecond) }
		for _, body := range []io.Reader{nil, strings.NewReader("x"), slowly(), nil} {
			resp, _ := ask(t, hc, "POST", r.url("/never"), body)
			if got := resp.Header.Get("recloser-reason"); resp.StatusCode != 504 || got != "upstream_response_timeout" {
				t.Errorf("%d %q", resp.StatusCode, got)
			}
		}
		if resp, _ := ask(t, hc, "POST", r.url("/"), slowly()); resp.StatusCode != 200 {
			t.Errorf("an upload that takes longer: %d", resp.StatusCode)
		}
		resp, err := hc.Get(r.url("/midway"))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(resp.Body); err == nil || string(b) != "begun" {
			t.Errorf("%q, %v", b, err)
		}
		resp.Body.Close()
	})
}

// A route's bound on silence holds in place of the listener's.
func TestRouteIdleTimeout(t *testing.T) {
	pairs(t, func(t *testing.T, hc *http.Client, serve func(testing.TB, http.HandlerFunc) string, p upstream.Protocol) {
		up := serve(t, func(_ http.ResponseWriter, q *http.Request) { untilGone(q) })
		r := withRoute(t, []string{up}, func(_ *ServerConfig, c *upstream.Config) { c.Protocol = p },
			func(a *route.Action) { a.IdleTimeout = 300 * time.Millisecond })
		for range 2 {
			resp, _ := ask(t, hc, "GET", r.url("/"), nil)
			if got := resp.Header.Get("recloser-reason"); resp.StatusCode != 504 || got != "stream_idle_timeout" {
				t.Errorf("%d %q", resp.StatusCode, got)
			}
		}
	})
}

func TestIdleOr(t *testing.T) {
	for _, tt := range []struct{ idle, listener, want time.Duration }{
		{0, time.Minute, time.Minute}, {time.Second, time.Minute, time.Second}, {-1, time.Minute, 0}, {time.Hour, 0, time.Hour},
	} {
		if got := idleOr(int64(tt.idle), tt.listener); got != tt.want {
			t.Errorf("the route's %v in place of %v is %v, want %v", tt.idle, tt.listener, got, tt.want)
		}
	}
}

// An alarm that is stopped has not rung, or has done so.
func TestAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rung := false
		a := newAlarm(time.Second, func() { rung = true })
		sleep(500 * time.Millisecond)
		a.stop()
		sleep(5 * time.Second)
		if rung {
			t.Error("it rang after it was stopped")
		}
		a.stop()
		(*alarm)(nil).stop()
	})
	ringing, release, stopped := make(chan struct{}), make(chan struct{}), make(chan struct{})
	rung := false
	a := newAlarm(0, func() {
		close(ringing)
		<-release
		rung = true
	})
	<-ringing
	go func() {
		defer close(stopped)
		a.stop()
	}()
	close(release)
	if <-stopped; !rung {
		t.Error("it is ringing after it was stopped")
	}
}
