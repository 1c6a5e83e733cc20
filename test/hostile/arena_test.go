package hostile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/test/mesh"
)

func TestMain(m *testing.M) { os.Exit(mesh.Main(m)) }

// MiB is what the bounds on memory are given in.
const MiB = 1 << 20

// arena is a proxy, with an origin that behaves well behind it and, where a test
// is about that side, an upstream that does not.
type arena struct {
	t     *testing.T
	proxy *mesh.Proxy
	addr  string
	held  atomic.Int64 // requests that the origin is at
}

// newArena starts a proxy whose origin speaks to. Requests below /hostile/ go to
// an upstream at hostile, if that is not empty.
func newArena(t *testing.T, to mesh.Protocol, hostile string, args ...string) *arena {
	t.Helper()
	a := &arena{t: t, addr: mesh.FreeAddress(t)}
	origin := httptest.NewUnstartedServer(http.HandlerFunc(a.serve))
	origin.Config.Protocols = new(http.Protocols)
	origin.Config.Protocols.SetHTTP1(to != mesh.HTTP2)
	origin.Config.Protocols.SetUnencryptedHTTP2(to == mesh.HTTP2)
	origin.Start()
	t.Cleanup(origin.Close)
	cfg := mesh.Config{
		Listeners: []mesh.Listener{{Name: "outbound", Address: a.addr, Routes: []mesh.Route{{Prefix: "/", Cluster: "origin"}}}},
		Clusters:  []mesh.Cluster{{Name: "origin", Endpoints: []string{origin.Listener.Addr().String()}, Protocol: to}},
	}
	if hostile != "" {
		cfg.Listeners[0].Routes = append([]mesh.Route{{Prefix: "/hostile/", Cluster: "hostile"}}, cfg.Listeners[0].Routes...)
		cfg.Clusters = append(cfg.Clusters, mesh.Cluster{Name: "hostile", Endpoints: []string{hostile}, Protocol: mesh.HTTP2})
	}
	a.proxy = mesh.Start(t, cfg, args...)
	return a
}

// serve is the origin: it takes all that is sent, and sends what is asked for.
func (a *arena) serve(w http.ResponseWriter, r *http.Request) {
	a.held.Add(1)
	defer a.held.Add(-1)
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	n, _ := strconv.Atoi(r.URL.Query().Get("bytes"))
	w.Header().Set("Content-Length", strconv.Itoa(n))
	if mark := r.Header.Get("X-Mark"); mark != "" {
		w.Header().Set("X-Mark", mark)
	}
	part := make([]byte, 1<<15)
	for n > 0 {
		m, err := w.Write(part[:min(n, len(part))])
		if err != nil {
			return
		}
		n -= m
	}
}

// withstand runs an attack while a well-behaved connection makes requests, and
// holds the proxy's memory to a bound of what it may grow by.
func (a *arena) withstand(bound int64, attack func()) {
	a.t.Helper()
	b := newBeside(a.addr)
	defer b.transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(a.t.Context(), 4*mesh.Patience)
	defer cancel()
	quiet, err := b.requests(ctx, 300, nil)
	if err != nil {
		a.t.Fatalf("before the attack: %v", err)
	}
	before, err := a.proxy.Private()
	if err != nil {
		a.t.Fatal(err)
	}
	var side sync.WaitGroup
	over := make(chan struct{})
	peak := before
	var sampleErr, besideErr error
	var during []time.Duration
	side.Go(func() { peak, sampleErr = a.peak(before, over) })
	side.Go(func() { during, besideErr = b.requests(ctx, 100, over) })
	attack()
	close(over)
	side.Wait()
	if err := errors.Join(sampleErr, besideErr); err != nil {
		a.t.Errorf("beside the attack, after %d requests: %v", len(during), err)
	}
	if n := b.dials.Load(); n != 1 {
		a.t.Errorf("the connection beside the attack was made %d times", n)
	}
	if grown := peak - before; grown > bound {
		a.t.Errorf("private memory grew by %.1f MiB, from %.1f MiB; the bound is %.1f",
			mib(grown), mib(before), mib(bound))
	}
	if !a.proxy.Running() {
		a.t.Fatal("the proxy has ended")
	}
	a.t.Logf("memory +%.1f MiB of at most %.1f; beside: p99 %v quiet, %v of %d requests under attack",
		mib(peak-before), mib(bound), p99(quiet), p99(during), len(during))
}

func mib(n int64) float64 { return float64(n) / MiB }

// peak watches the private memory until over.
func (a *arena) peak(most int64, over <-chan struct{}) (int64, error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		n, err := a.proxy.Private()
		if err != nil {
			return most, err
		}
		most = max(most, n)
		select {
		case <-over:
			return most, nil
		case <-tick.C:
		}
	}
}

// beside is a client that behaves well, on one HTTP/2 connection.
type beside struct {
	url       string
	transport *http.Transport
	dials     atomic.Int64
}

func newBeside(addr string) *beside {
	b := &beside{url: "http://" + addr + "/beside?bytes=200"}
	b.transport = &http.Transport{
		Protocols: new(http.Protocols),
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			b.dials.Add(1)
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		},
	}
	b.transport.Protocols.SetUnencryptedHTTP2(true)
	return b
}

// requests makes at least n, and goes on until over, if that is not nil. It
// gives how long each took.
func (b *beside) requests(ctx context.Context, n int, over <-chan struct{}) ([]time.Duration, error) {
	var took []time.Duration
	for ended := over == nil; !ended || len(took) < n; {
		if !ended {
			select {
			case <-over:
				ended = true
			default:
			}
		}
		start := time.Now()
		if err := b.request(ctx); err != nil {
			return took, err
		}
		took = append(took, time.Since(start))
	}
	return took, nil
}

func (b *beside) request(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url, http.NoBody)
	if err != nil {
		return err
	}
	res, err := b.transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || n != 200) {
		err = fmt.Errorf("answer %s with %d bytes", res.Status, n)
	}
	return err
}

// p99 is only printed, so a rough one does.
func p99(took []time.Duration) time.Duration {
	if len(took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(took))
	return sorted[(len(sorted)-1)*99/100].Round(time.Microsecond)
}
