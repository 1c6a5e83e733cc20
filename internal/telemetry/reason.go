package telemetry

// Reason says why an exchange ended as it did. The zero value is the ordinary
// one: the upstream's own answer went through. Every other Reason is an answer
// or an end of ours, and the table below is the only place that says what the
// caller then gets.
type Reason uint8

// The reasons. Their codes, statuses and texts are in the table below.
const (
	ViaUpstream Reason = iota
	RouteNotFound
	ClusterNotFound
	NoControlPlane
	NoHealthyUpstream
	WaitingFull
	LimitOverflow
	ConnectFailure
	ConnectTimeout
	ConnectionLost
	ConnectionLostMidway
	RemoteReset
	RemoteResetMidway
	UpstreamProtocol
	RequestTimeout
	PerTryTimeout
	RetriesSpent
	RateLimited
	Denied
	MalformedRequest
	MalformedMessage
	UpgradeRefused
	HeadTimeout
	BodyTimeout
	IdleTimeout
	DownstreamGone
	Overload
	DirectResponse
	FaultAborted
	DurationTimeout

	reasonCount
)

// Answer is one row of the table of reasons.
type Answer struct {
	// Flag is Envoy's response flag, "-" for none.
	Flag string
	// Details is the value of RESPONSE_CODE_DETAILS and of the header
	// recloser-reason: Envoy's own string where Envoy has the case.
	Details string
	// Status is the HTTP status of the answer; 0: none can be given, either
	// because the answer had begun or because nobody is there to read it.
	Status int
	// GRPC is the grpc-status of the answer to a gRPC caller; -1: none.
	GRPC int
	// Text is one sentence for the body, for people.
	Text string
	// Close tells that the downstream connection cannot be used again.
	Close bool
}

