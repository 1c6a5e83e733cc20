package linkerd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reclosermesh/recloser/internal/control/annotation"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// Annotations of a Service, an HTTPRoute or a GRPCRoute.
const (
	retryHTTP    = "retry.linkerd.io/http"
	retryGRPC    = "retry.linkerd.io/grpc"
	retryLimit   = "retry.linkerd.io/limit"
	retryTimeout = "retry.linkerd.io/timeout"

	timeoutRequest  = "timeout.linkerd.io/request"
	timeoutResponse = "timeout.linkerd.io/response"
	timeoutIdle     = "timeout.linkerd.io/idle"
)

// Annotations are those that this package reads, from Services, HTTPRoutes and
// GRPCRoutes.
func Annotations() []string {
	return []string{retryHTTP, retryGRPC, retryLimit, retryTimeout, timeoutRequest, timeoutResponse, timeoutIdle}
}

// Defaults of Linkerd's for retries of annotations.
const (
	defaultLimit = 1
	backoffBase  = 25 * time.Millisecond
	backoffMax   = 250 * time.Millisecond
)

// Values of retryGRPC, and the words of retryHTTP.
var grpcConditions = []string{"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"}

const (
	anyServerError  = "5xx"
	anyGatewayError = "gateway-error"
	allowedHTTP     = "statuses such as 503, ranges such as 500-504, 5xx, gateway-error, with commas between them"
)

// settings are what the annotations of one object say.
type settings struct {
	// hasRetry and hasTimeout: there is any annotation of the set, which then
	// takes the place of the Service's whole set.
	hasRetry, hasTimeout bool
	// retry is nil where nothing says what to try again.
	retry    *routing.Retry
	timeouts routing.Timeouts
}

// reader reads the annotations of one object.
type reader struct {
	finder
	values map[string]string
}

// read gives what the annotations of an object say, and what is wrong with
// them. What cannot be read is as if it were not there.
func read(o source.Object) (*settings, []source.Problem) {
	r := &reader{finder: finder{object: o}}
	if meta := o.Meta(); meta != nil {
		r.values = meta.GetAnnotations()
	}
	s := &settings{}
	for _, name := range []string{retryHTTP, retryGRPC, retryLimit, retryTimeout} {
		_, has := r.values[name]
		s.hasRetry = s.hasRetry || has
	}
	for _, name := range []string{timeoutRequest, timeoutResponse, timeoutIdle} {
		_, has := r.values[name]
		s.hasTimeout = s.hasTimeout || has
	}
	s.timeouts.Request = r.duration(timeoutRequest)
	s.timeouts.Response = r.duration(timeoutResponse)
	s.timeouts.Idle = r.duration(timeoutIdle)
	if s.hasRetry {
		s.retry = r.retry()
	}
	r.zeroTimeouts(s)
	return s, r.out
}

func (r *reader) origin(name string) origin.Origin {
	return origin.Of(r.object, source.AnnotationPath(name))
}

// annotation adds a finding about an annotation.
func (r *reader) annotation(name string, severity source.Severity, code, reason, allowed, mend string) {
	r.find(source.AnnotationPath(name), r.values[name], severity, code, reason, allowed, mend)
}

func (r *reader) duration(name string) origin.Value[time.Duration] {
	s, ok := r.values[name]
	if !ok {
		return origin.Value[time.Duration]{}
	}
	d, mend, err := annotation.Duration(s)
	if err != nil {
		r.annotation(name, source.Error, "bad-duration", err.Error()+"; it is as if this were not there", annotation.AllowedDuration, mend)
		return origin.Value[time.Duration]{}
	}
	return origin.Value[time.Duration]{Value: d, Origin: r.origin(name)}
}

// zeroTimeouts tells of zeros: here they switch a bound off, in Linkerd they
// count as not there.
func (r *reader) zeroTimeouts(s *settings) {
	for _, t := range []struct {
		name string
		v    origin.Value[time.Duration]
	}{{timeoutRequest, s.timeouts.Request}, {timeoutResponse, s.timeouts.Response}, {timeoutIdle, s.timeouts.Idle}} {
		if t.v.IsSet() && t.v.Value == 0 {
			r.annotation(t.name, source.Info, "linkerd-differs", "0 switches this bound off here; Linkerd takes it for not there, so the next one that says something holds", "", "")
		}
	}
}

