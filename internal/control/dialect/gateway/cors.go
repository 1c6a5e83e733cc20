package gateway

import (
	"regexp"
	"strings"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
)

// defaultMaxAge is Gateway API's (HTTPCORSFilter, maxAge).
const defaultMaxAge = 5 * time.Second

func (c *compiler) cors(field string, f *gatewayv1.HTTPCORSFilter) *routing.CORS {
	if f == nil {
		return nil
	}
	o := c.route.Object
	out := &routing.CORS{
		Origin: origin.Of(o, field), MaxAge: origin.Default(defaultMaxAge, "Gateway API: 5 seconds"),
		AllowMethods: texts(f.AllowMethods), AllowHeaders: texts(f.AllowHeaders), ExposeHeaders: texts(f.ExposeHeaders),
	}
	for _, v := range f.AllowOrigins {
		out.AllowOrigins = append(out.AllowOrigins, corsOrigin(string(v)))
	}
	if f.MaxAge > 0 {
		out.MaxAge = origin.Said(time.Duration(f.MaxAge)*time.Second, o, field+".maxAge")
	}
	if f.AllowCredentials != nil {
		out.AllowCredentials = origin.Said(*f.AllowCredentials, o, field+".allowCredentials")
	}
	return out
}

// corsOrigin compares an origin as browsers write it: the host in lower case,
// and no port where it is the scheme's. A * stands for one label or more, alone
// for any host (HTTPCORSFilter, allowOrigins).
func corsOrigin(v string) routing.Text {
	if v == "*" {
		return routing.Text{Kind: routing.Regex, Value: ".*"}
	}
	v = strings.ToLower(v)
	if rest, ok := strings.CutPrefix(v, "http://"); ok {
		v = "http://" + strings.TrimSuffix(rest, ":80")
	}
	if rest, ok := strings.CutPrefix(v, "https://"); ok {
		v = "https://" + strings.TrimSuffix(rest, ":443")
	}
	scheme, host, _ := strings.Cut(v, "://")
	host, wild := strings.CutPrefix(host, "*")
	switch {
	case !wild:
		return routing.Text{Kind: routing.Exact, Value: v, IgnoreCase: true}
	case host == "" || host[0] == ':':
		return routing.Text{Kind: routing.Regex, Value: scheme + `://(?:\[[^\]]*\]|[^:/]+)` + regexp.QuoteMeta(host), IgnoreCase: true}
	default:
		return routing.Text{Kind: routing.Regex, Value: scheme + `://[^:/]+` + regexp.QuoteMeta(host), IgnoreCase: true}
	}
}

func texts[T ~string](list []T) []string {
	var out []string
	for _, v := range list {
		out = append(out, string(v))
	}
	return out
}
