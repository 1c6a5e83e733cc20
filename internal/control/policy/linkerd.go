package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/reclosermesh/recloser/internal/control/model"
)

// LinkerdJSON is a value whose JSON is what `linkerd diagnostics policy -o json`
// prints: that of linkerd2-proxy-api's OutboundPolicy, where what is zero is left
// out. The accrual of a port whose protocol is detected is at
// .protocol.Kind.Detect.http1.failure_accrual and at the same place of http2, and
// absent when there is none; a port whose protocol is declared has Http1, Http2
// or Opaque in place of Detect.
//
// It has the parts that mean something here: the default route, which leads to
// the service's own balancer, and the accrual.
func LinkerdJSON(e *Effective) any {
	routes := []object{{
		"metadata": object{"Kind": object{"Default": "http"}},
		"rules": []object{{
			"matches": []object{{"path": object{"Kind": object{"Prefix": "/"}}}},
			"backends": object{"Kind": object{"FirstAvailable": object{
				"backends": []object{{"backend": linkerdBackend(e)}},
			}}},
		}},
	}}
	http := func() object {
		h := object{"routes": routes}
		if a := linkerdAccrual(e.Breaker); a != nil {
			h["failure_accrual"] = a
		}
		return h
	}
	opaque := object{"routes": []object{{
		"metadata": object{"Kind": object{"Default": "opaque"}},
		"rules": []object{{"backends": object{"Kind": object{"FirstAvailable": object{
			"backends": []object{{"backend": linkerdBackend(e)}},
		}}}}},
	}}}
	var kind object
	protocol := e.Protocol.Value
	if strings.HasSuffix(e.Protocol.Origin.Field, ".name") {
		protocol = model.Detect // Linkerd does not read the names of ports
	}
	switch protocol {
	case model.TCP, model.TLS:
		kind = object{"Opaque": opaque}
	case model.HTTP1:
		kind = object{"Http1": http()}
	case model.HTTP2:
		kind = object{"Http2": http()}
	default:
		kind = object{"Detect": object{
			"timeout": linkerdDuration(10 * time.Second), "opaque": opaque, "http1": http(), "http2": http(),
		}}
	}
	return object{"metadata": linkerdMetadata(e), "protocol": object{"Kind": kind}}
}

type object = map[string]any

func linkerdMetadata(e *Effective) object {
	return object{"Kind": object{"Resource": object{
		"group": "core", "kind": "Service", "name": e.Service, "namespace": e.Namespace, "port": e.Port,
	}}}
}

func linkerdBackend(e *Effective) object {
	return object{
		"metadata": linkerdMetadata(e),
		"queue":    withoutZeros(object{"capacity": e.MaxWaiting.Value, "failfast_timeout": linkerdDuration(e.FailFast.Value)}),
		"Kind": object{"Balancer": object{
			"discovery": object{"Kind": object{"Dst": object{
				"path": fmt.Sprintf("%s.%s.svc.cluster.local:%d", e.Service, e.Namespace, e.Port),
			}}},
			"Load": object{"PeakEwma": object{
				"default_rtt": linkerdDuration(30 * time.Millisecond), "decay": linkerdDuration(10 * time.Second),
			}},
		}},
	}
}

// The messages of the accrual, with fields in the order of the protos, as the
// tutorial prints them; a map would sort them.
type consecutiveFailures struct {
	MaxFailures uint32         `json:"max_failures,omitempty"`
	Backoff     linkerdBackoff `json:"backoff"`
}

type unified struct {
	SuccessRateThreshold   float64        `json:"success_rate_threshold,omitempty"`
	Decay                  protoDuration  `json:"decay"`
	MinRequests            uint32         `json:"min_requests,omitempty"`
	MaxConsecutiveFailures uint32         `json:"max_consecutive_failures,omitempty"`
	Backoff                linkerdBackoff `json:"backoff"`
}

type linkerdBackoff struct {
	MinBackoff  protoDuration `json:"min_backoff"`
	MaxBackoff  protoDuration `json:"max_backoff"`
	JitterRatio float32       `json:"jitter_ratio,omitempty"`
}

type protoDuration struct {
	Seconds int64 `json:"seconds,omitempty"`
	Nanos   int32 `json:"nanos,omitempty"`
}

func linkerdAccrual(b *Breaker) any {
	if b == nil {
		return nil
	}
	backoff := linkerdBackoff{
		MinBackoff: linkerdDuration(b.MinPenalty.Value), MaxBackoff: linkerdDuration(b.MaxPenalty.Value),
		JitterRatio: float32(b.Jitter.Value),
	}
	if s := b.SuccessRate; s != nil {
		return object{"Kind": object{"Unified": unified{
			SuccessRateThreshold: s.Threshold.Value, Decay: linkerdDuration(s.Window.Value),
			MinRequests: s.MinRequests.Value, MaxConsecutiveFailures: b.MaxFailures.Value, Backoff: backoff,
		}}}
	}
	return object{"Kind": object{"ConsecutiveFailures": consecutiveFailures{b.MaxFailures.Value, backoff}}}
}

func linkerdDuration(d time.Duration) protoDuration {
	return protoDuration{Seconds: int64(d / time.Second), Nanos: int32(d % time.Second)}
}

func withoutZeros(o object) object {
	for k, v := range o {
		if v == uint32(0) {
			delete(o, k)
		}
	}
	return o
}
