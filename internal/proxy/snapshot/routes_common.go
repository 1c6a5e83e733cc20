package snapshot

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/filter"
	"github.com/reclosermesh/recloser/internal/proxy/route"
)

// routeMetadata is the key of what Envoy's routes cannot say: who wrote the
// rule, response_timeout, any_method, retry_backoff_min, and
// failure_statuses.
const routeMetadata = "recloser.route"

// editing is what routes, hosts and route configurations say of headers.
type editing interface {
	GetRequestHeadersToAdd() []*corev3.HeaderValueOption
	GetRequestHeadersToRemove() []string
	GetResponseHeadersToAdd() []*corev3.HeaderValueOption
	GetResponseHeadersToRemove() []string
}

// common reads what a route, a host and a RouteConfiguration say alike.
func (p *problems) common(at string, m editing, filters map[string]*anypb.Any) route.Common {
	out := route.Common{
		RequestHeaders:  p.edits(at+"request_headers_to_add", m.GetRequestHeadersToAdd(), m.GetRequestHeadersToRemove()),
		ResponseHeaders: p.edits(at+"response_headers_to_add", m.GetResponseHeadersToAdd(), m.GetResponseHeadersToRemove()),
	}
	for _, name := range slices.Sorted(maps.Keys(filters)) {
		p.filterConfig(at+"typed_per_filter_config["+name+"]", &out, filters[name])
	}
	return out
}

func (p *problems) edits(at string, add []*corev3.HeaderValueOption, remove []string) []filter.Edit {
	var out []filter.Edit
	for _, name := range remove {
		out = append(out, filter.Edit{Op: filter.Remove, Name: name})
	}
	for i, o := range add {
		e := filter.Edit{Op: filter.Add, Name: o.GetHeader().GetKey(), Value: o.GetHeader().GetValue(), KeepEmpty: o.GetKeepEmptyValue()}
		if raw := o.GetHeader().GetRawValue(); len(raw) > 0 {
			e.Value = string(raw)
		}
		switch o.GetAppendAction() {
		case corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD:
			if a := o.GetAppend(); a != nil && !a.GetValue() { //nolint:staticcheck // Istio still sends it
				e.Op = filter.Set
			}
		case corev3.HeaderValueOption_ADD_IF_ABSENT:
			e.Op = filter.AddIfAbsent
		case corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD:
			e.Op = filter.Set
		case corev3.HeaderValueOption_OVERWRITE_IF_EXISTS:
			e.Op = filter.SetIfPresent
		default:
			p.add("%s[%d].append_action %s: is not supported", at, i, o.GetAppendAction())
		}
		out = append(out, e)
	}
	return out
}

// filterConfig reads what a filter is told for a part of the routes.
func (p *problems) filterConfig(at string, out *route.Common, config *anypb.Any) {
	wrapper := new(routev3.FilterConfig)
	cors, fault := new(corsv3.CorsPolicy), new(faultv3.HTTPFault)
	optional, disabled := false, false
	if config.MessageIs(wrapper) {
		if err := config.UnmarshalTo(wrapper); err != nil {
			p.add("%s: %w", at, err)
			return
		}
		config, optional, disabled = wrapper.GetConfig(), wrapper.GetIsOptional(), wrapper.GetDisabled()
	}
	switch {
	case config.MessageIs(cors):
		if err := config.UnmarshalTo(cors); err != nil {
			p.add("%s: %w", at, err)
			return
		}
		if out.CORS = p.cors(at+".", cors); disabled {
			out.CORS = &route.CORS{CORSConfig: filter.CORSConfig{ForwardPreflights: true}} // nobody is let in
		}
	case config.MessageIs(fault):
		if err := config.UnmarshalTo(fault); err != nil {
			p.add("%s: %w", at, err)
			return
		}
		if out.Fault = p.fault(at+".", fault); disabled {
			out.Fault = &filter.Fault{}
		}
	case optional, disabled:
	default:
		p.add("%s: %s is not supported, but CorsPolicy and HTTPFault", at, config.GetTypeUrl())
	}
}

