package xds

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/reclosermesh/recloser/internal/telemetry"
)

// Defaults of a Config.
const (
	DefaultMinBackoff = 200 * time.Millisecond
	DefaultMaxBackoff = 5 * time.Second
	DefaultMaxMessage = 64 << 20
)

// Config of a Client.
type Config struct {
	// Address of the control plane, HOST:PORT. Required.
	Address string
	// Node says who we are; Id is required. It is sent on each new stream.
	Node *corev3.Node
	// Sink takes the updates. Required.
	Sink Sink
	// Reports is what the control plane is told of breakers; nil: nothing.
	Reports Reports
	// Metrics counts updates; nil: none.
	Metrics *telemetry.XDSMetrics
	Logger  *slog.Logger
	// MinBackoff and MaxBackoff bound the time between two attempts to reach
	// the control plane; it doubles, and half of it is random. 0: the defaults.
	MinBackoff, MaxBackoff time.Duration
	// MaxMessage bounds one answer in bytes. 0: DefaultMaxMessage.
	MaxMessage int
	// DialOptions are added, for transport security and for other dialers.
	DialOptions []grpc.DialOption
}

// Validate says everything that is wrong with c.
func (c *Config) Validate() error {
	var errs []error
	if c.Address == "" {
		errs = append(errs, errors.New(`xds: address "": must be HOST:PORT of the control plane`))
	}
	if c.Node.GetId() == "" {
		errs = append(errs, errors.New(`xds: node id "": must name this proxy, as POD.NAMESPACE`))
	}
	if c.MinBackoff < 0 || c.MaxBackoff < 0 || (c.MaxBackoff > 0 && c.MinBackoff > c.MaxBackoff) {
		errs = append(errs, fmt.Errorf("xds: back-off from %v to %v: must not be negative, and rise", c.MinBackoff, c.MaxBackoff))
	}
	return errors.Join(errs...)
}

// Client holds the connection to one control plane.
type Client struct {
	cfg  Config
	subs *subscriptions
}

// NewClient makes a Client of a valid Config.
func NewClient(cfg Config) *Client {
	if cfg.MinBackoff == 0 {
		cfg.MinBackoff = DefaultMinBackoff
	}
	if cfg.MaxBackoff == 0 {
		cfg.MaxBackoff = max(DefaultMaxBackoff, cfg.MinBackoff)
	}
	if cfg.MaxMessage == 0 {
		cfg.MaxMessage = DefaultMaxMessage
	}
	if cfg.Metrics == nil {
		cfg.Metrics = new(telemetry.XDSMetrics)
	}
	return &Client{cfg: cfg, subs: newSubscriptions()}
}

// Subscribe asks for resources by name, now and on each stream to come.
func (c *Client) Subscribe(t Type, names ...string) { c.subs.subscribe(t, names) }

// Unsubscribe ends what Subscribe began. What is removed later by the server is
// no longer told.
func (c *Client) Unsubscribe(t Type, names ...string) { c.subs.unsubscribe(t, names) }

// Run holds the connection until ctx ends. Losing the control plane is no
// error: it is sought again for ever.
func (c *Client) Run(ctx context.Context) error {
	conn, err := grpc.NewClient("passthrough:///"+c.cfg.Address, c.dialOptions()...)
	if err != nil {
		return fmt.Errorf("xds: control plane %q: %w", c.cfg.Address, err)
	}
	defer conn.Close()
	c.forever(ctx, slog.LevelWarn, "xds", func(ctx context.Context) (bool, error) { return c.discover(ctx, conn) })
	return nil
}

func (c *Client) dialOptions() []grpc.DialOption {
	// gRPC connects when a stream is wanted, and forever decides alone when
	// that is: gRPC's own back-off must be over by then.
	quick := min(c.cfg.MinBackoff/4, 50*time.Millisecond)
	return append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: quick, Multiplier: 1, MaxDelay: quick},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(c.cfg.MaxMessage)),
		// One quiet connection: small buffers.
		grpc.WithReadBufferSize(4 << 10), grpc.WithWriteBufferSize(4 << 10),
	}, c.cfg.DialOptions...)
}

// forever runs one stream after the other, with growing pauses after streams
// on which nothing came.
func (c *Client) forever(ctx context.Context, level slog.Level, what string, stream func(context.Context) (progress bool, err error)) {
	pause := c.cfg.MinBackoff
	for {
		progress, err := stream(ctx)
		if ctx.Err() != nil {
			return
		}
		if progress {
			pause = c.cfg.MinBackoff
		}
		wait := pause/2 + rand.N(pause/2+1)
		c.cfg.Logger.Log(ctx, level, "control plane is not reachable; the last good configuration stays",
			"stream", what, "address", c.cfg.Address, "error", err, "again_in", wait)
		pause = min(pause*2, c.cfg.MaxBackoff)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}
