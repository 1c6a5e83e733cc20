package snapshot

import (
	"strings"
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/reclosermesh/recloser/internal/proxy/filter"
	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/proxy/xds"
)

// ruleOf compiles one route, given without its match.
func ruleOf(t *testing.T, match, text string) (route.Rule, error) {
	t.Helper()
	cfg, err := compileHost(read(t, new(routev3.VirtualHost), `{"name": "h", "domains": ["*"], "routes": [{"match": `+match+`, `+text+`}]}`))
	if err != nil {
		return route.Rule{}, err
	}
	return cfg.Rules[0], nil
}

const anyPathMatch = `{"prefix": "/"}`

func TestRouteActions(t *testing.T) {
	edit := func(op filter.Op, name, value string) filter.Edit {
		return filter.Edit{Op: op, Name: name, Value: value}
	}
	for _, tt := range []struct {
		name, match, text string
		want              route.Rule
	}{
		{
			"edits of headers", anyPathMatch,
			`"requestHeadersToAdd": [
				{"header": {"key": "a", "value": "1"}}, {"header": {"key": "b", "value": "2"}, "appendAction": "OVERWRITE_IF_EXISTS_OR_ADD", "keepEmptyValue": true},
				{"header": {"key": "c", "value": "3"}, "appendAction": "ADD_IF_ABSENT"}, {"header": {"key": "d", "value": "4"}, "appendAction": "OVERWRITE_IF_EXISTS"},
				{"header": {"key": "e", "value": "5"}, "append": false}, {"header": {"key": "f", "rawValue": "Ng=="}}],
			"requestHeadersToRemove": ["x"], "responseHeadersToAdd": [{"header": {"key": "r", "value": "%RESPONSE_CODE%"}}], "responseHeadersToRemove": ["y"],
			"route": {"weightedClusters": {"clusters": [{"name": "c", "weight": 1, "hostRewriteLiteral": "other",
				"requestHeadersToAdd": [{"header": {"key": "k", "value": "v"}}], "responseHeadersToRemove": ["z"]}]}}`,
			route.Rule{
				RequestHeaders: []filter.Edit{
					edit(filter.Remove, "x", ""), edit(filter.Add, "a", "1"),
					{Op: filter.Set, Name: "b", Value: "2", KeepEmpty: true},
					edit(filter.AddIfAbsent, "c", "3"), edit(filter.SetIfPresent, "d", "4"), edit(filter.Set, "e", "5"), edit(filter.Add, "f", "6"),
				},
				ResponseHeaders: []filter.Edit{edit(filter.Remove, "y", ""), edit(filter.Add, "r", "%RESPONSE_CODE%")},
				Backends: []route.WeightedCluster{{
					Cluster: "c", Weight: 1, Host: "other",
					RequestHeaders: []filter.Edit{edit(filter.Add, "k", "v")}, ResponseHeaders: []filter.Edit{edit(filter.Remove, "z", "")},
				}},
			},
		},
		{
			"rewrite of a prefix of characters", `{"prefix": "/a"}`, `"route": {"cluster": "c", "prefixRewrite": "/b", "hostRewriteLiteral": "h"}`,
			route.Rule{Host: "h", Path: &filter.PathConfig{Kind: filter.ReplaceText, Value: "/b", Matched: "/a"}},
		},
		{
			"rewrite of a prefix of segments", `{"pathSeparatedPrefix": "/a"}`, `"route": {"cluster": "c", "prefixRewrite": "/b"}`,
			route.Rule{Path: &filter.PathConfig{Kind: filter.ReplaceSegments, Value: "/b", Matched: "/a"}},
		},
		{
			"rewrite of an exact path", `{"path": "/a"}`, `"route": {"cluster": "c", "prefixRewrite": "/b"}`,
			route.Rule{Path: &filter.PathConfig{Kind: filter.ReplaceFull, Value: "/b", Matched: "/a"}},
		},
		{
			"rewrite by a regular expression", anyPathMatch, `"route": {"cluster": "c", "regexRewrite": {"pattern": {"regex": "^/a(.*)"}, "substitution": "/b\\1"}}`,
			route.Rule{Path: &filter.PathConfig{Kind: filter.ReplaceRegex, Pattern: "^/a(.*)", Value: `/b\1`}},
		},
		{
			"times", anyPathMatch, `"route": {"cluster": "c", "timeout": "2s", "idleTimeout": "0s", "maxStreamDuration": {"maxStreamDuration": "60s", "grpcTimeoutHeaderMax": "0s"}},
			"metadata": {"filterMetadata": {"recloser.route": {"object": "httproute/x -n y", "field": "spec.rules[0]", "dialect": "Gateway API", "response_timeout": "1.5s"}}}`,
			route.Rule{
				Timeout: 2 * time.Second, IdleTimeout: route.NoTimeout, MaxStream: time.Minute, ResponseTimeout: 1500 * time.Millisecond,
				Origin: route.Origin{Object: "httproute/x -n y", Field: "spec.rules[0]", Dialect: "Gateway API"},
			},
		},
		{
			"retries", anyPathMatch, `"route": {"cluster": "c", "retryPolicy": {"retryOn": "5xx,retriable-status-codes, http3-post-connect-failure", "numRetries": 3, "perTryTimeout": "1s",
				"retriableStatusCodes": [429, 404, 430, 428], "retryBackOff": {"baseInterval": "0.1s", "maxInterval": "2s"},
				"retryHostPredicate": [{"name": "p", "typedConfig": {"@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"}}],
				"retriableHeaders": [{"name": "x", "presentMatch": true}], "retriableRequestHeaders": [{"name": "y", "presentMatch": true}]}},
			"metadata": {"filterMetadata": {"recloser.route": {"any_method": "true"}}}`,
			route.Rule{Retry: &route.Retry{
				On: route.On5xx | route.OnStatuses, Attempts: 3, PerTry: time.Second, BackoffBase: 100 * time.Millisecond, BackoffMax: 2 * time.Second,
				Statuses: []route.StatusRange{{First: 404, Last: 404}, {First: 428, Last: 430}}, AnyMethod: true,
				Headers: []route.HeaderMatch{{Name: "x"}}, RequestHeaders: []route.HeaderMatch{{Name: "y"}},
			}},
		},
		{
			"a bound of one try alone", anyPathMatch, `"route": {"cluster": "c", "retryPolicy": {"numRetries": 0, "perTryTimeout": "1s"}}`,
			route.Rule{Retry: &route.Retry{PerTry: time.Second}},
		},
		{
			"mirrors", anyPathMatch, `"route": {"cluster": "c", "clusterNotFoundResponseCode": "INTERNAL_SERVER_ERROR", "requestMirrorPolicies": [
				{"cluster": "m", "disableShadowHostSuffixAppend": true},
				{"cluster": "n", "runtimeFraction": {"defaultValue": {"numerator": 5, "denominator": "TEN_THOUSAND"}}}]}`,
			route.Rule{MissingStatus: 500, Mirrors: []route.MirrorConfig{{Cluster: "m", Fraction: 1_000_000}, {Cluster: "n", Fraction: 500, ShadowHost: true}}},
		},
		{
			"hashing", anyPathMatch, `"route": {"cluster": "c", "hashPolicy": [
				{"header": {"headerName": "x-user"}, "terminal": true}, {"cookie": {"name": "s", "ttl": "60s", "path": "/", "attributes": [{"name": "Secure"}]}},
				{"cookie": {"name": "t"}}, {"connectionProperties": {"sourceIp": true}}, {"queryParameter": {"name": "q"}}]}`,
			route.Rule{Hash: []route.HashConfig{
				{Kind: route.HashHeader, Name: "x-user", Terminal: true},
				{Kind: route.HashCookie, Name: "s", Generate: true, TTL: time.Minute, Path: "/", Attributes: []route.CookieAttribute{{Name: "Secure"}}},
				{Kind: route.HashCookie, Name: "t"},
				{Kind: route.HashSourceIP},
				{Kind: route.HashQuery, Name: "q"},
			}},
		},
		{
			"redirect", `{"pathSeparatedPrefix": "/a"}`, `"redirect": {"httpsRedirect": true, "hostRedirect": "h", "portRedirect": 8443, "prefixRewrite": "/b", "stripQuery": true, "responseCode": "PERMANENT_REDIRECT"}`,
			route.Rule{Redirect: &filter.RedirectConfig{
				Scheme: "https", Host: "h", Port: 8443, StripQuery: true, Status: 308,
				Path: &filter.PathConfig{Kind: filter.ReplaceSegments, Value: "/b", Matched: "/a"},
			}},
		},
		{
			"redirect to a path", anyPathMatch, `"redirect": {"schemeRedirect": "http", "pathRedirect": "/b?c", "responseCode": "SEE_OTHER"}`,
			route.Rule{Redirect: &filter.RedirectConfig{Scheme: "http", Status: 303, Path: &filter.PathConfig{Kind: filter.ReplaceFull, Value: "/b?c"}}},
		},
		{
			"direct answer", anyPathMatch, `"directResponse": {"status": 418, "body": {"inlineString": "teapot"}}`,
			route.Rule{Direct: &route.Direct{Status: 418, Body: []byte("teapot")}},
		},
		{
			"CORS and faults", anyPathMatch, `"route": {"cluster": "c"}, "typedPerFilterConfig": {
				"envoy.filters.http.cors": {"@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
					"allowOriginStringMatch": [{"exact": "*"}, {"prefix": "https://a."}], "allowMethods": "GET", "allowHeaders": "x", "exposeHeaders": "y", "maxAge": "5",
					"allowCredentials": true, "forwardNotMatchingPreflights": false},
				"envoy.filters.http.fault": {"@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
					"delay": {"fixedDelay": "1s", "percentage": {"numerator": 50}}, "abort": {"grpcStatus": 14, "percentage": {"numerator": 1, "denominator": "MILLION"}}}}`,
			route.Rule{
				CORS: &route.CORS{
					Origins:    []route.ValueMatch{{Kind: route.ValueExact, Value: "*"}, {Kind: route.ValuePrefix, Value: "https://a."}},
					CORSConfig: filter.CORSConfig{Methods: "GET", Headers: "x", Expose: "y", MaxAge: "5", Credentials: true},
				},
				Fault: &filter.Fault{Delay: time.Second, DelayShare: 500_000, AbortGRPC: 14, AbortShare: 1},
			},
		},
		{
			"filters that are switched off", anyPathMatch, `"route": {"cluster": "c"}, "typedPerFilterConfig": {
				"cors": {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true, "config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy"}},
				"other": {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "isOptional": true, "config": {"@type": "type.googleapis.com/envoy.config.route.v3.Vhds"}},
				"fault": {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true, "config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"}}}`,
			route.Rule{CORS: &route.CORS{CORSConfig: filter.CORSConfig{ForwardPreflights: true}}, Fault: &filter.Fault{}},
		},
	} {
		got, err := ruleOf(t, tt.match, tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got.Match = route.Match{}
		if got.Redirect == nil && got.Direct == nil && tt.want.Backends == nil {
			tt.want.Backends = []route.WeightedCluster{{Cluster: "c", Weight: 1}}
		}
		if len(got.Backends) > 0 && tt.want.MissingStatus == 0 {
			tt.want.MissingStatus = 503 // Envoy's default
		}
		if diff := cmp.Diff(tt.want, got, cmp.FilterPath(func(p cmp.Path) bool {
			f, ok := p.Last().(cmp.StructField)
			return ok && (f.Name() == "answers" || f.Name() == "requests")
		}, cmp.Ignore())); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestRouteRefusedByName(t *testing.T) {
	const to = `"cluster": "c", `
	for _, tt := range []struct{ text, want string }{
		{`"route": {` + to + `"hostRewriteHeader": "x"}`, "routes[0].route.host_rewrite_header: is not supported"},
		{`"route": {` + to + `"prefixRewrite": "/a", "regexRewrite": {"pattern": {"regex": "a"}}}`, "prefix_rewrite: cannot be beside regex_rewrite"},
		{`"route": {` + to + `"regexRewrite": {"pattern": {"regex": "("}, "substitution": "a"}}`, `pattern "("`},
		{`"route": {` + to + `"hostRewriteLiteral": "a b"}`, `host_rewrite "a b"`},
		{`"route": {` + to + `"retryPolicy": {"retryOn": "sometimes"}}`, `retry_on "sometimes"`},
		{`"route": {` + to + `"retryPolicy": {"retryPriority": {"name": "x"}}}`, "retry_policy.retry_priority: is not supported"},
		{`"route": {` + to + `"retryPolicy": {"retryHostPredicate": [{"name": "canary"}]}}`, `retry_host_predicate[0] "canary"`},
		{`"route": {` + to + `"maxStreamDuration": {"grpcTimeoutHeaderMax": "1s"}}`, "grpc_timeout_header_max 1s"},
		{`"route": {` + to + `"requestMirrorPolicies": [{"clusterHeader": "x"}]}`, "request_mirror_policies[0].cluster_header"},
		{`"route": {` + to + `"hashPolicy": [{"header": {"headerName": "x", "regexRewrite": {}}}]}`, "hash_policy[0].header.regex_rewrite"},
		{`"route": {` + to + `"hashPolicy": [{"filterState": {"key": "x"}}]}`, "hash_policy[0].policy_specifier"},
		{`"route": {"weightedClusters": {"clusters": [{"name": "c", "weight": 1, "typedPerFilterConfig": {"x": {"@type": "type.googleapis.com/google.protobuf.Empty"}}}]}}`, "typed_per_filter_config: is not supported"},
		{`"redirect": {"portRedirect": 70000}`, "port_redirect 70000"},
		{`"directResponse": {"status": 100}`, "direct_response.status 100"},
		{`"directResponse": {"status": 200, "body": {"filename": "/etc/passwd"}}`, "body: only inline_bytes and inline_string"},
		{`"route": {` + to + `}, "requestHeadersToAdd": [{"header": {"key": "Host", "value": "x"}}]`, `request_headers[0] "Host"`},
		{`"route": {` + to + `}, "responseHeadersToAdd": [{"header": {"key": "x", "value": "%NONE%"}}]`, "variable %NONE% is not supported"},
		{`"route": {` + to + `}, "metadata": {"filterMetadata": {"recloser.route": {"response_timeout": "soon"}}}`, `response_timeout "soon"`},
		{`"route": {` + to + `}, "typedPerFilterConfig": {"x": {"@type": "type.googleapis.com/google.protobuf.Empty"}}`, "typed_per_filter_config[x]: type.googleapis.com/google.protobuf.Empty is not supported"},
		{`"route": {` + to + `}, "typedPerFilterConfig": {"f": {"@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault", "upstreamCluster": "x", "delay": {"headerDelay": {}}}}`, "typed_per_filter_config[f].upstream_cluster: is not supported"},
		{`"route": {` + to + `}, "typedPerFilterConfig": {"c": {"@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy", "filterEnabled": {"defaultValue": {"numerator": 50}}}}`, "filter_enabled: only 0% and 100%"},
	} {
		if _, err := ruleOf(t, anyPathMatch, strings.ReplaceAll(tt.text, ", }", "}")); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.text, err, tt.want)
		}
	}
}

// What a host and its RouteConfiguration say holds for all routes, and for hosts
// that are asked for later.
func TestCommonOfRoutes(t *testing.T) {
	set := func(value string) string {
		return `"requestHeadersToAdd": [{"header": {"key": "x", "value": "` + value + `"}, "appendAction": "OVERWRITE_IF_EXISTS_OR_ADD"}]`
	}
	host := `{"name": "h", "domains": ["*"], ` + set("host") + `, "retryPolicy": {"retryOn": "5xx"}, "requestMirrorPolicies": [{"cluster": "m"}],
		"routes": [{"match": {"prefix": "/"}, ` + set("rule") + `, "route": {"weightedClusters": {"clusters": [{"name": "c", "weight": 1, ` + set("backend") + `}]}}}]}`
	for _, tt := range []struct{ config, want string }{
		{`{"name": "r", ` + set("config") + `}`, "config"},
		{`{"name": "r", ` + set("config") + `, "mostSpecificHeaderMutationsWins": true}`, "backend"},
		{`{"name": "r"}`, "host"},
	} {
		spec, err := compileRoutes(read(t, new(routev3.RouteConfiguration), tt.config))
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := compileHost(read(t, new(routev3.VirtualHost), host))
		if err != nil {
			t.Fatal(err)
		}
		a := route.New(cfg, spec.common, func(string) *upstream.Cluster { return nil }).Actions()[0]
		var arena []byte
		got := a.Backends[0].RequestHeaders.Apply(nil, &arena, nil, nil)
		if len(got) != 1 || string(got[0].Value) != tt.want {
			t.Errorf("%s: %q wins, want %q", tt.config, got[0].Value, tt.want)
		}
		if a.Retry == nil || a.Retry.Attempts != 1 || len(a.Mirrors) != 1 || a.Mirrors[0].Name != "m" {
			t.Errorf("of the host there is %+v, %+v", a.Retry, a.Mirrors)
		}
	}
	if _, err := compileRoutes(read(t, new(routev3.RouteConfiguration), `{"requestHeadersToRemove": ["host"], "ignorePortInHostMatching": true}`)); err == nil ||
		!strings.Contains(err.Error(), `request_headers[0] "host"`) || !strings.Contains(err.Error(), "ignore_port_in_host_matching") {
		t.Error(err)
	}
}

// The RouteConfiguration of a host that is asked for has a say in it too, also
// when it changes.
func TestCommonReachesHostsOnDemand(t *testing.T) {
	r, l := ready(t, Config{})
	got := r.await(l, "bb")
	r.asked("VirtualHost outbound/bb")
	r.apply(xds.VirtualHost, "outbound/bb", hostOf("c", "bb"))
	r.apply(xds.Cluster, "c", static("c", "10.0.0.1"))
	take(t, got)
	if table, _ := l.Hosts.Lookup([]byte("bb")); table.Actions()[0].Backends[0].RequestHeaders != nil {
		t.Error("something is edited")
	}
	config := proto.CloneOf(onDemand())
	config.RequestHeadersToRemove = []string{"x"}
	r.apply(xds.RouteConfig, "outbound", config)
	table, known := l.Hosts.Lookup([]byte("bb"))
	if !known || table.Actions()[0].Backends[0].RequestHeaders == nil {
		t.Error("what the RouteConfiguration says does not reach the host")
	}
}
