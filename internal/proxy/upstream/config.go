// Package upstream holds the live side of clusters: their endpoints with
// breakers, loads, limits and pooled connections.
//
// Configuration comes as a Config per cluster; a Set reconciles its live
// clusters with it. What is live (pools, breaker states, counters) is keyed by
// cluster name and endpoint address and outlives every change of
// configuration. Requests meet a Cluster through Pick and Await, and an
// Endpoint through Get and Put (HTTP/1.1), Open (HTTP/2) or Connect (bytes);
// none of these takes a lock that a change of configuration holds for long.
//
// The package knows no messages: a Conn is a byte stream, and what is sent on a
// stream of HTTP/2 is its opener's.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/balance"
	"github.com/reclosermesh/recloser/internal/proxy/http2"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// Defaults of a Config.
const (
	DefaultConnectTimeout = 10 * time.Second // Istio's tcp.connectTimeout
	DefaultIdleTimeout    = time.Hour        // Istio's http.idleTimeout
	DefaultFailFast       = 3 * time.Second  // Linkerd's
	DefaultMaxWaiting     = 10_000           // Linkerd's queue capacity
)

// NoTimeout says that there is no such bound, where 0 stands for a default.
const NoTimeout time.Duration = -1

// Dialer opens the transport to an address: plain TCP, or TLS around it. alpn is
// the application protocol to agree to: "h2", "http/1.1", or "" for whatever
// the transport offers by itself. Plain transports ignore it; one that can
// agree fails where an "h2" is refused.
type Dialer func(ctx context.Context, address, alpn string) (net.Conn, error)

// Protocol is the version of HTTP that a cluster's endpoints speak.
type Protocol uint8

const (
	// AsCaller: a request goes on in the version in which it came (Envoy's
	// use_downstream_protocol_config).
	AsCaller Protocol = iota
	// HTTP1 is HTTP/1.1.
	HTTP1
	// HTTP2 is HTTP/2, by prior knowledge or as TLS agreed to.
	HTTP2
)

// String names the protocol for people.
func (p Protocol) String() string {
	switch p {
	case AsCaller:
		return "as the caller"
	case HTTP1:
		return "HTTP/1.1"
	case HTTP2:
		return "HTTP/2"
	}
	return "unknown"
}

// Config is one cluster as it shall be.
type Config struct {
	Name string
	// Service is what the cluster stands for in metrics and reports.
	Service   telemetry.ServiceRef
	Direction telemetry.Direction
	LB        balance.Policy
	// Choices is how many endpoints balance.LeastRequest compares. 0: 2.
	Choices uint32
	// MinRing and MaxRing bound the size of balance.RingHash's ring, TableSize
	// is that of balance.Maglev's table. 0: Envoy's defaults.
	MinRing, MaxRing, TableSize uint64
	// LocalityWeighted has requests of a priority go to localities by their
	// weights first (Envoy's locality_weighted_lb_config). Otherwise localities
	// make no difference.
	LocalityWeighted bool
	// Overprovision is the factor, in percent, by which a priority or a locality
	// may have too few endpoints ready before others get requests in its place.
	// 0: 140.
	Overprovision uint32
	// Breaker is the policy of the endpoints' breakers. The zero value never
	// opens.
	Breaker breaker.Config
	Limits  breaker.LimitsConfig
	// RetryBudget bounds retries by a share of the requests of some time, beside
	// Limits. nil: they alone.
	RetryBudget *breaker.RetryBudgetConfig
	// ConnectTimeout bounds dialling one connection. 0: DefaultConnectTimeout.
	ConnectTimeout time.Duration
	// IdleTimeout is how long a connection stays pooled unused. 0:
	// DefaultIdleTimeout.
	IdleTimeout time.Duration
	// MaxConnectionDuration is how old a connection may grow: what is older
	// takes no new request. 0: any age.
	MaxConnectionDuration time.Duration
	// KeepAlive are the keep-alive probes of TCP, where Enable is set; otherwise
	// Go's own, every 15 seconds.
	KeepAlive net.KeepAliveConfig
	// TCPIdleTimeout and TCPMaxDuration bound a connection of opaque bytes to
	// this cluster, by what moves and by age. 0: not set here.
	TCPIdleTimeout, TCPMaxDuration time.Duration
	// FailFast is how long requests wait while no endpoint is ready, counted
	// from when the last one went; after that they are refused at once. 0: at
	// once from the start.
	FailFast time.Duration
	// MaxWaiting bounds the requests that wait so at a time. 0: none waits.
	MaxWaiting uint32
	Endpoints  []EndpointConfig
	// Protocol is what the endpoints speak. Default: AsCaller.
	Protocol Protocol
	// HTTP2 is what connections of HTTP/2 promise and allow. Its Clock, OnRead
	// and OnWritten are set by the pool; a SettingsTimeout of 0 is
	// ConnectTimeout.
	HTTP2 http2.Config
	// Transport names what Dial makes; empty: plain TCP. When it changes, no
	// request is sent on connections from before.
	Transport string
	// Dial makes connections. nil: plain TCP.
	Dial Dialer
}

