package translate

import (
	"slices"
	"strconv"
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	commonfaultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/fault/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	previousv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/reclosermesh/recloser/internal/control/routing"
)

// Names of Envoy's HTTP filters that a route can say something to.
const (
	corsFilter  = "envoy.filters.http.cors"
	faultFilter = "envoy.filters.http.fault"
)

// reselections is how often a balancer is asked again for an endpoint that has
// not failed yet, as Istio has it.
const reselections = 5

// retryPolicy is when a request is tried again, nil where nobody says so.
func retryPolicy(r *routing.Rule) *routev3.RetryPolicy {
	perTry := r.Timeouts.Backend
	if r.Retry == nil {
		if perTry.Value <= 0 {
			return nil
		}
		// One try, and its bound.
		return &routev3.RetryPolicy{NumRetries: wrapperspb.UInt32(0), PerTryTimeout: durationpb.New(perTry.Value)}
	}
	t := r.Retry
	on := slices.Clone(t.On.Value)
	out := &routev3.RetryPolicy{
		NumRetries: wrapperspb.UInt32(t.Attempts.Value),
		RetryHostPredicate: []*routev3.RetryPolicy_RetryHostPredicate{{
			Name: "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{
				TypedConfig: toAny(&previousv3.PreviousHostsPredicate{}),
			},
		}},
		HostSelectionRetryMaxAttempts: reselections,
	}
	for _, s := range t.Statuses.Value {
		for code := s.First; code <= s.Last && code < 600; code++ {
			out.RetriableStatusCodes = append(out.RetriableStatusCodes, code)
		}
	}
	if len(out.RetriableStatusCodes) > 0 && !slices.Contains(on, "retriable-status-codes") {
		on = append(on, "retriable-status-codes")
	}
	out.RetryOn = strings.Join(on, ",")
	if d := t.PerTry.Or(perTry); d.Value > 0 {
		out.PerTryTimeout = durationpb.New(d.Value)
	}
	if base := t.BackoffBase.Value; base > 0 {
		out.RetryBackOff = &routev3.RetryPolicy_RetryBackOff{BaseInterval: durationpb.New(base)}
		if most := t.BackoffMax.Value; most > 0 {
			out.RetryBackOff.MaxInterval = durationpb.New(max(base, most))
		}
	}
	return out
}

// filterConfigs are what a rule says to filters by their names.
func filterConfigs(r *routing.Rule) map[string]*anypb.Any {
	out := map[string]*anypb.Any{}
	if r.CORS != nil {
		out[corsFilter] = toAny(cors(r.CORS))
	}
	if f := fault(r.Fault); f != nil {
		out[faultFilter] = toAny(f)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func cors(c *routing.CORS) *corsv3.CorsPolicy {
	out := &corsv3.CorsPolicy{
		AllowMethods:                 strings.Join(c.AllowMethods, ","),
		AllowHeaders:                 strings.Join(c.AllowHeaders, ","),
		ExposeHeaders:                strings.Join(c.ExposeHeaders, ","),
		ForwardNotMatchingPreflights: wrapperspb.Bool(c.ForwardPreflights),
	}
	for _, t := range c.AllowOrigins {
		out.AllowOriginStringMatch = append(out.AllowOriginStringMatch, stringMatch(t))
	}
	if c.MaxAge.IsSet() {
		out.MaxAge = seconds(c.MaxAge.Value)
	}
	if c.AllowCredentials.IsSet() {
		out.AllowCredentials = wrapperspb.Bool(c.AllowCredentials.Value)
	}
	return out
}

func seconds(d time.Duration) string {
	return strconv.FormatInt(int64(d/time.Second), 10)
}

func fault(f *routing.Fault) *faultv3.HTTPFault {
	if f == nil || f.Delay == nil && f.Abort == nil {
		return nil
	}
	out := &faultv3.HTTPFault{}
	if d := f.Delay; d != nil {
		out.Delay = &commonfaultv3.FaultDelay{
			FaultDelaySecifier: &commonfaultv3.FaultDelay_FixedDelay{FixedDelay: durationpb.New(d.Duration)},
			Percentage:         percent(d.Percent),
		}
	}
	if a := f.Abort; a != nil {
		out.Abort = &faultv3.FaultAbort{Percentage: percent(a.Percent)}
		if a.HTTPStatus != 0 {
			out.Abort.ErrorType = &faultv3.FaultAbort_HttpStatus{HttpStatus: a.HTTPStatus}
		} else {
			out.Abort.ErrorType = &faultv3.FaultAbort_GrpcStatus{GrpcStatus: a.GRPCStatus}
		}
	}
	return out
}
