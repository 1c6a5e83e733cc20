package xds_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/translate"
	"github.com/reclosermesh/recloser/internal/control/xds"
	"github.com/reclosermesh/recloser/internal/control/xds/xdstest"
)

// TestDebounce: changes in quick succession are told once it is quiet for 50
// ms, and after 500 ms even if it is never quiet; a subscription is answered
// at once.
func TestDebounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{t: t, server: xds.New(xds.Config{}), objects: map[source.Key]source.Object{}}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		wg.Go(func() { _ = m.server.Run(ctx) })
		m.set(service("a", nil))
		got := make(chan *discoveryv3.DeltaDiscoveryResponse, 100)
		f := &fakeStream{ctx: ctx, reqs: make(chan *discoveryv3.DeltaDiscoveryRequest, 8), got: got}
		wg.Go(func() { _ = m.server.DeltaAggregatedResources(f) })
		start := time.Now()
		f.reqs <- &discoveryv3.DeltaDiscoveryRequest{
			Node: xdstest.Node("p", "n", nil), TypeUrl: translate.EndpointType, ResourceNamesSubscribe: []string{cluster("a")},
		}
		synctest.Wait()
		if len(got) != 1 || time.Since(start) != 0 {
			t.Fatalf("%d answers to a subscription after %v", len(got), time.Since(start))
		}
		<-got

		for i := range 3 {
			m.set(instance("a", fmt.Sprintf("10.0.0.%d", i)))
			time.Sleep(20 * time.Millisecond) //nolint:forbidigo // the clock of the bubble
		}
		// The last change was 20 ms ago.
		start = time.Now()
		<-got
		if d := time.Since(start); d != 30*time.Millisecond {
			t.Errorf("told %v after the last change, want 50ms", d+20*time.Millisecond)
		}

		start = time.Now()
		for i := range 30 {
			m.set(instance("a", fmt.Sprintf("10.0.1.%d", i)))
			time.Sleep(40 * time.Millisecond) //nolint:forbidigo // the clock of the bubble
		}
		if d := time.Since(start); d != 1200*time.Millisecond {
			t.Fatal(d)
		}
		synctest.Wait()
		if len(got) != 2 {
			t.Errorf("told %d times in 1.2s without a quiet moment, want 2", len(got))
		}
	})
}
