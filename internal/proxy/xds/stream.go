package xds

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// maxDetail bounds the reasons that a NACK carries, in bytes.
const maxDetail = 4 << 10

// discover runs one delta ADS stream until it breaks or ctx ends, and the
// reports beside it from the first answer on. progress is true when anything
// came.
func (c *Client) discover(ctx context.Context, conn *grpc.ClientConn) (progress bool, err error) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer c.cfg.Metrics.Connected(false)
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return false, err
	}
	answers := make(chan *discoveryv3.DeltaDiscoveryResponse)
	broken := make(chan error, 1)
	wg.Go(func() {
		for {
			answer, err := stream.Recv()
			if err != nil {
				broken <- err
				return
			}
			select {
			case answers <- answer:
			case <-ctx.Done():
				return
			}
		}
	})

	requests := c.subs.first()
	if len(requests) > 0 {
		requests[0].Node = c.cfg.Node
	}
	named := len(requests) > 0
	for {
		for _, r := range requests {
			if !named {
				r.Node, named = c.cfg.Node, true
			}
			if err := stream.Send(r); err != nil {
				return progress, sendFailed(err, broken, answers)
			}
		}
		select {
		case answer := <-answers:
			if !progress && c.cfg.Reports != nil {
				// A control plane of another make has no such service: no alarm.
				wg.Go(func() {
					c.forever(ctx, slog.LevelDebug, "reports", func(ctx context.Context) (bool, error) { return c.report(ctx, conn) })
				})
			}
			progress = true
			c.cfg.Metrics.Connected(true)
			requests = []*discoveryv3.DeltaDiscoveryRequest{c.take(answer)}
		case <-c.subs.wake:
			requests = c.subs.changes()
		case err := <-broken:
			return progress, err
		case <-ctx.Done():
			_ = stream.CloseSend()
			return progress, ctx.Err()
		}
	}
}

// take hands an answer to the Sink and gives the ACK or NACK.
func (c *Client) take(answer *discoveryv3.DeltaDiscoveryResponse) *discoveryv3.DeltaDiscoveryRequest {
	t := Type(answer.GetTypeUrl())
	reply := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: answer.GetTypeUrl(), ResponseNonce: answer.GetNonce()}
	if newMessage(t) == nil {
		return nack(reply, []Rejection{{Name: string(t), Err: errors.New("not a type that a proxy asks for")}})
	}
	update := Update{Type: t}
	var rejected []Rejection
	for _, r := range answer.GetResources() {
		if !c.subs.wants(t, r.GetName(), r.GetAliases()) {
			continue
		}
		m, err := decode(t, r.GetResource())
		if err != nil {
			rejected = append(rejected, Rejection{Name: r.GetName(), Err: err})
			continue
		}
		update.Set = append(update.Set, Resource{Name: r.GetName(), Aliases: r.GetAliases(), Version: r.GetVersion(), Message: m})
	}
	for _, name := range answer.GetRemovedResources() {
		if c.subs.wants(t, name, nil) {
			update.Removed = append(update.Removed, name)
		}
	}
	rejected = append(rejected, c.cfg.Sink.Apply(update)...)
	c.subs.took(update, rejected)
	c.cfg.Metrics.Update(len(rejected) == 0)
	if len(rejected) == 0 {
		return reply
	}
	for _, r := range rejected {
		c.cfg.Logger.Error("resource rejected; the last good one stays", "type", t.String(), "name", r.Name, "error", r.Err)
	}
	return nack(reply, rejected)
}

func nack(reply *discoveryv3.DeltaDiscoveryRequest, rejected []Rejection) *discoveryv3.DeltaDiscoveryRequest {
	var b strings.Builder
	for i, r := range rejected {
		if b.Len() > maxDetail {
			fmt.Fprintf(&b, "; and %d more", len(rejected)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s: %v", r.Name, r.Err)
	}
	reply.ErrorDetail = &statuspb.Status{
		Code:    int32(codes.InvalidArgument),
		Message: strings.ToValidUTF8(b.String(), "\uFFFD"),
	}
	return reply
}

// sendFailed gives the reason of a failed Send, which only Recv is told.
func sendFailed[T any](err error, broken <-chan error, unread <-chan T) error {
	for {
		select {
		case reason := <-broken:
			return errors.Join(err, reason)
		case <-unread: // the reader must not be stuck with it
		}
	}
}
