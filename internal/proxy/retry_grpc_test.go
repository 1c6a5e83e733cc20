package proxy

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	xhttp2 "golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// Statuses of gRPC are heard in a head that is all of the answer, in trailers
// behind a head by itself, and not behind a message.
func TestRetryOfGRPC(t *testing.T) {
	for _, tt := range []struct {
		name, path, on string
		tries          int32
		status         string
	}{
		{"trailers only", "/only/14", "unavailable", 2, "0"},
		{"head and trailers", "/behind/14", "unavailable", 2, "0"},
		{"after a message", "/message/14", "unavailable", 1, "14"},
		{"another status", "/only/5", "unavailable,internal", 1, "5"},
		{"another status behind", "/behind/5", "unavailable,internal", 1, "5"},
		{"resource exhausted", "/behind/8", "resource-exhausted", 2, "0"},
		{"cancelled", "/only/1", "cancelled", 2, "0"},
		{"deadline exceeded", "/only/4", "deadline-exceeded", 2, "0"},
		{"internal", "/only/13", "internal", 2, "0"},
		{"not a status of gRPC's", "/only/14", "5xx", 1, "14"},
		{"lost", "/lost/0", "unavailable", 2, "0"},
		{"lost behind a head", "/lostbehind/0", "unavailable", 2, "0"},
		{"reset", "/lost/0", "reset", 1, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var tries atomic.Int32
			up := backend2(t, func(w http.ResponseWriter, q *http.Request) {
				_, _ = io.Copy(io.Discard, q.Body)
				_, rest, _ := strings.Cut(q.URL.Path[1:], "/")
				how := q.URL.Path[1 : len(q.URL.Path)-len(rest)-1]
				w.Header().Set("Content-Type", "application/grpc")
				if tries.Add(1) > 1 {
					how, rest = "message", "0"
				}
				switch how {
				case "only":
					w.Header().Set("grpc-status", rest)
				case "lost":
					panic(http.ErrAbortHandler)
				default:
					w.Header().Set("Trailer", "grpc-status")
					w.(http.Flusher).Flush()
					if how == "message" {
						_, _ = io.WriteString(w, "message")
					}
					if how == "lostbehind" {
						panic(http.ErrAbortHandler)
					}
					w.Header().Set("grpc-status", rest)
				}
			})
			r := withRoute(t, []string{up}, nil, func(a *route.Action) { a.Retry = retrying(1, tt.on) })
			resp, _ := ask(t, client2(t), "POST", r.url(tt.path), strings.NewReader("call"), "Content-Type", "application/grpc", "TE", "trailers")
			got := resp.Header.Get("grpc-status") + resp.Trailer.Get("grpc-status")
			if n := tries.Load(); n != tt.tries || tt.status != "" && got != tt.status {
				t.Errorf("grpc-status %q after %d tries, want %q after %d", got, n, tt.status, tt.tries)
			}
		})
	}
}

// A head is not kept back from a caller that has more to say.
func TestHeadOfAConversation(t *testing.T) {
	up := backend2(t, func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "grpc-status")
		w.(http.Flusher).Flush()
		b := make([]byte, 4)
		_, _ = io.ReadFull(q.Body, b)
		_, _ = w.Write(b)
		w.Header().Set("grpc-status", "0")
	})
	r := withRoute(t, []string{up}, nil, func(a *route.Action) { a.Retry = retrying(1, "unavailable") })
	in, out := io.Pipe()
	q, _ := http.NewRequest(http.MethodPost, r.url("/"), in)
	q.Header.Set("Content-Type", "application/grpc")
	resp, err := client2(t).Do(q) // returns with the head
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.WriteString(out, "call")
	out.Close()
	if b, err := io.ReadAll(resp.Body); string(b) != "call" || err != nil || resp.Trailer.Get("grpc-status") != "0" {
		t.Errorf("%q, %v, %v", b, err, resp.Trailer)
	}
}

// A stream that an endpoint refuses goes to another endpoint, whatever its
// method, once it has been refused on each connection that was tried.
func TestRefusedStreamGoesElsewhere(t *testing.T) {
	refusing := framedBackend(t, func(_ int, f *framed) {
		for fr := f.next(); fr != nil; fr = f.next() {
			if h, ok := fr.(*xhttp2.MetaHeadersFrame); ok {
				f.write(func() error { return f.fr.WriteRSTStream(h.StreamID, xhttp2.ErrCodeRefusedStream) })
			}
		}
	})
	for version, hc := range map[int]*http.Client{1: client(t), 2: client2(t)} {
		for on, want := range map[string]int{"refused-stream": 0, "connect-failure": 2} {
			good := backend2(t, func(w http.ResponseWriter, q *http.Request) {
				b, _ := io.ReadAll(q.Body)
				_, _ = w.Write(b)
			})
			r := withRoute(t, []string{refusing, good}, func(_ *ServerConfig, c *upstream.Config) { c.Protocol = upstream.HTTP2 },
				func(a *route.Action) { a.Retry = retrying(1, on) })
			failed := 0
			for range 4 {
				if resp, got := ask(t, hc, "POST", r.url("/"), strings.NewReader("body")); resp.StatusCode != 200 {
					failed++
				} else if got != "body" {
					t.Errorf("HTTP/%d: %q", version, got)
				}
			}
			if failed != want {
				t.Errorf("HTTP/%d, %s: %d of 4 failed, want %d", version, on, failed, want)
			}
		}
	}
}
