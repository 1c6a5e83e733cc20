package local

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	networkingv1 "istio.io/api/networking/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/source/memory"
)

const (
	reloads  = 10_000 // changes of the rule
	backends = 4      // that the rule leads to in turn
	callers  = 3
)

// TestReloadUnderLoad changes one rule 10,000 times while requests flow through a
// real proxy that a real control plane feeds. Version n of the rule leads to
// backend n mod 4, and writes n into the path, a request header and an answer
// header: in each answer all of them must be of the same version, and none may
// be lost. The backends' clusters are used in turn, so they are asked for, and
// given up, all the time.
func TestReloadUnderLoad(t *testing.T) {
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	m := newReloadMesh(t)
	m.change(0)
	m.await(0)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	var answers, newest atomic.Int64
	seen := make([]atomic.Bool, reloads+1)
	for range callers {
		wg.Go(func() {
			last := -1
			for ctx.Err() == nil {
				n, err := m.call()
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("after answer %d: %v", answers.Load(), err)
					}
					stop()
					return
				}
				if n < last {
					t.Errorf("version %d after version %d on one connection", n, last)
				}
				last = n
				seen[n].Store(true)
				answers.Add(1)
				newest.Store(int64(n))
			}
		})
	}
	for n := 1; n <= reloads && ctx.Err() == nil; n++ {
		m.change(n)
	}
	if ctx.Err() == nil {
		m.await(reloads)
	}
	stop()
	wg.Wait()
	distinct := 0
	for i := range seen {
		if seen[i].Load() {
			distinct++
		}
	}
	t.Logf("%d answers while the rule changed %d times; %d of its versions were seen", answers.Load(), reloads, distinct)
	if answers.Load() == 0 || distinct < 2 {
		t.Error("no requests flowed while the rule changed")
	}
	for _, p := range m.plane.Problems() {
		if p.Code == "refused-by-proxy" {
			t.Errorf("the proxy refused something: %s", p.String())
		}
	}
}

// reloadMesh is a control plane in this process, a proxy, and servers.
type reloadMesh struct {
	t       *testing.T
	plane   *control.Control
	source  *memory.Source
	changed <-chan struct{}
	fixed   []source.Object
	client  *http.Client
}

func newReloadMesh(t *testing.T) *reloadMesh {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &reloadMesh{t: t, source: memory.New("test")}
	m.fixed = append(m.fixed, plainService("web"))
	for i := range backends {
		m.fixed = append(m.fixed, plainService(backend(i)), m.serve(i))
	}
	m.plane = control.New(control.Config{
		Sources: []source.Source{m.source}, XDSListener: l, Debounce: -1,
		Logger: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.plane.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	changed, unwatch := m.plane.Watch()
	t.Cleanup(unwatch)
	m.changed = changed
	m.startProxy(l.Addr().String())
	return m
}

func (m *reloadMesh) startProxy(xds string) {
	m.t.Helper()
	outbound, log := freePortOf(m.t), &syncBuffer{}
	cmd := exec.Command(build(m.t, "recloser-proxy"), "--xds", xds, "--node-id", "caller.shop", "--namespace", "shop",
		"--pod", "caller", "--admin", freePortOf(m.t), "--outbound", outbound, "--log-level", "warn")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	tr := &http.Transport{
		Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: outbound}), MaxIdleConnsPerHost: callers,
	}
	m.client = &http.Client{Transport: tr}
	m.t.Cleanup(func() {
		tr.CloseIdleConnections()
		_ = cmd.Process.Kill() // an error: it has ended
		_ = cmd.Wait()         // it was killed
		if m.t.Failed() || strings.Contains(log.String(), "DATA RACE") {
			m.t.Errorf("recloser-proxy:\n%s", log)
		}
	})
}

func backend(i int) string { return "v" + strconv.Itoa(i%backends) }

// serve starts a backend that answers with its name and what it was asked, and
// gives its endpoint.
func (m *reloadMesh) serve(i int) source.Object {
	name := backend(i)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s", name, r.URL.Path, r.Header.Get("x-version"))
	}))
	m.t.Cleanup(s.Close)
	host, port, err := net.SplitHostPort(strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		m.t.Fatal(err)
	}
	n, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		m.t.Fatal(err)
	}
	return source.Object{
		Key: source.Key{Kind: source.EndpointSlice, Namespace: "shop", Name: name},
		Value: &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
			Ports:      []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(n))}},
			Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{host}}},
		},
	}
}

func plainService(name string) source.Object {
	return source.Object{
		Key: source.Key{Kind: source.Service, Namespace: "shop", Name: name},
		Value: &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
			Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
		},
	}
}

// rule is version n of the rule.
func rule(n int) source.Object {
	v := strconv.Itoa(n)
	write := map[string]string{"x-version": v}
	return source.Object{
		Key: source.Key{Kind: source.VirtualService, Namespace: "shop", Name: "web"},
		Value: &source.IstioVirtualService{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
			Spec: &networkingv1.VirtualService{
				Hosts: []string{"web"},
				Http: []*networkingv1.HTTPRoute{{
					Rewrite: &networkingv1.HTTPRewrite{Uri: "/" + v},
					Headers: &networkingv1.Headers{
						Request:  &networkingv1.Headers_HeaderOperations{Set: write},
						Response: &networkingv1.Headers_HeaderOperations{Set: write},
					},
					Route: []*networkingv1.HTTPRouteDestination{{Destination: &networkingv1.Destination{Host: backend(n)}}},
				}},
			},
		},
	}
}

// change puts another version of the rule in place, and waits until there is a
// World with it.
func (m *reloadMesh) change(n int) {
	m.source.Set(append([]source.Object{rule(n)}, m.fixed...))
	select {
	case <-m.changed:
	case <-m.t.Context().Done():
	}
}

// await waits until requests go by a version of the rule.
func (m *reloadMesh) await(want int) {
	m.t.Helper()
	limit := time.Now().Add(time.Minute)
	for {
		n, err := m.call()
		if err == nil && n == want {
			return
		}
		if time.Now().After(limit) {
			m.t.Fatalf("version %d of the rule does not come: %d, %v", want, n, err)
		}
	}
}

// call makes one request and gives the version of the rule that it went by. The
// error is of a request that was lost, or went by more than one.
func (m *reloadMesh) call() (int, error) {
	resp, err := m.client.Get("http://web/")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	version := resp.Header.Get("x-version")
	n, err := strconv.Atoi(version)
	if err != nil || resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("status %d, %q, reason %q", resp.StatusCode, body, resp.Header.Get("recloser-reason"))
	}
	if want := fmt.Sprintf("%s /%s %s", backend(n), version, version); string(body) != want {
		return 0, fmt.Errorf("half of one version and half of another: answer of version %s is %q, want %q", version, body, want)
	}
	return n, nil
}
