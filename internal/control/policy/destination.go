package policy

import (
	"time"

	"github.com/reclosermesh/recloser/internal/control/routing"
)

// Outlier is how endpoints are shut where a DestinationRule decides (its
// outlierDetection): by what Envoy's outlier detection counts, for a time, and
// back untried. What nobody has written has Envoy's default.
type Outlier struct {
	// Consecutive5xx answers of 500 to 599 in a row shut an endpoint, as does no
	// answer unless SplitLocalOrigin. 0: never.
	Consecutive5xx Value[uint32] `json:"consecutive5xxErrors"`
	// ConsecutiveGateway answers of 502, 503 or 504 in a row. 0: never.
	ConsecutiveGateway Value[uint32] `json:"consecutiveGatewayErrors"`
	// SplitLocalOrigin keeps calls that got no answer apart from answers.
	SplitLocalOrigin Value[bool] `json:"splitExternalLocalOriginErrors"`
	// ConsecutiveLocalOrigin calls without an answer in a row. It is set with
	// SplitLocalOrigin only.
	ConsecutiveLocalOrigin Value[uint32] `json:"consecutiveLocalOriginFailures,omitzero"`
	// Interval of the sweeps in which endpoints come back; at least 1ms.
	Interval Value[time.Duration] `json:"interval"`
	// BaseEjectionTime times the number of ejections is how long an endpoint
	// stays shut, at most MaxEjectionTime; at least 1ms.
	BaseEjectionTime Value[time.Duration] `json:"baseEjectionTime"`
	MaxEjectionTime  Value[time.Duration] `json:"maxEjectionTime"`
	// MaxEjectionPercent of the endpoints may be shut, 0 to 100.
	MaxEjectionPercent Value[uint32] `json:"maxEjectionPercent"`
	// MinHealthPercent: when less of the endpoints are left, all are used, 0 to
	// 100; 0: never.
	MinHealthPercent Value[uint32] `json:"minHealthPercent"`
	// HTTPErrorCodes are counted in place of 500 to 599. Unset: those.
	HTTPErrorCodes Value[[]uint32] `json:"outlierDetectionHttpErrorCodes,omitzero"`
}

// Pool is how connections to endpoints are used (a DestinationRule's
// connectionPool, but for the limits). What is unset nobody has written.
type Pool struct {
	// MaxConnectionDuration closes a connection that is so old.
	MaxConnectionDuration Value[time.Duration] `json:"maxConnectionDuration,omitzero"`
	// TCPIdleTimeout closes a tunnel without bytes; 0: never. Istio's default
	// is 1h.
	TCPIdleTimeout Value[time.Duration] `json:"tcpIdleTimeout,omitzero"`
	// IdleTimeout closes a pooled connection of HTTP that is not used; 0: never.
	IdleTimeout Value[time.Duration] `json:"idleTimeout,omitzero"`
	// MaxRequestsPerConnection closes a connection after so many; 1: no
	// keep-alive.
	MaxRequestsPerConnection Value[uint32] `json:"maxRequestsPerConnection,omitzero"`
	// MaxConcurrentStreams on one connection of HTTP/2.
	MaxConcurrentStreams Value[uint32] `json:"maxConcurrentStreams,omitzero"`
	// UseClientProtocol: endpoints are spoken to in the caller's version of HTTP.
	UseClientProtocol Value[bool] `json:"useClientProtocol,omitzero"`
	// H2Upgrade: endpoints are spoken to in HTTP/2 whatever the caller speaks.
	H2Upgrade Value[bool] `json:"h2Upgrade,omitzero"`
	// TCPKeepalive probes of the operating system; nil: none.
	TCPKeepalive *TCPKeepalive `json:"tcpKeepalive,omitempty"`
	// HTTP2Keepalive pings; nil: none.
	HTTP2Keepalive *HTTP2Keepalive `json:"http2KeepAlive,omitempty"`
}

// TCPKeepalive is when the operating system looks whether the other side is
// there. What is unset is as it has it.
type TCPKeepalive struct {
	Probes Value[uint32] `json:"probes,omitzero"`
	// Time without bytes until the first probe, Interval between probes; whole
	// seconds.
	Time     Value[time.Duration] `json:"time,omitzero"`
	Interval Value[time.Duration] `json:"interval,omitzero"`
}

