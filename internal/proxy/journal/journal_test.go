package journal

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	reportv1 "github.com/reclosermesh/recloser/api/report/v1"
	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

func seqs(entries []Entry) []uint64 {
	var n []uint64
	for _, e := range entries {
		n = append(n, e.Seq)
	}
	return n
}

func TestBoundedWithWordOfWhatWasMissed(t *testing.T) {
	j := New(3, NewWall(breaker.Monotonic))
	_, _, more := j.Since(0)
	for i := 1; i <= 5; i++ {
		j.Add("c", telemetry.Labels{}, breaker.Event{})
		entries, missed, _ := j.Since(uint64(i) - 1)
		if diff := cmp.Diff([]uint64{uint64(i)}, seqs(entries)); diff != "" || missed != 0 {
			t.Errorf("after %d: %s, missed %d", i, diff, missed)
		}
	}
	select {
	case <-more:
	default:
		t.Error("a reader who waits was not woken")
	}
	for seq, want := range map[uint64]struct {
		seqs   []uint64
		missed uint64
	}{0: {[]uint64{3, 4, 5}, 2}, 1: {[]uint64{3, 4, 5}, 1}, 2: {[]uint64{3, 4, 5}, 0}, 4: {[]uint64{5}, 0}, 5: {nil, 0}} {
		entries, missed, _ := j.Since(seq)
		if diff := cmp.Diff(want.seqs, seqs(entries)); diff != "" || missed != want.missed {
			t.Errorf("since %d: missed %d, want %d, %s", seq, missed, want.missed, diff)
		}
	}
}

func TestEvent(t *testing.T) {
	start := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	j := New(0, Wall{start})
	j.Add("c", telemetry.Labels{Namespace: "ns", Pod: "bad-1", Workload: "bad", WorkloadKind: "Deployment"}, breaker.Event{
		At: time.Second, Endpoint: "10.0.0.1:80", From: breaker.Closed, To: breaker.Open,
		Reason: breaker.ConsecutiveFailures, Detail: "7 failures in a row", Until: 2 * time.Second,
		Last: []breaker.Record{{At: time.Second, Latency: time.Millisecond, Status: 500, GRPC: -1}},
	})
	entries, _, _ := j.Since(0)
	want := &reportv1.Event{
		Time: timestamppb.New(start.Add(time.Second)), Cluster: "c", Endpoint: "10.0.0.1:80",
		From: reportv1.State_CLOSED, To: reportv1.State_OPEN,
		Cause: "consecutive_failures", Detail: "7 failures in a row", Until: timestamppb.New(start.Add(2 * time.Second)),
		LastRequests: []*reportv1.Request{{
			Time: timestamppb.New(start.Add(time.Second)), Status: 500, GrpcStatus: -1,
			Latency: durationpb.New(time.Millisecond), Outcome: "response",
		}},
		Labels: map[string]string{"namespace": "ns", "pod": "bad-1", "workload": "bad", "workload_kind": "Deployment"},
	}
	if diff := cmp.Diff(want, entries[0].Event, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}
