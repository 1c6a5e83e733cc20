// Package routing holds what the dialects of routing have in common: a Rule is
// what a route of Gateway API, a VirtualService, a ServiceProfile or a
// TrafficSplit says, in one form, each value with its origin. The dialects
// (package dialect/…) write Rules; policy puts those of all dialects in their
// order; translate makes xDS of them; explain and lint read them.
//
// A Rule says at least what Envoy's routes can say, and nothing about how a
// proxy does it. Values are immutable once a dialect has given them away:
// slices may be shared, so whoever changes one makes a copy first.
package routing

import (
	"time"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// Dialect is who a rule was written for.
type Dialect string

// Dialects in the order in which they govern a port: of several that speak
// about the requests to one port of a service, the first decides where they go.
const (
	GatewayAPI Dialect = "Gateway API"
	Istio      Dialect = "Istio"
	SMI        Dialect = "SMI"
	Linkerd    Dialect = "Linkerd"
	Recloser   Dialect = "Recloser"
)

// Input is what a dialect answers for: the requests of a client to one port of
// a service.
type Input struct {
	World  *model.World
	Client model.Client
	// Labels are the client's, nil where nothing is known of it.
	Labels  map[string]string
	Service *model.Service
	Port    *model.Port
	// Objects that may be about the service, of the dialect's own kinds and of
	// others, by kind, namespace and name (see model.World.Rules).
	Objects []source.Object
}

// Answer is what a dialect says about them.
type Answer struct {
	// Speaks is set when the dialect decides where requests go: then a request
	// that no rule matches is answered with 404.
	Speaks bool
	// Rules in the order of their precedence: the first that matches wins.
	Rules []Rule
	// Losers are objects and rules about this service that have no effect on
	// these requests, each with the reason.
	Losers []Loser
	// Services that the answer depends on, there or not: backends.
	Services []model.Name
}

// Loser is something that was written and has no effect on these requests.
type Loser struct {
	Origin origin.Origin `json:"origin"`
	// Reason is a whole sentence without a final dot: "HTTPRoute x governs the
	// port, and Gateway API comes before SMI".
	Reason string `json:"reason"`
	// Code is what lint calls it, where that is more than that it has no effect.
	Code string `json:"-"`
}

// Rule sends the requests that match somewhere, or answers them. Of Backends,
// Redirect and Direct one is set.
type Rule struct {
	// Name is unique among the rules for a port, stable, and readable:
	// "httproute/demo/split/canary", "virtualservice/demo/bb/0".
	Name    string        `json:"name"`
	Dialect Dialect       `json:"dialect"`
	Origin  origin.Origin `json:"origin"`
	// Also are further objects that have a say in this rule: the route of a
	// ServiceProfile, the rule of a backend whose routes are stacked.
	Also []origin.Origin `json:"also,omitempty"`

	Match Match `json:"match"`

	Backends []Backend `json:"backends,omitempty"`
	// MissingStatus is answered for backends that are invalid: 500 where it is 0.
	MissingStatus uint32    `json:"missingStatus,omitempty"`
	Redirect      *Redirect `json:"redirect,omitempty"`
	Direct        *Direct   `json:"direct,omitempty"`

	// RequestHeaders and ResponseHeaders are changed in this order.
	RequestHeaders  []HeaderEdit `json:"requestHeaders,omitempty"`
	ResponseHeaders []HeaderEdit `json:"responseHeaders,omitempty"`
	Rewrite         *Rewrite     `json:"rewrite,omitempty"`
	Mirrors         []Mirror     `json:"mirrors,omitempty"`
	CORS            *CORS        `json:"cors,omitempty"`
	Fault           *Fault       `json:"fault,omitempty"`
	Timeouts        Timeouts     `json:"timeouts,omitzero"`
	Retry           *Retry       `json:"retry,omitempty"`
	// Failures are the statuses that are failures of these requests to breakers
	// and success rates, in place of 500 to 599.
	Failures origin.Value[[]StatusRange] `json:"failures,omitzero"`
}

// ReplacesPrefix tells whether a rule replaces what its path match has matched.
func (r *Rule) ReplacesPrefix() bool {
	return r.Rewrite != nil && r.Rewrite.Path.replacesPrefix() || r.Redirect != nil && r.Redirect.Path.replacesPrefix()
}

func (p *PathRewrite) replacesPrefix() bool { return p != nil && p.Kind == ReplacePrefix }

// Backend is one target of a Rule.
type Backend struct {
	Origin  origin.Origin `json:"origin"`
	Service model.Name    `json:"service"`
	Port    uint16        `json:"port"`
	// Subset is one of the DestinationRule for the service, empty for all of
	// its endpoints.
	Subset string `json:"subset,omitempty"`
	// Weight is the share beside the rule's other backends; 0: never used.
	Weight origin.Value[uint32] `json:"weight"`
	// Via is the Service whose breaker holds for the backend instead of its own,
	// as Linkerd has it: that of the Service that was asked for. Zero: its own.
	Via model.Name `json:"via,omitzero"`
	// Invalid says why there is no such backend; its share of the requests is
	// answered with 500 (Gateway API, HTTPBackendRef). Empty: all is well.
	Invalid string `json:"invalid,omitempty"`

	RequestHeaders  []HeaderEdit `json:"requestHeaders,omitempty"`
	ResponseHeaders []HeaderEdit `json:"responseHeaders,omitempty"`
}

// EditOp is what is done to a header.
type EditOp string

// Set replaces all values, Add adds one, Remove takes all away.
const (
	Set    EditOp = "set"
	Add    EditOp = "add"
	Remove EditOp = "remove"
)

// HeaderEdit changes a header. Removals are done before all else, as in Envoy.
type HeaderEdit struct {
	Op EditOp `json:"op"`
	// Name in lower case.
	Name string `json:"name"`
	// Value as it is sent; Istio's %VARIABLES% are kept when Format is set and
	// are plain text else.
	Value  string        `json:"value,omitempty"`
	Format bool          `json:"format,omitempty"`
	Origin origin.Origin `json:"origin"`
}

// Redirect answers with a Location. What is empty is as in the request.
type Redirect struct {
	Origin origin.Origin `json:"origin"`
	Scheme string        `json:"scheme,omitempty"`
	Host   string        `json:"host,omitempty"`
	// Port 0: none is written where Host or Scheme is set, else the request's.
	Port uint16 `json:"port,omitempty"`
	// Path is nil where it stays.
	Path *PathRewrite `json:"path,omitempty"`
	// Status is 301, 302, 303, 307 or 308.
	Status origin.Value[uint32] `json:"status"`
}

// Direct answers with a status and a body, without any endpoint.
type Direct struct {
	Origin origin.Origin `json:"origin"`
	Status uint32        `json:"status"`
	Body   []byte        `json:"body,omitempty"`
}

// PathRewriteKind is what of a path is replaced.
type PathRewriteKind string

// ReplaceFull replaces the path, ReplacePrefix the part that the rule's path
// match has matched, ReplaceRegex what Pattern matches. The query stays.
const (
	ReplaceFull   PathRewriteKind = "full"
	ReplacePrefix PathRewriteKind = "prefix"
	ReplaceRegex  PathRewriteKind = "regex"
)

// PathRewrite replaces a path or a part of it.
type PathRewrite struct {
	Kind  PathRewriteKind `json:"kind"`
	Value string          `json:"value"`
	// Pattern (RE2) for ReplaceRegex; Value may have \1 then.
	Pattern string `json:"pattern,omitempty"`
}

// Rewrite changes what the endpoint is asked for. What is empty stays.
type Rewrite struct {
	Origin origin.Origin `json:"origin"`
	Host   string        `json:"host,omitempty"`
	Path   *PathRewrite  `json:"path,omitempty"`
}

// Mirror sends a copy of requests elsewhere, whose answer nobody waits for.
type Mirror struct {
	Backend
	// Percent of the requests, 0 to 100.
	Percent origin.Value[float64] `json:"percent"`
}

// CORS answers preflight requests and allows answers to be read (WHATWG Fetch).
type CORS struct {
	Origin        origin.Origin `json:"origin"`
	AllowOrigins  []Text        `json:"allowOrigins,omitempty"`
	AllowMethods  []string      `json:"allowMethods,omitempty"`
	AllowHeaders  []string      `json:"allowHeaders,omitempty"`
	ExposeHeaders []string      `json:"exposeHeaders,omitempty"`
	// MaxAge is unset where the caller's default holds.
	MaxAge           origin.Value[time.Duration] `json:"maxAge,omitzero"`
	AllowCredentials origin.Value[bool]          `json:"allowCredentials,omitzero"`
	// ForwardPreflights: preflight requests of other origins go to the backend
	// (Istio's unmatchedPreflights FORWARD); else they are answered, with no
	// header of CORS in the answer.
	ForwardPreflights bool `json:"forwardPreflights,omitempty"`
}

// Fault delays or answers a share of the requests in place of the backend.
// Percentages are from 0 to 100; a nil part does nothing.
type Fault struct {
	Delay *FaultDelay `json:"delay,omitempty"`
	Abort *FaultAbort `json:"abort,omitempty"`
}

// FaultDelay holds a share of the requests back, for Duration each, before they
// go on.
type FaultDelay struct {
	Origin   origin.Origin `json:"origin"`
	Duration time.Duration `json:"duration"`
	Percent  float64       `json:"percent"`
}

// FaultAbort answers with a status of HTTP, 200 to 599, or of gRPC where
// HTTPStatus is 0.
type FaultAbort struct {
	Origin     origin.Origin `json:"origin"`
	HTTPStatus uint32        `json:"httpStatus,omitempty"`
	GRPCStatus uint32        `json:"grpcStatus,omitempty"`
	Percent    float64       `json:"percent"`
}

// Timeouts bound a request. Unset: nobody says anything; a zero that is set
// switches the bound off.
type Timeouts struct {
	// Request bounds the whole exchange, waiting and retries included.
	Request origin.Value[time.Duration] `json:"request,omitzero"`
	// Backend bounds one try.
	Backend origin.Value[time.Duration] `json:"backend,omitzero"`
	// Response bounds the time from when the request is sent to the end of the
	// answer (Linkerd's timeout.linkerd.io/response).
	Response origin.Value[time.Duration] `json:"response,omitzero"`
	// Idle bounds the time without a byte in either direction.
	Idle origin.Value[time.Duration] `json:"idle,omitzero"`
}

// Retry is when a request is sent again, and how often.
type Retry struct {
	Origin origin.Origin `json:"origin"`
	// Attempts after the first; 0 that is set: none.
	Attempts origin.Value[uint32] `json:"attempts"`
	// On are Envoy's names of conditions: "connect-failure", "refused-stream",
	// "reset", "5xx", "gateway-error", "retriable-4xx", "cancelled",
	// "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
	// "retriable-status-codes" (which Statuses implies).
	On origin.Value[[]string] `json:"on,omitzero"`
	// Statuses of HTTP, in ranges that include both ends.
	Statuses origin.Value[[]StatusRange] `json:"statuses,omitzero"`
	// PerTry bounds each try; Timeouts.Backend where it is unset.
	PerTry origin.Value[time.Duration] `json:"perTry,omitzero"`
	// BackoffMin is waited before each further try, the back-off comes on top.
	BackoffMin origin.Value[time.Duration] `json:"backoffMin,omitzero"`
	// BackoffBase and BackoffMax bound the exponential back-off.
	BackoffBase origin.Value[time.Duration] `json:"backoffBase,omitzero"`
	BackoffMax  origin.Value[time.Duration] `json:"backoffMax,omitzero"`
	// AnyMethod: requests of any method are sent again, safe or not, because
	// whoever wrote the policy said so.
	AnyMethod origin.Value[bool] `json:"anyMethod,omitzero"`
	// OtherEndpoints: a try goes to an endpoint that has not failed, if any.
	OtherEndpoints origin.Value[bool] `json:"otherEndpoints,omitzero"`
}

// StatusRange is of HTTP statuses, both ends included.
type StatusRange struct {
	First uint32 `json:"first"`
	Last  uint32 `json:"last"`
}

// Budget bounds retries to a share of the requests.
type Budget struct {
	// Percent of the active requests or of those within Interval, 0 to 100.
	Percent origin.Value[float64] `json:"percent"`
	// MinPerSecond are always allowed.
	MinPerSecond origin.Value[uint32] `json:"minPerSecond,omitzero"`
	// MinConcurrent are always allowed at a time (Envoy's and Istio's form).
	MinConcurrent origin.Value[uint32] `json:"minConcurrent,omitzero"`
	// Interval over which requests count.
	Interval origin.Value[time.Duration] `json:"interval,omitzero"`
}
