package explain

import (
	"fmt"

	"github.com/reclosermesh/recloser/internal/proxy/filter"
	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/route"
)

// outcome does what the request path does with an action, in its order.
func (e *explainer) outcome(action *route.Action) Outcome {
	if fields, ok := action.CORS.Preflight(nil, e.request); ok {
		return Outcome{Kind: Preflight, Status: 200, Headers: headers(fields)}
	}
	if f := action.Fault; f != nil && f.AbortShare == filter.Every {
		out := Outcome{Kind: Aborted, Status: f.AbortStatus, Reason: "a fault answers all requests"}
		if f.AbortStatus == 0 {
			grpc := f.AbortGRPC
			out.GRPCStatus = &grpc
		}
		return out
	}
	switch {
	case action.Redirect != nil:
		location, ok := action.Redirect.AppendLocation(nil, e.answer.Request.Scheme, e.request)
		if !ok {
			return Outcome{Kind: Refused, Status: 500, Reason: fmt.Sprintf("it is redirected to %q, which is no URL", location)}
		}
		return e.own(action, Outcome{Kind: Redirected, Status: action.Redirect.Status(), Location: string(location)},
			[]http1.Header{{Name: []byte("location"), Value: location}})
	case action.Direct != nil:
		return e.own(action, Outcome{Kind: Direct, Status: action.Direct.Status, Body: string(action.Direct.Body)}, nil)
	}
	return Outcome{Kind: Forwarded}
}

// own gives an answer of the route its headers.
func (e *explainer) own(action *route.Action, o Outcome, fields []http1.Header) Outcome {
	v := e.vars(action.RouteName, "")
	v.Status, v.Answer = o.Status, fields
	var arena []byte
	fields = action.ResponseHeaders.Apply(nil, &arena, fields, &v)
	o.Headers = headers(action.CORS.Answer(nil, fields, e.request))
	return o
}

// vars are the variables of which something is known before a request is sent.
func (e *explainer) vars(rule, cluster string) filter.Vars {
	v := filter.Vars{Request: e.request, Protocol: "HTTP/1.1", Route: rule, Cluster: cluster}
	if e.answer.Request.GRPC {
		v.Protocol = "HTTP/2"
	}
	return v
}

func headers(hs []http1.Header) []Header {
	var out []Header
	for i := range hs {
		out = append(out, Header{string(hs[i].Name), string(hs[i].Value)})
	}
	return out
}