// answers follows section 5 of the design. HTTP to gRPC follows the gRPC
// project's http-grpc-status-mapping, but for deadlines (4, as Linkerd gives
// it) and rate limits (8), where the caller can use the better word.
var answers = [reasonCount]Answer{
	ViaUpstream:          {Flag: "-", Details: "via_upstream", GRPC: -1},
	RouteNotFound:        {Flag: "NR", Details: "route_not_found", Status: 404, GRPC: 12, Text: "no route matches this request"},
	ClusterNotFound:      {Flag: "NC", Details: "cluster_not_found", Status: 500, GRPC: 2, Text: "the route's backend does not exist"},
	NoControlPlane:       {Flag: "NC", Details: "no_answer_from_control_plane", Status: 503, GRPC: 14, Text: "no answer from the control plane about this host"},
	NoHealthyUpstream:    {Flag: "UH", Details: "no_healthy_upstream", Status: 503, GRPC: 14, Text: "no endpoint of the service is available"},
	WaitingFull:          {Flag: "UH", Details: "no_healthy_upstream{too_many_waiting}", Status: 503, GRPC: 14, Text: "no endpoint of the service is available and too many requests wait for one"},
	LimitOverflow:        {Flag: "UO", Details: "upstream_reset_before_response_started{overflow}", Status: 503, GRPC: 14, Text: "upstream connect error or disconnect/reset before headers. reset reason: overflow"},
	ConnectFailure:       {Flag: "UF", Details: "upstream_reset_before_response_started{connection_failure}", Status: 503, GRPC: 14, Text: "no connection to the endpoint"},
	ConnectTimeout:       {Flag: "UF", Details: "upstream_reset_before_response_started{connection_timeout}", Status: 503, GRPC: 14, Text: "no connection to the endpoint in time"},
	ConnectionLost:       {Flag: "UC", Details: "upstream_reset_before_response_started{connection_termination}", Status: 503, GRPC: 14, Text: "the endpoint closed the connection before it answered"},
	ConnectionLostMidway: {Flag: "UC", Details: "upstream_reset_after_response_started{connection_termination}", GRPC: 14, Text: "the endpoint closed the connection within its answer", Close: true},
	RemoteReset:          {Flag: "UR", Details: "upstream_reset_before_response_started{remote_reset}", Status: 503, GRPC: 14, Text: "the endpoint reset the stream before it answered"},
	RemoteResetMidway:    {Flag: "UR", Details: "upstream_reset_after_response_started{remote_reset}", GRPC: 14, Text: "the endpoint reset the stream within its answer"},
	UpstreamProtocol:     {Flag: "UPE", Details: "upstream_reset_before_response_started{protocol_error}", Status: 502, GRPC: 14, Text: "the endpoint's answer is not valid HTTP"},
	RequestTimeout:       {Flag: "UT", Details: "upstream_response_timeout", Status: 504, GRPC: 4, Text: "upstream request timeout"},
	PerTryTimeout:        {Flag: "UT", Details: "upstream_per_try_timeout", Status: 504, GRPC: 4, Text: "the endpoint did not answer in time"},
	RetriesSpent:         {Flag: "URX", Details: "via_upstream", GRPC: -1, Text: "all retries were used"},
	RateLimited:          {Flag: "RL", Details: "request_rate_limited", Status: 429, GRPC: 8, Text: "too many requests"},
	Denied:               {Flag: "-", Details: "authorization_denied", Status: 403, GRPC: 7, Text: "the caller may not make this request"},
	MalformedRequest:     {Flag: "DPE", Details: "http1.codec_error", Status: 400, GRPC: 13, Text: "malformed request", Close: true},
	MalformedMessage:     {Flag: "DPE", Details: "http2.violation.of.messaging.rule", Status: 400, GRPC: 13, Text: "malformed request"},
	UpgradeRefused:       {Flag: "-", Details: "upgrade_failed", Status: 501, GRPC: 12, Text: "this protocol is not carried"},
	HeadTimeout:          {Flag: "SI", Details: "request_header_timeout", Status: 408, GRPC: 4, Text: "the request's head did not arrive in time", Close: true},
	BodyTimeout:          {Flag: "SI", Details: "request_body_timeout", Status: 408, GRPC: 4, Text: "the request's body did not arrive in time", Close: true},
	IdleTimeout:          {Flag: "SI", Details: "stream_idle_timeout", Status: 504, GRPC: 4, Text: "nothing moved on this exchange for too long", Close: true},
	DownstreamGone:       {Flag: "DC", Details: "downstream_remote_disconnect", GRPC: -1, Text: "the caller went away", Close: true},
	Overload:             {Flag: "OM", Details: "overload", Status: 503, GRPC: 14, Text: "this proxy is at one of its own limits", Close: true},
	DirectResponse:       {Flag: "-", Details: "direct_response", GRPC: -1},
	FaultAborted:         {Flag: "FI", Details: "fault_filter_abort", GRPC: -1, Text: "a fault of the route answers"},
	DurationTimeout:      {Flag: "DT", Details: "duration_timeout", GRPC: -1, Text: "this connection has lasted as long as it may", Close: true},
}

// Answer gives the row of r. A value that is no reason gives the row of Overload.
func (r Reason) Answer() *Answer {
	if r >= reasonCount {
		r = Overload
	}
	return &answers[r]
}

// Flag gives Envoy's response flag, "-" for none.
func (r Reason) Flag() string { return r.Answer().Flag }

// Details gives the details string, which is also the value of recloser-reason.
func (r Reason) Details() string { return r.Answer().Details }

// String gives the details string.
func (r Reason) String() string { return r.Details() }

// Reasons lists every reason, for documents and tests.
func Reasons() []Reason {
	all := make([]Reason, 0, reasonCount)
	for r := range reasonCount {
		all = append(all, r)
	}
	return all
}

// GRPCOf is what a client of gRPC takes a status of HTTP for (gRPC,
// http-grpc-status-mapping); 2, UNKNOWN, where that says nothing.
func GRPCOf(status int) int {
	switch status {
	case 200:
		return 0
	case 400:
		return 13
	case 401:
		return 16
	case 403:
		return 7
	case 404:
		return 12
	case 429, 502, 503, 504:
		return 14
	default:
		return 2
	}
}
