package soak

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	"github.com/reclosermesh/recloser/test/mesh"
)

func TestMain(m *testing.M) { os.Exit(mesh.Main(m)) }

// What may be left when all traffic has ended: goroutines and bytes on the heap
// beside those that were there after the first requests.
const (
	goroutinesLeft = 10
	heapLeft       = 4 << 20
)

func length(t *testing.T) time.Duration {
	text := os.Getenv("SOAK")
	if text == "" {
		text = "20s"
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		t.Fatalf("SOAK %q: must be a duration above 0, like 10m", text)
	}
	return d
}

func TestSoak(t *testing.T) {
	w := newWorld(t)
	w.warm()
	before := w.proxy.MustFigures()
	stop := make(chan struct{})
	tr := newTraffic()
	var running sync.WaitGroup
	for _, c := range w.clients() {
		running.Go(func() { c.run(stop, tr) })
	}
	w.anchors(&running, stop, tr)

	end := time.Now().Add(length(t))
	changes := 0
	for ; time.Now().Before(end) && !t.Failed(); changes++ {
		w.change(changes)
	}
	close(stop)
	running.Wait()
	lines, lost := tr.report()
	t.Logf("%d changes, %d instances, %d messages of those that lived throughout", changes, w.started, tr.moving.Load())
	for _, l := range lines {
		t.Log(l)
	}
	if lost != nil {
		t.Error(lost)
	}
	w.end()
	w.nothingLeft(before)
}

// world is a proxy and what is around it.
type world struct {
	t     *testing.T
	proxy *mesh.Proxy
	// Listeners: one that stays as it is, one that is changed, one that comes
	// and goes, and one of bare TCP.
	steady, changing, passing, bytes string
	idle                             time.Duration // of the one that is changed
	instances                        []*instance   // endpoints
	leaving, left                    []*instance   // no longer endpoints, since the last change and the one before
	started                          int
	retiring                         sync.WaitGroup
	// Addresses of instances that are gone. Others take them over, as restarted
	// programs do: what the proxy keeps of endpoints for a while, for those who
	// scrape it, is then bounded however long the soak is.
	vacant chan [3]string
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, idle: time.Hour, vacant: make(chan [3]string, 100),
		steady: mesh.FreeAddress(t), changing: mesh.FreeAddress(t), passing: mesh.FreeAddress(t), bytes: mesh.FreeAddress(t),
	}
	for range 3 {
		w.add()
	}
	w.proxy = mesh.Start(t, w.config(w.instances, false))
	return w
}

func (w *world) add() { w.instances = append(w.instances, w.newInstance()) }

func (w *world) newInstance() *instance {
	w.started++
	var at [3]string
	select {
	case at = <-w.vacant:
	default:
	}
	return newInstance(w.t, at)
}

// retire ends instances in the background.
func (w *world) retire(those []*instance) {
	for _, in := range those {
		w.retiring.Go(func() {
			if err := in.retire(context.Background()); err != nil {
				w.t.Error(err)
			}
			w.vacant <- in.at
		})
	}
}

// config has some of the instances as endpoints.
func (w *world) config(of []*instance, passing bool) mesh.Config {
	routes := []mesh.Route{
		{Prefix: "/h2/", Cluster: "h2"},
		{Prefix: "/large/", Cluster: "large"},
		{Prefix: "/grpc.testing.TestService/", Cluster: "grpc"},
		{Prefix: "/", Cluster: "h1"},
	}
	cfg := mesh.Config{
		Listeners: []mesh.Listener{
			{Name: "steady", Address: w.steady, Routes: routes},
			{Name: "changing", Address: w.changing, Routes: routes, Idle: w.idle},
			{Name: "bytes", Address: w.bytes, TCP: "tcp"},
		},
	}
	if passing {
		cfg.Listeners = append(cfg.Listeners, mesh.Listener{Name: "passing", Address: w.passing, Routes: routes})
	}
	clusters := []mesh.Cluster{
		{Name: "h1", Protocol: mesh.HTTP1, Failures: 7},
		{Name: "h2", Protocol: mesh.HTTP2, Failures: 7},
		{Name: "large", Protocol: mesh.HTTP2, Failures: 7},
		{Name: "grpc", Protocol: mesh.HTTP2, Failures: 7},
		{Name: "tcp"},
	}
	for _, in := range of {
		for i, addr := range []string{in.http, in.http, in.http, in.grpc, in.tcp} {
			clusters[i].Endpoints = append(clusters[i].Endpoints, addr)
		}
	}
	cfg.Clusters = clusters
	return cfg
}

