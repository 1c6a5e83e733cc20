package xds

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/anypb"

	reportv1 "github.com/reclosermesh/recloser/api/report/v1"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

func startClient(t *testing.T, address string, change func(*Config)) (*Client, *recorder) {
	t.Helper()
	sink := newRecorder()
	cfg := Config{Address: address, Node: node(), Sink: sink, Logger: quiet(), MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond}
	if change != nil {
		change(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	return NewClient(cfg), sink
}

func TestSubscribeAckAndChange(t *testing.T) {
	server, address := serve(t)
	c, sink := startClient(t, address, nil)
	c.Subscribe(Cluster, "b", "a")
	run(t, c.Run)
	s := receive(t, "stream", server.streams)
	first := receive(t, "request", s.requests)
	if first.GetNode().GetId() != "pod.ns" {
		t.Errorf("the first request has node %v", first.GetNode())
	}
	if diff := cmp.Diff([]string{"a", "b"}, first.GetResourceNamesSubscribe()); diff != "" {
		t.Error(diff)
	}
	s.answers <- clusterAnswer(t, "n1", map[string]string{"a": "1"}, "b")
	if diff := cmp.Diff([]string{"-b", "a"}, receive(t, "update", sink.updates).names()); diff != "" {
		t.Error(diff)
	}
	ack := receive(t, "ack", s.requests)
	if ack.GetResponseNonce() != "n1" || ack.GetErrorDetail() != nil || ack.GetNode() != nil {
		t.Errorf("ack: %v", ack)
	}
	c.Subscribe(Cluster, "c")
	if got := receive(t, "request", s.requests).GetResourceNamesSubscribe(); cmp.Diff([]string{"c"}, got) != "" {
		t.Errorf("subscribed %v, want only c", got)
	}
	c.Unsubscribe(Cluster, "a")
	if got := receive(t, "request", s.requests).GetResourceNamesUnsubscribe(); cmp.Diff([]string{"a"}, got) != "" {
		t.Errorf("unsubscribed %v, want only a", got)
	}
	// An answer for a that crossed the unsubscription is acknowledged and not told.
	s.answers <- clusterAnswer(t, "n2", map[string]string{"a": "2"})
	if u := receive(t, "update", sink.updates); len(u.names()) != 0 {
		t.Errorf("told of %v, which is not wanted", u.names())
	}
}

func TestNodeIsSentThoughNothingIsWantedAtFirst(t *testing.T) {
	server, address := serve(t)
	c, _ := startClient(t, address, nil)
	run(t, c.Run)
	s := receive(t, "stream", server.streams)
	c.Subscribe(Listener, Wildcard)
	if r := receive(t, "request", s.requests); r.GetNode().GetId() != "pod.ns" {
		t.Errorf("node %v", r.GetNode())
	}
}

func TestNackNamesWhatIsWrong(t *testing.T) {
	server, address := serve(t)
	metrics := new(telemetry.XDSMetrics)
	c, sink := startClient(t, address, func(cfg *Config) { cfg.Metrics = metrics })
	c.Subscribe(Cluster, "good", "bad", "garbled")
	run(t, c.Run)
	s := receive(t, "stream", server.streams)
	receive(t, "request", s.requests)
	answer := clusterAnswer(t, "n1", map[string]string{"good": "1", "bad": "1"})
	answer.Resources = append(answer.Resources, &discoveryv3.Resource{
		Name: "garbled", Version: "1", Resource: &anypb.Any{TypeUrl: string(Cluster), Value: []byte{0xff}},
	})
	s.answers <- answer
	if diff := cmp.Diff([]string{"bad", "good"}, receive(t, "update", sink.updates).names()); diff != "" {
		t.Error(diff)
	}
	nack := receive(t, "nack", s.requests)
	for _, want := range []string{"bad: connect_timeout -1s: must be positive", "garbled: Cluster cannot be decoded"} {
		if got := nack.GetErrorDetail().GetMessage(); nack.GetResponseNonce() != "n1" || !strings.Contains(got, want) {
			t.Errorf("nack of %q says %q, not %q", nack.GetResponseNonce(), got, want)
		}
	}
	// After a reconnect only what was taken counts as known.
	s.end <- errors.New("gone")
	s = receive(t, "second stream", server.streams)
	again := receive(t, "request", s.requests)
	if diff := cmp.Diff(map[string]string{"good": "1"}, again.GetInitialResourceVersions()); diff != "" {
		t.Error(diff)
	}
}

func TestReconnectSubscribesAgainWithVersions(t *testing.T) {
	server, address := serve(t)
	c, sink := startClient(t, address, nil)
	c.Subscribe(Cluster, "a", "b", "c")
	run(t, c.Run)
	s := receive(t, "stream", server.streams)
	receive(t, "request", s.requests)
	s.answers <- clusterAnswer(t, "n1", map[string]string{"a": "1", "b": "7"})
	receive(t, "update", sink.updates)
	receive(t, "ack", s.requests)
	s.answers <- clusterAnswer(t, "n2", nil, "b")
	receive(t, "update", sink.updates)
	receive(t, "ack", s.requests)
	c.Unsubscribe(Cluster, "c")
	receive(t, "unsubscription", s.requests)
	s.end <- errors.New("restart")

	s = receive(t, "second stream", server.streams)
	r := receive(t, "request", s.requests)
	if r.GetNode().GetId() != "pod.ns" {
		t.Errorf("the new stream's first request has node %v", r.GetNode())
	}
	if diff := cmp.Diff([]string{"a", "b"}, r.GetResourceNamesSubscribe()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"a": "1"}, r.GetInitialResourceVersions()); diff != "" {
		t.Error(diff)
	}
}

func TestControlPlaneThatComesLate(t *testing.T) {
	// An address where nothing listens, until something does.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	dialled := make(chan struct{}, 1024)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Close()
			dialled <- struct{}{}
		}
	}()
	t.Cleanup(func() { ln.Close() })
	c, _ := startClient(t, address, nil)
	run(t, c.Run)
	for range 4 {
		receive(t, "attempt", dialled)
	}
}