// retry is what the retry annotations say together.
func (r *reader) retry() *routing.Retry {
	statuses, on := r.http()
	on = append(on, r.grpc()...)
	limit, perTry := r.limit(), r.duration(retryTimeout)
	if len(statuses)+len(on) == 0 {
		if r.values[retryHTTP] == "" && r.values[retryGRPC] == "" {
			for _, name := range []string{retryLimit, retryTimeout} {
				if _, ok := r.values[name]; ok {
					r.annotation(name, source.Warning, "no-effect", "this has no effect: nothing says what to try again", "", "add "+retryHTTP+": 5xx")
				}
			}
		}
		return nil
	}
	first := r.origin(retryHTTP)
	if r.values[retryHTTP] == "" {
		first = r.origin(retryGRPC)
	}
	retry := &routing.Retry{
		Origin: first, Attempts: limit, PerTry: perTry,
		BackoffBase:    origin.Default(backoffBase, "Linkerd"),
		BackoffMax:     origin.Default(backoffMax, "Linkerd"),
		AnyMethod:      origin.Default(true, "Linkerd: methods are not checked"),
		OtherEndpoints: origin.Default(true, "Recloser: not the endpoint that failed"),
	}
	if len(on) > 0 {
		retry.On = origin.Value[[]string]{Value: on, Origin: first}
	}
	if len(statuses) > 0 {
		retry.Statuses = origin.Value[[]routing.StatusRange]{Value: statuses, Origin: r.origin(retryHTTP)}
	}
	return retry
}

func (r *reader) limit() origin.Value[uint32] {
	s, ok := r.values[retryLimit]
	if !ok {
		return origin.Default(uint32(defaultLimit), "Linkerd")
	}
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 16)
	if err != nil {
		r.annotation(retryLimit, source.Error, "bad-number", fmt.Sprintf("this is not such a number; %d, the default, holds", defaultLimit), "a whole number from 0 to 65535", "")
		return origin.Default(uint32(defaultLimit), "Linkerd")
	}
	if n == 0 {
		r.annotation(retryLimit, source.Info, "linkerd-differs", "0 switches retries off here; Linkerd takes it for not there, so it tries once more", "", "")
	}
	return origin.Value[uint32]{Value: uint32(n), Origin: r.origin(retryLimit)}
}

// http reads retryHTTP: Envoy's names for what has one, and statuses.
func (r *reader) http() (statuses []routing.StatusRange, on []string) {
	value, ok := r.values[retryHTTP]
	if !ok {
		return nil, nil
	}
	for item := range strings.SplitSeq(value, ",") {
		item = strings.TrimSpace(item)
		if item == anyServerError || item == anyGatewayError {
			on = append(on, item)
			continue
		}
		first, last, isRange := strings.Cut(item, "-")
		if !isRange {
			last = first
		}
		a, err1 := strconv.ParseUint(strings.TrimSpace(first), 10, 32)
		b, err2 := strconv.ParseUint(strings.TrimSpace(last), 10, 32)
		if err1 != nil || err2 != nil || a < minStatus || b > maxStatus || a > b {
			r.item(retryHTTP, item, allowedHTTP, []string{anyServerError, anyGatewayError})
			continue
		}
		statuses = append(statuses, routing.StatusRange{First: uint32(a), Last: uint32(b)})
	}
	return statuses, on
}

func (r *reader) grpc() (on []string) {
	value, ok := r.values[retryGRPC]
	if !ok {
		return nil
	}
	for item := range strings.SplitSeq(value, ",") {
		item = strings.TrimSpace(item)
		if slices.Contains(grpcConditions, item) {
			on = append(on, item)
			continue
		}
		r.item(retryGRPC, item, strings.Join(grpcConditions, ", "), grpcConditions)
	}
	return on
}

// item tells of one item of a list that cannot be.
func (r *reader) item(name, item, allowed string, candidates []string) {
	r.find(source.AnnotationPath(name), item, source.Error, "bad-retry-condition", "there is no such condition; it is left out", allowed, source.Meant(item, candidates))
}

// finder collects what is wrong with one object.
type finder struct {
	object source.Object
	out    []source.Problem
}

func (f *finder) find(field, value string, severity source.Severity, code, reason, allowed, mend string) {
	f.out = append(f.out, f.object.Problem(source.Problem{
		Code: code, Severity: severity, Field: field, Value: value, Allowed: allowed, Reason: reason, Mend: mend,
	}))
}
