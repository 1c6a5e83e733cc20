package explain

import (
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
)

// Answer is everything there is to say about a request. Its JSON is for
// programs: fields may be added to it, and keep their meaning.
type Answer struct {
	Request Request `json:"request"`
	// Caller as people write it, and where it is, as "region/zone/subzone".
	Caller   string `json:"caller"`
	Locality string `json:"locality,omitempty"`
	// Service and Port that the host means; empty where it means none.
	Service   string `json:"service,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Port      uint16 `json:"port,omitempty"`
	// Protocol that is spoken to the port, with who says so.
	Protocol *Setting `json:"protocol,omitempty"`
	// Dialect that governs the port, and the Governor, the object of its first
	// rule.
	Dialect  routing.Dialect `json:"dialect,omitempty"`
	Governor string          `json:"governor,omitempty"`
	// Losers were written for the port and have no effect on it.
	Losers []routing.Loser `json:"losers,omitempty"`
	// Rules in the order of their precedence, each with its verdict.
	Rules []Rule `json:"rules,omitempty"`
	// Rule is the index of the one that holds in Rules; -1: none matches.
	Rule int `json:"rule"`
	// Outcome is what comes of the request.
	Outcome Outcome `json:"outcome"`
	// Edits of headers of the request and of its answer, those of backends
	// aside, in the order in which the proxy does them.
	RequestHeaders  []routing.HeaderEdit `json:"requestHeaders,omitempty"`
	ResponseHeaders []routing.HeaderEdit `json:"responseHeaders,omitempty"`
	// Backends that share the requests of the rule.
	Backends []Backend `json:"backends,omitempty"`
	Mirrors  []Mirror  `json:"mirrors,omitempty"`
	// Settings of the rule: timeouts, retries, faults and CORS.
	Settings []Setting `json:"settings,omitempty"`
}

// Verdict on a rule.
type Verdict string

// Chosen is the one that holds, Failed one whose match fails, Later one that
// matches too and comes after.
const (
	Chosen Verdict = "chosen"
	Failed Verdict = "does-not-match"
	Later  Verdict = "comes-later"
)

// Rule is one candidate.
type Rule struct {
	Name    string          `json:"name"`
	Dialect routing.Dialect `json:"dialect,omitempty"`
	Origin  origin.Origin   `json:"origin"`
	// Also are further objects that have a say in it.
	Also    []origin.Origin `json:"also,omitempty"`
	Verdict Verdict         `json:"verdict"`
	// Part that does not match: "path", "header x-user", "query parameter q";
	// Want is what it asks for, Got what the request has, absent where it has
	// none.
	Part string  `json:"part,omitempty"`
	Want string  `json:"want,omitempty"`
	Got  *string `json:"got,omitempty"`
}

// Kind of an Outcome.
type Kind string

// What may come of a request.
const (
	// Forwarded to one of the backends.
	Forwarded Kind = "forwarded"
	// Redirected by an answer with a Location.
	Redirected Kind = "redirected"
	// Direct: answered by the route itself.
	Direct Kind = "direct-response"
	// Preflight: answered by the route's policy of CORS.
	Preflight Kind = "cors-preflight"
	// Aborted by a fault, in part or whole: see Share.
	Aborted Kind = "fault-aborted"
	// Refused by the proxy.
	Refused Kind = "refused"
	// Bytes: the port is opaque, no rule looks at requests.
	Bytes Kind = "bytes"
)

// Outcome is what comes of a request.
type Outcome struct {
	Kind Kind `json:"kind"`
	// Status of an answer that the proxy gives itself. Callers of gRPC get the
	// grpc-status that stands for it.
	Status int `json:"status,omitempty"`
	// GRPCStatus where that is what was asked for.
	GRPCStatus *int `json:"grpcStatus,omitempty"`
	// Location of a redirect.
	Location string `json:"location,omitempty"`
	// Body of a direct answer.
	Body string `json:"body,omitempty"`
	// Headers of such an answer, beside those of its body.
	Headers []Header `json:"headers,omitempty"`
	// Reason in a sentence, where the request is refused.
	Reason string `json:"reason,omitempty"`
	// Near are hosts that may have been meant.
	Near []string `json:"near,omitempty"`
}

// Backend is one that a share of the requests goes to.
type Backend struct {
	Origin    origin.Origin `json:"origin"`
	Service   string        `json:"service"`
	Namespace string        `json:"namespace"`
	Port      uint16        `json:"port"`
	Subset    string        `json:"subset,omitempty"`
	// Via is the Service whose breaker holds for it, empty: its own.
	Via string `json:"via,omitempty"`
	// Cluster is its xDS name.
	Cluster string               `json:"cluster"`
	Weight  origin.Value[uint32] `json:"weight"`
	Share   float64              `json:"share"` // 0 to 1
	Invalid string               `json:"invalid,omitempty"`
	Edits   []routing.HeaderEdit `json:"requestHeaders,omitempty"`
	Answers []routing.HeaderEdit `json:"responseHeaders,omitempty"`
	Sent    *Sent                `json:"sent,omitempty"`
	// Settings hold towards it: balancer, waiting, limits, breaker.
	Settings  []Setting       `json:"settings,omitempty"`
	Losers    []routing.Loser `json:"losers,omitempty"`
	Endpoints []Endpoint      `json:"endpoints,omitempty"`
}

// Sent is the request as a backend gets it, but for what proxies add to every
// request (an x-request-id) and variables that only a real one has.
type Sent struct {
	Authority string   `json:"authority"`
	Path      string   `json:"path"`
	Headers   []Header `json:"headers,omitempty"`
	// Answer has the fields that its answer is given on the way back, beside
	// those of its own.
	Answer []Header `json:"answer,omitempty"`
}

// Mirror gets copies of a share of the requests.
type Mirror struct {
	Origin    origin.Origin         `json:"origin"`
	Service   string                `json:"service"`
	Namespace string                `json:"namespace"`
	Port      uint16                `json:"port"`
	Subset    string                `json:"subset,omitempty"`
	Percent   origin.Value[float64] `json:"percent"`
	Invalid   string                `json:"invalid,omitempty"`
}

// Endpoint is an instance behind a backend.
type Endpoint struct {
	Address string `json:"address"`
	// Priority 0 is used first; another as soon as too few of those before it
	// are healthy.
	Priority uint32 `json:"priority"`
	Weight   uint32 `json:"weight,omitempty"`
	Locality string `json:"locality,omitempty"`
	// LocalityWeight is the share of its locality beside the others of the same
	// priority, where localities have shares.
	LocalityWeight uint32 `json:"localityWeight,omitempty"`
	Workload       string `json:"workload,omitempty"`
	Pod            string `json:"pod,omitempty"`
	// Breaker is its state as the caller sees it, "unknown" where no proxy has
	// told.
	Breaker string `json:"breaker"`
	// Cause of its last opening.
	Cause string `json:"cause,omitempty"`
}

// Setting is one value with where it comes from.
type Setting struct {
	Name   string        `json:"name"`
	Value  string        `json:"value"`
	Origin origin.Origin `json:"origin"`
}

// Breakers tells the state of an endpoint's breaker in a cluster, and why it
// opened last. False: nobody has told.
type Breakers func(cluster, address string) (state, cause string, ok bool)