// HTTP2Keepalive is when a connection of HTTP/2 is pinged.
type HTTP2Keepalive struct {
	Interval Value[time.Duration] `json:"interval,omitzero"`
	// Timeout until a ping without an answer closes the connection.
	Timeout Value[time.Duration] `json:"timeout,omitzero"`
}

// HashBy is by what of a request its endpoint is chosen.
type HashBy string

// What may be hashed.
const (
	HashHeader   HashBy = "header"
	HashCookie   HashBy = "cookie"
	HashSourceIP HashBy = "sourceIP"
	HashQuery    HashBy = "queryParameter"
)

// Hash is how the balancers RingHash and Maglev choose.
type Hash struct {
	By Value[HashBy] `json:"by"`
	// Name of the header, cookie or query parameter.
	Name Value[string] `json:"name,omitzero"`
	// Of a cookie that is made where a request has none. TTL 0: for the
	// session. Unset: none is made.
	CookiePath       Value[string]            `json:"cookiePath,omitzero"`
	CookieTTL        Value[time.Duration]     `json:"cookieTtl,omitzero"`
	CookieAttributes Value[[]CookieAttribute] `json:"cookieAttributes,omitzero"`
	// MinimumRingSize is how many points a ring has at least.
	MinimumRingSize Value[uint64] `json:"minimumRingSize,omitzero"`
	// TableSize of Maglev, a prime number.
	TableSize Value[uint64] `json:"tableSize,omitzero"`
}

// CookieAttribute is one more attribute of a cookie that is made.
type CookieAttribute struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// Warmup is how an endpoint that is new gets more and more requests.
type Warmup struct {
	Duration Value[time.Duration] `json:"duration"`
	// MinimumPercent of its share that it begins with, 0 to 100.
	MinimumPercent Value[float64] `json:"minimumPercent"`
	// Aggression is the shape of the growth: 1 is linear, more is faster at the
	// begin.
	Aggression Value[float64] `json:"aggression"`
}

// Locality is how endpoints in other places are used.
type Locality struct {
	Enabled Value[bool] `json:"enabled"`
	// Distribute, Failover and FailoverPriority exclude each other. Localities
	// are "region", "region/zone" or "region/zone/subzone"; in Distribute a part
	// may be "*".
	Distribute       []Distribute    `json:"distribute,omitempty"`
	Failover         []Failover      `json:"failover,omitempty"`
	FailoverPriority Value[[]string] `json:"failoverPriority,omitzero"`
}

// Distribute gives the requests from one locality to some by weight; the
// weights are percentages.
type Distribute struct {
	Origin Origin            `json:"origin"`
	From   string            `json:"from"`
	To     map[string]uint32 `json:"to"`
}

// Failover names the region that is used when all of another fail.
type Failover struct {
	Origin Origin `json:"origin"`
	From   string `json:"from"`
	To     string `json:"to"`
}

// Subset is a part of a service's endpoints that a DestinationRule names.
type Subset struct {
	Name string `json:"name"`
	// Labels that an endpoint of it has, all of them. Empty: all endpoints.
	Labels Value[map[string]string] `json:"labels,omitzero"`
	// Unknown: no rule that holds for these requests names it. It has no
	// endpoints, and requests are answered with 503.
	Unknown bool `json:"unknown,omitempty"`
}

// Destination is what DestinationRules say of requests to a port, with whatever
// else has a say in the same things.
type Destination struct {
	// Rules that hold, the one with the last word first. None: no rule is for
	// these requests.
	Rules []Origin `json:"rules,omitempty"`
	// Subset is nil for all endpoints of the service.
	Subset *Subset `json:"subset,omitempty"`
	// Outlier is nil where no rule has outlierDetection, or a Breaker comes
	// before it. With Outlier there is no Breaker.
	Outlier *Outlier `json:"outlierDetection,omitempty"`
	Pool    Pool     `json:"connectionPool,omitzero"`
	// Hash is set with the balancers RingHash and Maglev.
	Hash     *Hash     `json:"consistentHash,omitempty"`
	Warmup   *Warmup   `json:"warmup,omitempty"`
	Locality *Locality `json:"locality,omitempty"`
	// RetryBudget is nil where nobody bounds retries by a share of requests.
	// Gateway API's comes before a DestinationRule's before a ServiceProfile's.
	RetryBudget *routing.Budget `json:"retryBudget,omitempty"`
	// Losers were written for these requests and have no effect on them.
	Losers []routing.Loser `json:"losers,omitempty"`
}