func TestUnknownTypeIsRejected(t *testing.T) {
	server, address := serve(t)
	c, _ := startClient(t, address, nil)
	c.Subscribe(Cluster, "a")
	run(t, c.Run)
	s := receive(t, "stream", server.streams)
	receive(t, "request", s.requests)
	s.answers <- &discoveryv3.DeltaDiscoveryResponse{TypeUrl: "type.googleapis.com/x.Y", Nonce: "n"}
	if r := receive(t, "nack", s.requests); r.GetErrorDetail() == nil {
		t.Errorf("accepted: %v", r)
	}
}

func TestConfigValidate(t *testing.T) {
	err := (&Config{MinBackoff: 2, MaxBackoff: 1}).Validate()
	for _, want := range []string{"address", "node id", "back-off"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}

type fakeReports struct {
	wake  chan struct{}
	queue chan *reportv1.Report
}

func (f *fakeReports) Wake() <-chan struct{}   { return f.wake }
func (f *fakeReports) Return(*reportv1.Report) {}

func (f *fakeReports) Collect(all bool) *reportv1.Report {
	if all {
		return &reportv1.Report{Clusters: []*reportv1.ClusterState{{Cluster: "all"}}}
	}
	select {
	case r := <-f.queue:
		f.wake = make(chan struct{})
		return r
	default:
		return nil
	}
}

func TestReports(t *testing.T) {
	server, address := serve(t)
	reports := &fakeReports{wake: make(chan struct{}), queue: make(chan *reportv1.Report, 1)}
	c, _ := startClient(t, address, func(cfg *Config) { cfg.Reports = reports })
	c.Subscribe(Cluster, "a")
	run(t, c.Run)
	s := receive(t, "stream", server.streams)
	receive(t, "request", s.requests)
	s.answers <- clusterAnswer(t, "n1", nil, "a")
	first := receive(t, "report", server.reports)
	if first.GetNode() != "pod.ns" || len(first.GetClusters()) != 1 || first.GetClusters()[0].GetCluster() != "all" {
		t.Errorf("first report: %v", first)
	}
	reports.queue <- &reportv1.Report{Events: []*reportv1.Event{{Cause: "consecutive_failures"}}}
	close(reports.wake) // and closed it stays until Collect
	if r := receive(t, "report", server.reports); len(r.GetEvents()) != 1 {
		t.Errorf("second report: %v", r)
	}
}
