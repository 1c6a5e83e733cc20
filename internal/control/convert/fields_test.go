package convert

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/routing"
)

// TestEveryFieldIsThoughtOf: a field that is new in rules must be carried over
// or told, in this package, before its name is added here.
func TestEveryFieldIsThoughtOf(t *testing.T) {
	for _, tt := range []struct {
		of     any
		fields string
	}{
		{routing.Rule{}, "Name Dialect Origin Also Match Backends Redirect Direct RequestHeaders ResponseHeaders Rewrite Mirrors CORS Fault Timeouts Retry MissingStatus Failures"},
		{routing.Match{}, "Paths Headers Query"},
		{routing.PathMatch{}, "Kind Value IgnoreCase Invert"},
		{routing.HeaderMatch{}, "Name Text Invert"},
		{routing.QueryMatch{}, "Name Text"},
		{routing.Text{}, "Kind Value IgnoreCase"},
		{routing.Backend{}, "Origin Service Port Subset Weight Invalid Via RequestHeaders ResponseHeaders"},
		{routing.HeaderEdit{}, "Op Name Value Format Origin"},
		{routing.Redirect{}, "Origin Scheme Host Port Path Status"},
		{routing.Direct{}, "Origin Status Body"},
		{routing.PathRewrite{}, "Kind Value Pattern"},
		{routing.Rewrite{}, "Origin Host Path"},
		{routing.Mirror{}, "Backend Percent"},
		{routing.CORS{}, "Origin AllowOrigins AllowMethods AllowHeaders ExposeHeaders MaxAge AllowCredentials ForwardPreflights"},
		{routing.FaultDelay{}, "Origin Duration Percent"},
		{routing.FaultAbort{}, "Origin HTTPStatus GRPCStatus Percent"},
		{routing.Timeouts{}, "Request Backend Response Idle"},
		{routing.Retry{}, "Origin Attempts On Statuses PerTry BackoffMin BackoffBase BackoffMax AnyMethod OtherEndpoints"},
		{routing.Budget{}, "Percent MinPerSecond MinConcurrent Interval"},
		{policy.Outlier{}, "Consecutive5xx ConsecutiveGateway SplitLocalOrigin ConsecutiveLocalOrigin Interval BaseEjectionTime MaxEjectionTime MaxEjectionPercent MinHealthPercent HTTPErrorCodes"},
		{policy.Breaker{}, "Mode MaxFailures SuccessRate MinPenalty MaxPenalty Jitter ProbeTimeout RateOnly"},
		{policy.Pool{}, "MaxConnectionDuration TCPIdleTimeout IdleTimeout MaxRequestsPerConnection MaxConcurrentStreams UseClientProtocol H2Upgrade TCPKeepalive HTTP2Keepalive"},
		{policy.Hash{}, "By Name CookiePath CookieTTL CookieAttributes MinimumRingSize TableSize"},
		{policy.TLS{}, "Mode SNI CACertificates SubjectAltNames Insecure ClientCertificate PrivateKey"},
	} {
		typ := reflect.TypeOf(tt.of)
		known := strings.Fields(tt.fields)
		for f := range typ.Fields() {
			if !slices.Contains(known, f.Name) {
				t.Errorf("%s.%s: a conversion would lose it in silence", typ, f.Name)
			}
		}
		for _, name := range known {
			if _, ok := typ.FieldByName(name); !ok {
				t.Errorf("%s has no field %s", typ, name)
			}
		}
	}
}