func (p *problems) cors(at string, m *corsv3.CorsPolicy) *route.CORS {
	out := &route.CORS{CORSConfig: filter.CORSConfig{
		Methods: m.GetAllowMethods(), Headers: m.GetAllowHeaders(), Expose: m.GetExposeHeaders(), MaxAge: m.GetMaxAge(),
		Credentials: m.GetAllowCredentials().GetValue(), PrivateNetwork: m.GetAllowPrivateNetworkAccess().GetValue(),
		ForwardPreflights: m.GetForwardNotMatchingPreflights() == nil || m.GetForwardNotMatchingPreflights().GetValue(),
	}}
	for i, o := range m.GetAllowOriginStringMatch() {
		out.Origins = append(out.Origins, p.text(fmt.Sprintf("%sallow_origin_string_match[%d]", at, i), o))
	}
	p.unsupported(at, m, "shadow_enabled")
	if f := m.GetFilterEnabled(); f != nil {
		switch p.millionths(at+"filter_enabled.default_value", f.GetDefaultValue()) {
		case route.Million:
		case 0:
			return &route.CORS{CORSConfig: filter.CORSConfig{ForwardPreflights: true}}
		default:
			p.add("%sfilter_enabled: only 0%% and 100%% are supported", at)
		}
	}
	return out
}

func (p *problems) fault(at string, m *faultv3.HTTPFault) *filter.Fault {
	p.only(at, m, "delay", "abort")
	out := new(filter.Fault)
	if d := m.GetDelay(); d != nil {
		p.unsupported(at+"delay.", d, "header_delay")
		out.Delay = p.duration(at+"delay.fixed_delay", d.GetFixedDelay(), 0)
		out.DelayShare = filter.Share(p.millionths(at+"delay.percentage", d.GetPercentage()))
	}
	if a := m.GetAbort(); a != nil {
		p.unsupported(at+"abort.", a, "header_abort")
		out.AbortStatus, out.AbortGRPC = int(a.GetHttpStatus()), int(a.GetGrpcStatus())
		out.AbortShare = filter.Share(p.millionths(at+"abort.percentage", a.GetPercentage()))
	}
	return out
}

// routeMetadata reads what a control plane like ours sends beside Envoy's
// fields. It must come after the rule's retries.
func (p *problems) routeMetadata(at string, rule *route.Rule, m *corev3.Metadata) {
	own := m.GetFilterMetadata()[routeMetadata].GetFields()
	if own == nil {
		return
	}
	rule.Origin = route.Origin{
		Object: own["object"].GetStringValue(), Field: own["field"].GetStringValue(), Dialect: own["dialect"].GetStringValue(),
	}
	at += routeMetadata + "."
	if v, ok := own["response_timeout"]; ok {
		d, err := time.ParseDuration(v.GetStringValue())
		if rule.ResponseTimeout = d; err != nil || d < 0 {
			p.add("%sresponse_timeout %q: must be a duration, as \"2s\", and not negative", at, v.GetStringValue())
		}
	}
	if rule.Retry != nil && isTrue(own["any_method"]) {
		rule.Retry.AnyMethod = true
	}
	if v, ok := own["failure_statuses"]; ok {
		var err error
		if rule.Failures, err = parseStatuses(v.GetStringValue()); err != nil {
			p.add("%sfailure_statuses %q: %w", at, v.GetStringValue(), err)
		}
	}
	if v, ok := own["retry_backoff_min"]; ok && rule.Retry != nil {
		d, err := time.ParseDuration(v.GetStringValue())
		if rule.Retry.BackoffMin = d; err != nil || d < 0 {
			p.add("%sretry_backoff_min %q: must be a duration, as \"2s\", and not negative", at, v.GetStringValue())
		}
	}
}

// parseStatuses reads "404,500-599"; "none" is a range that no status is in.
func parseStatuses(text string) ([]breaker.StatusRange, error) {
	if text == "none" {
		return []breaker.StatusRange{{First: -1, Last: -1}}, nil
	}
	var out []breaker.StatusRange
	for item := range strings.SplitSeq(text, ",") {
		first, last, ranged := strings.Cut(item, "-")
		if !ranged {
			last = first
		}
		a, err1 := strconv.Atoi(first)
		b, err2 := strconv.Atoi(last)
		if err1 != nil || err2 != nil || a < 100 || b > 599 || a > b {
			return nil, errors.New("must be statuses and ranges of them within 100 to 599, as \"404,500-599\", or \"none\"")
		}
		out = append(out, breaker.StatusRange{First: a, Last: b})
	}
	return out, nil
}

func isTrue(v *structpb.Value) bool { return v.GetBoolValue() || v.GetStringValue() == "true" }