// clients are all kinds of traffic.
func (w *world) clients() []client {
	var all []client
	for _, at := range []struct{ name, addr string }{{"", w.steady}, {", changing listener", w.changing}} {
		all = append(all,
			httpClient("HTTP/1.1 to HTTP/1.1"+at.name, at.addr, "/h1/", false, body),
			httpClient("HTTP/1.1 to HTTP/2"+at.name, at.addr, "/h2/", false, small),
			httpClient("HTTP/1.1 to HTTP/2, large"+at.name, at.addr, "/large/", false, body),
			httpClient("HTTP/2 to HTTP/1.1"+at.name, at.addr, "/h1/", true, body),
			httpClient("HTTP/2 to HTTP/2"+at.name, at.addr, "/h2/", true, small),
			httpClient("HTTP/2 to HTTP/2, large"+at.name, at.addr, "/large/", true, body),
		)
	}
	rpcs, err := rpcClients(w.steady)
	if err != nil {
		w.t.Fatal(err)
	}
	return append(append(all, rpcs...),
		sessions("WebSocket", func(ctx context.Context) (session, error) { return openWebSocket(ctx, w.steady) }),
		sessions("TCP", func(ctx context.Context) (session, error) { return openBytes(ctx, w.bytes) }),
	)
}

// anchors begins the sessions that live throughout.
func (w *world) anchors(running *sync.WaitGroup, stop <-chan struct{}, tr *traffic) {
	cc, err := grpc.NewClient("passthrough:///"+w.steady, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		w.t.Fatal(err)
	}
	var open sync.WaitGroup
	for kind, begin := range map[string]func(context.Context) (session, error){
		"gRPC throughout": func(ctx context.Context) (session, error) {
			return openStream(ctx, testgrpc.NewTestServiceClient(cc))
		},
		"WebSocket throughout": func(ctx context.Context) (session, error) { return openWebSocket(ctx, w.steady) },
		"TCP throughout":       func(ctx context.Context) (session, error) { return openBytes(ctx, w.bytes) },
	} {
		s, err := begin(context.Background())
		if err != nil {
			w.t.Fatalf("%s: %v", kind, err)
		}
		open.Add(1)
		running.Go(func() {
			defer open.Done()
			tr.anchor(kind, stop, s)
		})
	}
	running.Go(func() {
		open.Wait()
		cc.Close()
	})
}

// warm makes a few requests of each kind, so that what is made once is there
// before the figures are taken.
func (w *world) warm() {
	tr := newTraffic()
	for _, c := range w.clients() {
		for range 5 {
			ctx, cancel := context.WithTimeout(w.t.Context(), mesh.Patience)
			tr.count(c.kind, c.once(ctx))
			cancel()
		}
		c.end()
	}
	if _, lost := tr.report(); lost != nil {
		w.t.Fatal(lost)
	}
	w.closed()
}

// change is one step of the churn. It returns once the proxy has it.
func (w *world) change(i int) {
	w.t.Helper()
	// A program that is told to end waits a while, for those who have chosen it
	// and not called it yet: here, for one change and another.
	w.retire(w.left)
	w.left, w.leaving = w.leaving, nil
	switch i % 4 {
	case 0: // some of the endpoints
		some := append([]*instance(nil), w.instances...)
		rand.Shuffle(len(some), func(a, b int) { some[a], some[b] = some[b], some[a] })
		w.apply(some[:1+rand.IntN(len(some))], false)
	case 1: // another instance in place of the oldest
		w.add()
		w.apply(w.instances, false)
		w.leaving, w.instances = []*instance{w.instances[0]}, w.instances[1:]
		w.apply(w.instances, false)
	case 2: // a listener that changes
		w.idle += time.Minute
		w.apply(w.instances, false)
	case 3:
		w.pass()
	}
}

