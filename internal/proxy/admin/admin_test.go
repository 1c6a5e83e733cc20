package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/journal"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/proxy/xds"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a port on a real socket, before one cluster with two endpoints.
type rig struct {
	t        *testing.T
	url      string
	set      *upstream.Set
	journal  *journal.Journal
	ready    error
	shutdown chan struct{}
	client   *http.Client
	end      context.CancelFunc
}

const clusterName = "outbound|8080||bb.demo.svc.cluster.local"

func newRig(t *testing.T) *rig {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	now := time.Second
	clock := func() time.Duration { return now }
	wall := journal.NewWall(breaker.Monotonic)
	metrics := telemetry.NewProxy(telemetry.Options{})
	r := &rig{t: t, shutdown: make(chan struct{}, 1), journal: journal.New(0, wall)}
	r.set = upstream.NewSet(upstream.SetOptions{
		Clock: clock, Metrics: metrics, Logger: logger,
		OnEvent: func(c *upstream.Cluster, ev breaker.Event) {
			r.journal.Add(c.Name(), c.EndpointLabels(ev.Endpoint), ev)
		},
	})
	r.set.Apply([]upstream.Config{{
		Name: clusterName, Service: telemetry.ServiceRef{Namespace: "demo", Name: "bb", Port: "8080"},
		Breaker: breaker.LinkerdConsecutive(), Limits: breaker.UnlimitedLimits(),
		Endpoints: []upstream.EndpointConfig{
			{Address: "10.0.0.1:8080", Labels: telemetry.Labels{Namespace: "demo", Pod: "bad-1", Workload: "bad", WorkloadKind: "Deployment"}},
			{Address: "10.0.0.2:8080"},
		},
	}, {
		Name: "inbound|8080||", Direction: telemetry.Inbound, Limits: breaker.UnlimitedLimits(),
		Endpoints: []upstream.EndpointConfig{{Address: "127.1.0.1:8080"}},
	}})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{
		Metrics: metrics.Handler(), Ready: func() error { return r.ready },
		Resources: func() map[xds.Type]map[string]proto.Message {
			return map[xds.Type]map[string]proto.Message{xds.Cluster: {"c": &clusterv3.Cluster{Name: "c"}}}
		},
		Clusters: r.set.Clusters, Journal: r.journal, Wall: wall, Now: clock,
		Shutdown: func() { r.shutdown <- struct{}{} }, Logger: logger,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	transport := &http.Transport{}
	r.client = &http.Client{Transport: transport}
	r.url = "http://" + ln.Addr().String()
	r.end = cancel
	t.Cleanup(func() {
		cancel()
		transport.CloseIdleConnections()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return r
}

// trip opens the breaker of the first endpoint.
func (r *rig) trip() {
	r.t.Helper()
	for _, c := range r.set.Clusters() {
		if c.Name() != clusterName {
			continue
		}
		for range 200 {
			e, permit, ok := c.Pick(time.Second, upstream.Key{})
			if !ok {
				r.t.Fatal("no endpoint is left")
			}
			result := breaker.Result{Status: 200, GRPCStatus: -1}
			if e.Address() == "10.0.0.1:8080" {
				result.Status = 500
			}
			permit.Done(time.Second, result)
		}
	}
}

func (r *rig) get(path string) (int, string) {
	r.t.Helper()
	resp, err := r.client.Get(r.url + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestReadyAndLive(t *testing.T) {
	r := newRig(t)
	if code, body := r.get("/ready"); code != 200 || body != "ready\n" {
		t.Errorf("%d %q", code, body)
	}
	r.ready = errors.New("no configuration yet")
	if code, body := r.get("/ready"); code != 503 || !strings.Contains(body, "no configuration yet") {
		t.Errorf("%d %q", code, body)
	}
	if code, _ := r.get("/live"); code != 200 {
		t.Errorf("/live %d", code)
	}
	if code, _ := r.get("/nothing"); code != 404 {
		t.Errorf("/nothing %d", code)
	}
}

func TestClustersAndBreakers(t *testing.T) {
	r := newRig(t)
	r.trip()
	var got struct{ Clusters []Cluster }
	_, body := r.get("/clusters")
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range got.Clusters {
		names = append(names, c.Direction+" "+c.Name)
	}
	if diff := cmp.Diff([]string{"inbound inbound|8080||", "outbound " + clusterName}, names); diff != "" {
		t.Error(diff)
	}
	_, body = r.get("/breakers?format=json")
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Clusters) != 1 {
		t.Fatalf("%d clusters with breakers", len(got.Clusters))
	}
	c := got.Clusters[0]
	bad := c.Endpoints[0]
	if c.EjectedPercent != 50 || bad.State != "open" || bad.ConsecutiveFailures != 7 || bad.Ejections != 1 ||
		bad.Until == nil || bad.Labels["pod"] != "bad-1" || c.Endpoints[1].State != "closed" {
		t.Errorf("%+v", c)
	}
	_, body = r.get("/breakers")
	if !strings.Contains(body, "bad-1  open") || !strings.Contains(body, "7 failures in a row") || strings.Contains(body, "inbound") {
		t.Errorf("table:\n%s", body)
	}
}

func TestEvents(t *testing.T) {
	r := newRig(t)
	resp, err := r.client.Get(r.url + "/events?follow")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r.trip()
	lines := bufio.NewScanner(resp.Body)
	if !lines.Scan() {
		t.Fatal("nothing follows")
	}
	var ev Event
	if err := json.Unmarshal(lines.Bytes(), &ev); err != nil {
		t.Fatal(err)
	}
	if ev.Seq != 1 || ev.From != "closed" || ev.To != "open" || ev.Cause != "consecutive_failures" || ev.Labels["pod"] != "bad-1" || ev.Until == nil {
		t.Errorf("%+v", ev)
	}
	if _, body := r.get("/events"); strings.Count(body, "\n") != 1 {
		t.Errorf("the last events: %s", body)
	}
	if _, body := r.get("/events?since=1"); body != "" {
		t.Errorf("after the last one: %s", body)
	}
	if code, _ := r.get("/events?since=x"); code != 400 {
		t.Errorf("since=x: %d", code)
	}
	r.end() // a reader who follows must not keep the port open
	if lines.Scan() {
		t.Errorf("more: %s", lines.Text())
	}
}

func TestConfigDumpAndMetrics(t *testing.T) {
	r := newRig(t)
	var dump map[string]map[string]map[string]any
	_, body := r.get("/config_dump")
	if err := json.Unmarshal([]byte(body), &dump); err != nil {
		t.Fatal(err)
	}
	if dump["Cluster"]["c"]["name"] != "c" {
		t.Errorf("%s", body)
	}
	if _, body := r.get("/metrics"); !strings.Contains(body, "recloser_breaker_state{") || !strings.Contains(body, "process_start_time_seconds") {
		t.Errorf("%s", body)
	}
}

func TestShutdown(t *testing.T) {
	r := newRig(t)
	if code, _ := r.get("/shutdown"); code != 405 {
		t.Errorf("GET: %d", code)
	}
	post := func(site string) int {
		q, err := http.NewRequest(http.MethodPost, r.url+"/shutdown", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if site != "" {
			q.Header.Set("Sec-Fetch-Site", site)
		}
		resp, err := r.client.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if code := post("cross-site"); code != 403 || len(r.shutdown) != 0 {
		t.Errorf("from another site: %d", code)
	}
	if code := post(""); code != 202 || len(r.shutdown) != 1 {
		t.Errorf("POST: %d", code)
	}
}
