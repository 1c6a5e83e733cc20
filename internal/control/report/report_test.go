package report_test

import (
	"context"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	reportv1 "github.com/reclosermesh/recloser/api/report/v1"
	"github.com/reclosermesh/recloser/internal/control/report"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type server struct {
	*report.Store
	t      *testing.T
	ctx    context.Context
	client reportv1.ReportServiceClient
}

func start(t *testing.T, cfg report.Config) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s := &server{Store: report.New(cfg), t: t}
	g := grpc.NewServer(grpc.WaitForHandlers(true))
	reportv1.RegisterReportServiceServer(g, s.Store)
	done := make(chan struct{})
	go func() { _ = g.Serve(l); close(done) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	s.ctx, s.client = ctx, reportv1.NewReportServiceClient(conn)
	t.Cleanup(func() { cancel(); _ = conn.Close(); g.Stop(); <-done })
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open begins a stream with a first report.
func (s *server) open(first *reportv1.Report) reportv1.ReportService_StreamClient {
	s.t.Helper()
	c, err := s.client.Stream(s.ctx)
	must(s.t, err)
	must(s.t, c.Send(first))
	ack, err := c.Recv()
	must(s.t, err)
	if ack.GetInterval().AsDuration() != time.Second {
		s.t.Errorf("interval %v", ack.GetInterval())
	}
	return c
}

func (s *server) eventually(ok func() bool) {
	s.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			s.t.Fatal("the condition did not come true")
		}
	}
}

func state(cluster, address string, st reportv1.State) *reportv1.ClusterState {
	return &reportv1.ClusterState{Cluster: cluster, Endpoints: []*reportv1.EndpointState{{Address: address, State: st}}}
}

// TestStates: of each node and cluster the last one, until it is removed, and
// of a node until its stream ends.
func TestStates(t *testing.T) {
	s := start(t, report.Config{Clusters: 2})
	a := s.open(&reportv1.Report{Node: "a.n", Clusters: []*reportv1.ClusterState{state("y", "1", reportv1.State_CLOSED), state("x", "1", reportv1.State_CLOSED), state("z", "1", reportv1.State_OPEN)}})
	b := s.open(&reportv1.Report{Node: "b.n", Clusters: []*reportv1.ClusterState{state("x", "1", reportv1.State_OPEN)}})
	s.eventually(func() bool { return len(s.Clusters()) == 3 }) // z is beyond the bound
	if c := s.Clusters(); c[0].Node != "a.n" || c[0].GetCluster() != "x" || c[1].GetCluster() != "y" || c[2].Node != "b.n" {
		t.Errorf("clusters %v", c)
	}
	must(t, a.Send(&reportv1.Report{Clusters: []*reportv1.ClusterState{state("x", "1", reportv1.State_HALF_OPEN)}, RemovedClusters: []string{"y"}}))
	s.eventually(func() bool {
		c := s.Clusters()
		return len(c) == 2 && c[0].Endpoints[0].State == reportv1.State_HALF_OPEN
	})
	must(t, b.CloseSend())
	s.eventually(func() bool { return len(s.Clusters()) == 1 })
	// A proxy that connects again before its old stream has ended is the one
	// that counts, whatever the old one says or when it ends.
	again := s.open(&reportv1.Report{Node: "a.n", Clusters: []*reportv1.ClusterState{state("new", "1", reportv1.State_CLOSED)}})
	s.eventually(func() bool { c := s.Clusters(); return len(c) == 1 && c[0].GetCluster() == "new" })
	must(t, a.Send(&reportv1.Report{Clusters: []*reportv1.ClusterState{state("old", "1", reportv1.State_CLOSED)}}))
	must(t, a.CloseSend())
	_, err := a.Recv() // the server has done with it
	if err == nil {
		t.Error("the old stream goes on")
	}
	if c := s.Clusters(); len(c) != 1 || c[0].GetCluster() != "new" {
		t.Errorf("clusters %v", c)
	}
	must(t, again.CloseSend())
	s.eventually(func() bool { return len(s.Clusters()) == 0 })
}

// TestEvents: the last ones are kept, in order; a slow reader loses and is told
// how many.
func TestEvents(t *testing.T) {
	s := start(t, report.Config{Events: 3})
	c := s.open(&reportv1.Report{Node: "a.n"})
	send := func(causes ...string) {
		t.Helper()
		r := &reportv1.Report{DroppedEvents: 2}
		for _, cause := range causes {
			r.Events = append(r.Events, &reportv1.Event{Cluster: "x", Cause: cause})
		}
		must(t, c.Send(r))
	}
	send("1", "2")
	s.eventually(func() bool { return len(s.Events(0)) == 2 })
	kept, slow := s.Subscribe(1, 1)
	defer slow.Close()
	if len(kept) != 1 || kept[0].Cause != "2" || kept[0].Seq != 2 || kept[0].Node != "a.n" {
		t.Errorf("kept %v", kept)
	}
	_, quick := s.Subscribe(0, 10)
	send("3", "4", "5")
	for _, want := range []string{"3", "4", "5"} {
		if e := <-quick.C; e.Cause != want {
			t.Errorf("event %v, want %s", e, want)
		}
	}
	if all := s.Events(0); len(all) != 3 || all[0].Cause != "3" || all[2].Cause != "5" || all[2].Seq != 5 {
		t.Errorf("kept %v", all)
	}
	if e := <-slow.C; e.Cause != "3" || slow.Dropped() != 2 || slow.Dropped() != 0 {
		t.Errorf("the slow reader has %v", e)
	}
	if s.Dropped() != 4 {
		t.Errorf("proxies dropped %d", s.Dropped())
	}
	quick.Close()
	quick.Close()
	if _, ok := <-quick.C; ok {
		t.Error("a closed subscription is open")
	}
}

func TestNodeWithoutName(t *testing.T) {
	s := start(t, report.Config{})
	c, err := s.client.Stream(s.ctx)
	must(t, err)
	must(t, c.Send(&reportv1.Report{}))
	if _, err := c.Recv(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("error %v", err)
	}
}