// EndpointConfig is one endpoint as it shall be.
type EndpointConfig struct {
	// Address is HOST:PORT, and the endpoint's identity within its cluster.
	Address string
	// Weight is the share beside other endpoints. 0: 1.
	Weight uint32
	// HashKey stands for the endpoint where requests are placed by a hash.
	// Empty: Address.
	HashKey string
	Place   Place
	Labels  telemetry.Labels
}

// Locality is where an endpoint runs.
type Locality struct{ Region, Zone, SubZone string }

// String is REGION/ZONE/SUBZONE without what is empty at its end.
func (l Locality) String() string {
	switch {
	case l.SubZone != "":
		return l.Region + "/" + l.Zone + "/" + l.SubZone
	case l.Zone != "":
		return l.Region + "/" + l.Zone
	}
	return l.Region
}

// Place is where an endpoint stands among the others of its cluster.
type Place struct {
	// Priority is its level of failover; 0 is the first, MaxPriority the last
	// that there can be.
	Priority uint32
	Locality Locality
	// LocalityWeight is the share of its locality within the priority, where
	// localities have shares. 0: none.
	LocalityWeight uint32
}

// MaxPriority is the last level of failover (Envoy's limit).
const MaxPriority = 128

func (e *EndpointConfig) hashKey() string {
	if e.HashKey != "" {
		return e.HashKey
	}
	return e.Address
}

// Validate says everything that is wrong with c.
func (c *Config) Validate() error {
	var errs []error
	bad := func(field string, value any, allowed string) {
		errs = append(errs, fmt.Errorf("cluster %q: %s %v: %s", c.Name, field, value, allowed))
	}
	if c.Name == "" {
		bad("name", `""`, "must not be empty")
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"connect timeout", c.ConnectTimeout},
		{"fail-fast timeout", c.FailFast},
		{"connection duration", c.MaxConnectionDuration},
		{"idle timeout", max(c.IdleTimeout, c.IdleTimeout-NoTimeout)},
		{"TCP idle timeout", max(c.TCPIdleTimeout, c.TCPIdleTimeout-NoTimeout)},
		{"TCP connection duration", max(c.TCPMaxDuration, c.TCPMaxDuration-NoTimeout)},
	} {
		if d.value < 0 {
			bad(d.field, d.value, "must not be negative")
		}
	}
	if err := c.Breaker.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("cluster %q: breaker: %w", c.Name, err))
	}
	if c.RetryBudget != nil {
		if err := c.RetryBudget.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("cluster %q: retry budget: %w", c.Name, err))
		}
	}
	if err := balance.ValidateRing(c.MinRing, c.MaxRing); err != nil {
		errs = append(errs, fmt.Errorf("cluster %q: %w", c.Name, err))
	}
	if err := balance.ValidateTable(c.TableSize); err != nil {
		errs = append(errs, fmt.Errorf("cluster %q: %w", c.Name, err))
	}
	if c.Protocol > HTTP2 {
		bad("protocol", int(c.Protocol), "must be AsCaller, HTTP1 or HTTP2")
	}
	seen := make(map[string]bool, len(c.Endpoints))
	for _, e := range c.Endpoints {
		if _, _, err := net.SplitHostPort(e.Address); err != nil {
			bad("endpoint", e.Address, "must be HOST:PORT")
		}
		if e.Place.Priority > MaxPriority {
			bad("endpoint "+e.Address+" of priority", e.Place.Priority, fmt.Sprintf("at most %d", MaxPriority))
		}
		if seen[e.Address] {
			bad("endpoint", e.Address, "is there twice")
		}
		seen[e.Address] = true
	}
	return errors.Join(errs...)
}

// withDefaults fills what was left open.
func (c Config) withDefaults() Config {
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = DefaultConnectTimeout
	}
	if c.IdleTimeout == 0 {
		c.IdleTimeout = DefaultIdleTimeout
	}
	if c.Dial == nil {
		c.Dial = dialTCP
	}
	c.Breaker.Guards.Overprovision = c.overprovision()
	return c
}

func (c *Config) overprovision() uint32 {
	if c.Overprovision == 0 {
		return breaker.DefaultOverprovision
	}
	return c.Overprovision
}

// dial opens a connection as c says.
func (c *Config) dial(ctx context.Context, address, alpn string) (net.Conn, error) {
	nc, err := c.Dial(ctx, address, alpn)
	if err == nil && c.KeepAlive.Enable {
		keepAlive(nc, c.KeepAlive)
	}
	return nc, err
}

// keepAlive sets the probes on the socket that is under whatever transport there
// is. One that cannot be set is left as it is: the connection is good without.
func keepAlive(nc net.Conn, k net.KeepAliveConfig) {
	for {
		switch c := nc.(type) {
		case interface {
			SetKeepAliveConfig(config net.KeepAliveConfig) error
		}:
			_ = c.SetKeepAliveConfig(k)
			return
		case interface{ NetConn() net.Conn }:
			nc = c.NetConn()
		default:
			return
		}
	}
}

func dialTCP(ctx context.Context, address, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}
