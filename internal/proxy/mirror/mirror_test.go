package mirror

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func fields(kv ...string) []http1.Header {
	var out []http1.Header
	for i := 0; i+1 < len(kv); i += 2 {
		out = append(out, http1.Header{Name: []byte(kv[i]), Value: []byte(kv[i+1])})
	}
	return out
}

func get(path string) *Request {
	return NewRequest(fields(":method", "GET", ":scheme", "http", ":authority", "a:80", ":path", path, "x-a", "1"), false, upstream.Key{})
}

// cluster is a live cluster of one endpoint.
func cluster(t *testing.T, addr string, p upstream.Protocol) *upstream.Cluster {
	t.Helper()
	set := upstream.NewSet(upstream.SetOptions{Metrics: telemetry.NewProxy(telemetry.Options{})})
	c := set.Apply([]upstream.Config{{
		Name: "c", Protocol: p, Limits: breaker.UnlimitedLimits(), Endpoints: []upstream.EndpointConfig{{Address: addr}},
	}})["c"]
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = set.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return c
}

func server(t *testing.T, p upstream.Protocol, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(p == upstream.HTTP1)
	s.Config.Protocols.SetUnencryptedHTTP2(p == upstream.HTTP2)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// A copy is its own: what it was made of may be used for something else.
func TestCopyIsItsOwn(t *testing.T) {
	from := fields(":method", "PUT", ":scheme", "https", ":authority", "bb:8080", ":path", "/x", "te", "trailers",
		"content-length", "7", "expect", "100-continue", "x-a", "1")
	r := NewRequest(from, true, upstream.Key{})
	for i := range from {
		for j := range from[i].Value {
			from[i].Value[j] = '!'
		}
	}
	r.SetBody([]byte("body"), fields("x-end", "2"))
	v := r.view()
	if string(v.Method) != "PUT" || string(v.Path) != "/x" || string(v.Host) != "bb:8080" || !v.TETrailers ||
		v.Body.Kind != http1.BodyChunked || len(v.Headers) != 1 || string(v.Headers[0].Value) != "1" {
		t.Errorf("%+v", v)
	}
	for host, want := range map[string]string{"bb:8080": "bb-shadow:8080", "bb": "bb-shadow", "[::1]:80": "[::1]-shadow:80", "": ""} {
		r.host = []byte(host)
		if got := string(r.Shadow().Shadow().host); got != want || string(r.host) != host {
			t.Errorf("the shadow of %q is %q, want %q", host, got, want)
		}
	}
}

// Connections are used again, and answers of any kind are read to their end.
func TestConnectionsAreReused(t *testing.T) {
	for _, p := range []upstream.Protocol{upstream.HTTP1, upstream.HTTP2} {
		var mu sync.Mutex
		from := map[string]bool{}
		addr := server(t, p, func(w http.ResponseWriter, q *http.Request) {
			mu.Lock()
			from[q.RemoteAddr] = true
			mu.Unlock()
			switch q.URL.Path {
			case "/length":
				w.Header().Set("Content-Length", "20000")
				_, _ = w.Write(make([]byte, 20000))
			case "/chunked":
				for range 30 {
					fmt.Fprintf(w, "%01000d", 1)
				}
			case "/none":
				w.WriteHeader(http.StatusNoContent)
			case "/hints":
				w.WriteHeader(http.StatusEarlyHints)
				_, _ = io.WriteString(w, "x")
			}
		})
		c := cluster(t, addr, p)
		s := NewSender(Config{})
		for range 3 {
			for _, path := range []string{"/length", "/chunked", "/none", "/hints"} {
				s.Send(c, get(path))
				s.wg.Wait()
			}
		}
		mu.Lock()
		if len(from) != 1 {
			t.Errorf("%v: %d connections for one copy after the other", p, len(from))
		}
		mu.Unlock()
		if n := c.Limits().InFlight().Requests; n != 0 {
			t.Errorf("%v: %d requests in flight", p, n)
		}
		s.Close()
	}
}

// A copy that is not answered in time is given up, and one under way ends with
// the Sender.
func TestCopiesEnd(t *testing.T) {
	for _, p := range []upstream.Protocol{upstream.HTTP1, upstream.HTTP2} {
		arrived := make(chan struct{}, 4)
		hung := make(chan struct{})
		addr := server(t, p, func(http.ResponseWriter, *http.Request) {
			arrived <- struct{}{}
			<-hung
		})
		t.Cleanup(func() { close(hung) })
		c := cluster(t, addr, p)
		late := NewSender(Config{Timeout: 300 * time.Millisecond})
		late.Send(c, get("/"))
		late.wg.Wait()
		late.Close()
		s := NewSender(Config{Max: 1})
		s.Send(c, get("/"))
		s.Send(c, get("/")) // one too many
		<-arrived
		<-arrived
		s.Close()
		s.Send(c, get("/")) // nobody is there to send it
		if s.Flying() != 0 || len(arrived) != 0 {
			t.Errorf("%v: %d under way, %d more sent", p, s.Flying(), len(arrived))
		}
		none := NewSender(Config{Max: -1})
		none.Send(c, get("/"))
		if none.Flying() != 0 {
			t.Errorf("%v: a sender that sends none has one under way", p)
		}
		none.Close()
	}
}
