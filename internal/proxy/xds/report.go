package xds

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"

	reportv1 "github.com/reclosermesh/recloser/api/report/v1"
)

const (
	defaultReportInterval = time.Second
	minReportInterval     = 50 * time.Millisecond
	maxReportInterval     = time.Minute
)

// Reports is what the control plane is told. The methods are called from one
// goroutine.
type Reports interface {
	// Wake is closed when something happened that should be told at once. After
	// Collect it is another channel.
	Wake() <-chan struct{}
	// Collect gives what is new since the last call, nil for nothing; with
	// all, every state there is.
	Collect(all bool) *reportv1.Report
	// Return gives back a report that could not be sent: its events must be in
	// the next one.
	Return(*reportv1.Report)
}

// report runs one stream of reports until it breaks or ctx ends. A control
// plane that does not take reports ends the stream with Unimplemented, and is
// asked again seldom, by the back-off of forever.
func (c *Client) report(ctx context.Context, conn *grpc.ClientConn) (progress bool, err error) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := reportv1.NewReportServiceClient(conn).Stream(ctx)
	if err != nil {
		return false, err
	}
	acks := make(chan *reportv1.Ack)
	broken := make(chan error, 1)
	wg.Go(func() {
		for {
			ack, err := stream.Recv()
			if err != nil {
				broken <- err
				return
			}
			select {
			case acks <- ack:
			case <-ctx.Done():
				return
			}
		}
	})

	interval := defaultReportInterval
	tick := time.NewTimer(interval)
	defer tick.Stop()
	for all := true; ; all = false {
		if r := c.cfg.Reports.Collect(all); r != nil || all {
			if r == nil {
				r = &reportv1.Report{}
			}
			r.Node = c.cfg.Node.GetId()
			if err := stream.Send(r); err != nil {
				c.cfg.Reports.Return(r)
				return progress, sendFailed(err, broken, acks)
			}
		}
		tick.Reset(interval)
		wake := c.cfg.Reports.Wake()
		for waiting := true; waiting; {
			select {
			case ack := <-acks:
				progress = true
				if ack.GetInterval() != nil {
					interval = min(max(ack.GetInterval().AsDuration(), minReportInterval), maxReportInterval)
				}
			case <-wake:
				wake = nil                    // it stays closed until Collect
				tick.Reset(minReportInterval) // events come in swarms
			case <-tick.C:
				waiting = false
			case err := <-broken:
				return progress, err
			case <-ctx.Done():
				_ = stream.CloseSend()
				return progress, ctx.Err()
			}
		}
	}
}
