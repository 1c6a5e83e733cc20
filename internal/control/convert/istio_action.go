package convert

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

func istioRedirect(d *routing.Redirect) object {
	out := object{"redirectCode": d.Status.Value}
	if d.Scheme != "" {
		out["scheme"] = d.Scheme
	}
	if d.Host != "" {
		out["authority"] = d.Host
	}
	if d.Port != 0 {
		out["port"] = d.Port
	}
	switch p := d.Path; {
	case p == nil:
	case p.Kind == routing.ReplaceFull:
		out["uri"] = p.Value
	default:
		out["prefixRewrite"] = p.Value
	}
	return out
}

func istioDirect(d *routing.Direct) object {
	out := object{"status": d.Status}
	switch {
	case len(d.Body) == 0:
	case utf8.Valid(d.Body):
		out["body"] = object{"string": string(d.Body)}
	default:
		out["body"] = object{"bytes": base64.StdEncoding.EncodeToString(d.Body)}
	}
	return out
}

// istioRetries says also that there are none: Istio has some of its own.
func istioRetries(t *routing.Retry) object {
	if t == nil {
		return object{"attempts": 0}
	}
	on := append([]string(nil), t.On.Value...)
	for _, s := range t.Statuses.Value {
		on = append(on, strconv.Itoa(int(s.First)))
	}
	out := object{"attempts": t.Attempts.Value, "retryOn": strings.Join(on, ",")}
	if t.PerTry.Value > 0 {
		out["perTryTimeout"] = t.PerTry.Value.String()
	}
	if isWritten(t.BackoffBase) && t.BackoffBase.Value > 0 {
		out["backoff"] = t.BackoffBase.Value.String()
	}
	if t.OtherEndpoints.IsSet() && !t.OtherEndpoints.Value {
		out["retryIgnorePreviousHosts"] = false
	}
	return out
}

func istioFault(f *routing.Fault) object {
	out := object{}
	if f == nil {
		return out
	}
	if d := f.Delay; d != nil {
		out["delay"] = object{"fixedDelay": d.Duration.String(), "percentage": object{"value": d.Percent}}
	}
	if a := f.Abort; a != nil {
		x := object{"percentage": object{"value": a.Percent}}
		if a.HTTPStatus != 0 {
			x["httpStatus"] = a.HTTPStatus
		} else {
			x["grpcStatus"] = source.GRPCName(a.GRPCStatus)
		}
		out["abort"] = x
	}
	return out
}
