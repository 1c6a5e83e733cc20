package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/admin"
	"github.com/reclosermesh/recloser/internal/proxy/journal"
	"github.com/reclosermesh/recloser/internal/proxy/snapshot"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/proxy/xds"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// source is where resources come from: a control plane or a file.
type source interface {
	xds.Subscriptions
	Run(ctx context.Context) error
}

// Run is the proxy. It serves until ctx ends, or /shutdown is asked for, then
// drains for Config.DrainTimeout at most and returns nil. Losing the control
// plane is no error; not being able to begin is.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	adminPort, err := net.Listen("tcp", cfg.Admin)
	if err != nil {
		return fmt.Errorf("admin port: %w", err)
	}
	defer adminPort.Close()

	// ctx ends the serving; work ends everything, after the draining.
	ctx, shutdown := context.WithCancel(ctx)
	defer shutdown()
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()

	clock := breaker.Clock(breaker.Monotonic)
	wall := journal.NewWall(clock)
	metrics := telemetry.NewProxy(telemetry.Options{Version: cfg.Version})
	events := journal.New(cfg.Events, wall)
	set := upstream.NewSet(upstream.SetOptions{
		Clock: clock, Metrics: metrics, Logger: cfg.Logger,
		OnEvent: func(c *upstream.Cluster, ev breaker.Event) {
			events.Add(c.Name(), c.EndpointLabels(ev.Endpoint), ev)
		},
	})
	store := snapshot.New(snapshot.Config{Set: set, HostIdle: cfg.HostIdle, MaxHosts: cfg.MaxHosts, Logger: cfg.Logger})
	from := newSource(&cfg, adminPort.Addr().String(), store, metrics, newReporter(set, events, wall))
	store.Attach(from)
	accessLog := newAccessLog(&cfg)
	serving := newServing(&cfg, store, metrics, accessLog)
	port := admin.New(admin.Config{
		Metrics: metrics.Handler(), Ready: serving.ready, Resources: store.Resources, Clusters: set.Clusters,
		Journal: events, Wall: wall, Now: clock, Shutdown: shutdown, Logger: cfg.Logger,
	})

	g, work := errgroup.WithContext(work)
	g.Go(func() error { return set.Run(work) })
	g.Go(func() error { return store.Run(work) })
	g.Go(func() error { return from.Run(work) })
	g.Go(func() error { return accessLog.Run(work) })
	g.Go(func() error { return port.Serve(work, adminPort) })
	g.Go(func() error {
		defer stop()
		return serving.run(ctx, work)
	})
	cfg.Logger.Info("proxy started", "node", cfg.Node.id(), "admin", adminPort.Addr().String(), "xds", cfg.XDS, "resources", cfg.Resources)
	err = g.Wait()
	cfg.Logger.Info("proxy ended")
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func newSource(cfg *Config, adminAddress string, store *snapshot.Store, metrics *telemetry.Proxy, reports xds.Reports) source {
	if cfg.Resources != "" {
		return xds.NewFile(xds.FileConfig{Path: cfg.Resources, Sink: store, Logger: cfg.Logger})
	}
	return xds.NewClient(xds.Config{
		Address: cfg.XDS, Node: cfg.node(adminAddress), Sink: store, Reports: reports,
		Metrics: metrics.XDS(), Logger: cfg.Logger, MinBackoff: cfg.MinBackoff, MaxBackoff: cfg.MaxBackoff,
	})
}

func newAccessLog(cfg *Config) *telemetry.AccessLog {
	if cfg.AccessLog == nil {
		return nil
	}
	return telemetry.NewAccessLog(cfg.AccessLog, cfg.AccessLogFormat, cfg.Logger)
}

// node is the xDS node with the metadata that the control plane reads.
func (c *Config) node(adminAddress string) *corev3.Node {
	n := &c.Node
	fields := make(map[string]*structpb.Value)
	put := func(key, value string) {
		if value != "" {
			fields[key] = structpb.NewStringValue(value)
		}
	}
	for key, value := range n.Metadata {
		put(key, value)
	}
	put("NAMESPACE", n.Namespace)
	put("POD", n.Pod)
	put("WORKLOAD", n.Workload)
	put("WORKLOAD_KIND", n.WorkloadKind)
	put("SERVICE_ACCOUNT", n.ServiceAccount)
	put("ADMIN", adminAddress)
	put("OUTBOUND", c.Outbound)
	node := &corev3.Node{
		Id:                   n.id(),
		Metadata:             &structpb.Struct{Fields: fields},
		UserAgentName:        "recloser-proxy",
		UserAgentVersionType: &corev3.Node_UserAgentVersion{UserAgentVersion: c.Version},
	}
	if n.Locality != "" {
		region, rest, _ := strings.Cut(n.Locality, "/")
		zone, subZone, _ := strings.Cut(rest, "/")
		node.Locality = &corev3.Locality{Region: region, Zone: zone, SubZone: subZone}
	}
	if n.Workload != "" && n.Namespace != "" {
		node.Cluster = n.Workload + "." + n.Namespace
	}
	return node
}
