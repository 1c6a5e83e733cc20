package breaker

import "testing"

func TestClassify(t *testing.T) {
	http := func(status int) Result { return Result{Status: status, GRPCStatus: -1} }
	grpc := func(code int) Result { return Result{Status: 200, GRPCStatus: code} }
	linkerd := Classification{}
	unified := LinkerdUnified().Classification
	own := Classification{
		Failures: []StatusRange{{404, 404}, {500, 502}}, GRPCFailures: []uint32{5},
		RateOnly: []StatusRange{{400, 499}}, GRPCRateOnly: []uint32{8, 5},
	}
	tests := []struct {
		name string
		c    Classification
		r    Result
		want Class
	}{
		{"499", linkerd, http(499), Success},
		{"500", linkerd, http(500), Failure},
		{"599", linkerd, http(599), Failure},
		{"600", linkerd, http(600), Success},
		{"429", linkerd, http(429), Success},
		{"unified 429", unified, http(429), RateOnly},
		{"unified 500", unified, http(500), Failure},
		{"unified 500 with RESOURCE_EXHAUSTED", unified, Result{Status: 500, GRPCStatus: 8}, Failure},
		{"unified 429 with UNAVAILABLE", unified, Result{Status: 429, GRPCStatus: 14}, Failure},
		{"own 404", own, http(404), Failure},
		{"own 401", own, http(401), RateOnly},
		{"own 503", own, http(503), Success},
		{"no gRPC status", linkerd, Result{Status: 200}, Success},
		{"status 500 and gRPC OK", linkerd, Result{Status: 500}, Failure},
		{"own NOT_FOUND fails before it is rate only", own, grpc(5), Failure},
		{"own RESOURCE_EXHAUSTED", own, grpc(8), RateOnly},
		{"own UNAVAILABLE", own, grpc(14), Success},
		{"a code that does not exist", linkerd, grpc(77), Success},
		{"connect failure", own, Result{Cause: ConnectFailure}, Failure},
		{"connect timeout", own, Result{Cause: ConnectTimeout}, Failure},
		{"timeout after a status", linkerd, Result{Cause: RequestTimeout, Status: 200}, Failure},
		{"reset", linkerd, Result{Cause: Reset}, Failure},
		{"failed", linkerd, Result{Cause: Failed}, Failure},
		{"cancelled", linkerd, Result{Cause: Cancelled, Status: 500}, Ignored},
		{"overflow", linkerd, Result{Cause: Overflow, Status: 503}, Ignored},
	}
	// Linkerd: DATA_LOSS, DEADLINE_EXCEEDED, INTERNAL, PERMISSION_DENIED,
	// UNAVAILABLE, UNKNOWN.
	failing := map[int]bool{15: true, 4: true, 13: true, 7: true, 14: true, 2: true}
	for code := -1; code <= 16; code++ {
		want := Success
		if failing[code] {
			want = Failure
		}
		if got := linkerd.Classify(grpc(code)); got != want {
			t.Errorf("gRPC code %d is %v, want %v", code, got, want)
		}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.c.Classify(tt.r); got != tt.want {
				t.Errorf("class is %v, want %v", got, tt.want)
			}
		})
	}
}

// Envoy, not split: a timeout counts as 504, a connect failure as 503; both
// are gateway errors. Linkerd: I/O errors count as 502.
func TestGatewayErrors(t *testing.T) {
	tests := map[Result]bool{
		{Status: 500}: false, {Status: 501}: false, {Status: 502}: true, {Status: 503}: true, {Status: 504}: true,
		{Status: 505}:           false,
		{Cause: ConnectFailure}: true, {Cause: ConnectTimeout}: true, {Cause: RequestTimeout}: true, {Cause: Reset}: true,
		{Cause: Failed}: false, {Cause: Cancelled}: false,
	}
	for r, want := range tests {
		if got := r.gateway(); got != want {
			t.Errorf("%+v: gateway is %v", r, got)
		}
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		Failed.String(): "failed", Cause(99).String(): "unknown", Ignored.String(): "ignored",
		HalfOpen.String(): "half_open", PanicEnded.String(): "panic_ended", HungCall.String(): "hung_calls",
		EndpointRemoved.String(): "endpoint_removed", Panic.String(): "panic",
	} {
		if got != want {
			t.Errorf("name is %q, want %q", got, want)
		}
	}
}