// pass adds a listener, and takes it away while requests wait for their answer.
func (w *world) pass() {
	w.t.Helper()
	slow := w.newInstance()
	w.apply([]*instance{slow}, true)
	const each = 3
	answers := make(chan error, 2*each)
	for n := range 2 * each {
		c := slowClient(w.passing, n%2 == 0)
		go func() {
			answers <- c.once(context.Background())
			c.end()
		}()
	}
	for range 2 * each {
		<-slow.arrived
	}
	w.apply(w.instances, false)
	close(slow.release)
	for range 2 * each {
		if err := <-answers; err != nil {
			w.t.Errorf("a request under way when its listener was removed: %v", err)
		}
	}
	w.leaving = append(w.leaving, slow)
}

// slowClient asks for what is not answered at once.
func slowClient(addr string, http2 bool) client {
	c := client{kind: "slow"}
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!http2)
	transport.Protocols.SetUnencryptedHTTP2(http2)
	c.end = transport.CloseIdleConnections
	c.once = func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/slow", http.NoBody)
		if err != nil {
			return err
		}
		res, err := transport.RoundTrip(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusNoContent {
			return fmt.Errorf("%s %q", res.Status, res.Header.Get("Recloser-Reason"))
		}
		return nil
	}
	return c
}

// apply gives the proxy a configuration and waits until it is in force.
func (w *world) apply(of []*instance, passing bool) {
	w.t.Helper()
	w.proxy.Reload(w.config(of, passing))
	mesh.Until(w.t, "the configuration to be in force", func() error { return w.inForce(of, passing) })
}

// inForce tells whether the proxy has the endpoints and the listeners.
func (w *world) inForce(of []*instance, passing bool) error {
	text, err := w.proxy.Get("/clusters")
	if err != nil {
		return err
	}
	var live struct {
		Clusters []struct {
			Name      string
			Endpoints []struct{ Address string }
		}
	}
	if err := json.Unmarshal([]byte(text), &live); err != nil {
		return err
	}
	have := make(map[string]bool)
	for _, c := range live.Clusters {
		for _, e := range c.Endpoints {
			have[c.Name+" "+e.Address] = true
		}
	}
	for _, in := range of {
		for _, want := range []string{"h1 " + in.http, "h2 " + in.http, "large " + in.http, "grpc " + in.grpc, "tcp " + in.tcp} {
			if !have[want] {
				return fmt.Errorf("no endpoint %s", want)
			}
			delete(have, want)
		}
	}
	for other := range have {
		return fmt.Errorf("endpoint %s is still there", other)
	}
	dump, err := w.proxy.Get("/config_dump")
	if err != nil {
		return err
	}
	if idle := fmt.Sprintf("%.0fs", w.idle.Seconds()); !strings.Contains(dump, idle) {
		return fmt.Errorf("no listener has %s", idle)
	}
	c, err := net.Dial("tcp", w.passing)
	if err == nil {
		c.Close()
	}
	if open := err == nil; open != passing {
		return fmt.Errorf("the listener that comes and goes is open: %v", open)
	}
	_, err = w.proxy.Get("/ready")
	return err
}

// end retires all that is left of the world but the proxy.
func (w *world) end() {
	w.retire(w.left)
	w.retire(w.leaving)
	w.retire(w.instances)
	w.retiring.Wait()
}

// closed waits until the callers' connections have ended.
func (w *world) closed() {
	w.t.Helper()
	mesh.Until(w.t, "the callers' connections to end", func() error {
		open, err := w.proxy.Metric("tcp_open_connections", `peer="src"`)
		if err == nil && open != 0 {
			err = fmt.Errorf("%v are open", open)
		}
		return err
	})
}

// nothingLeft holds the proxy to what it was before. Reading its metrics makes
// it collect what is dead, sooner or later.
func (w *world) nothingLeft(before mesh.Figures) {
	w.t.Helper()
	w.closed()
	var after mesh.Figures
	mesh.Until(w.t, "what the traffic took to be given back", func() error {
		var err error
		if after, err = w.proxy.Figures(); err != nil {
			return err
		}
		if after.Goroutines > before.Goroutines+goroutinesLeft || after.Heap > before.Heap+heapLeft {
			return fmt.Errorf("%d goroutines and %d bytes on the heap; before there were %d and %d",
				after.Goroutines, after.Heap, before.Goroutines, before.Heap)
		}
		return nil
	})
	w.t.Logf("goroutines %d, then %d; heap %.1f MiB, then %.1f; private memory %.1f MiB, then %.1f",
		before.Goroutines, after.Goroutines, mib(before.Heap), mib(after.Heap), mib(before.Private), mib(after.Private))
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }
