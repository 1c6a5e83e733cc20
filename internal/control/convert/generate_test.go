package convert

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// maker makes manifests of all dialects at random.
type maker struct {
	*rand.Rand
	b strings.Builder
}

func pick[T any](m *maker, list ...T) T { return list[m.IntN(len(list))] }

func (m *maker) chance(percent int) bool { return m.IntN(100) < percent }

func (m *maker) doc(format string, args ...any) {
	fmt.Fprintf(&m.b, "---\n"+format+"\n", args...)
}

// mesh has services a and b in namespace one and c in two, b with two ports, and
// objects of one to three dialects.
func (m *maker) mesh() string {
	for _, s := range []struct{ name, ns, ports string }{
		{"a", "one", "[{name: http, port: 80}]"},
		{"b", "one", "[{name: http, port: 8080}, {name: http-x, port: 8081}]"},
		{"c", "two", "[{name: tcp-db, port: 5432}, {name: http, port: 80}]"},
	} {
		m.doc("apiVersion: v1\nkind: Service\nmetadata:\n  name: %s\n  namespace: %s\n  annotations: {%s}\nspec: {ports: %s}", s.name, s.ns, m.annotations(), s.ports)
	}
	for i := range 1 + m.IntN(3) {
		switch m.IntN(7) {
		case 6:
			m.grpcRoute(i)
		case 0, 1:
			m.virtualService(i)
		case 2, 3:
			m.httpRoute(i)
		case 4:
			m.destinationRule(i)
		case 5:
			m.doc("apiVersion: split.smi-spec.io/v1alpha2\nkind: TrafficSplit\nmetadata: {name: t%d, namespace: one}\nspec: {service: a, backends: [{service: a, weight: %d}, {service: b, weight: 1}]}", i, m.IntN(3))
		}
	}
	return m.b.String()
}

func (m *maker) annotations() string {
	var out []string
	add := func(percent int, format string, args ...any) {
		if m.chance(percent) {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(20, "balancer.linkerd.io/failure-accrual: %s", pick(m, "consecutive", "unified"))
	if len(out) > 0 {
		add(50, "balancer.linkerd.io/failure-accrual-consecutive-max-failures: %q", pick(m, "3", "9"))
		add(50, "balancer.linkerd.io/failure-accrual-consecutive-min-penalty: %q", pick(m, "500ms", "2s"))
		add(50, "balancer.linkerd.io/failure-accrual-consecutive-jitter-ratio: %q", pick(m, "0.25", "0"))
	}
	add(10, "recloser.io/load-balancer: %s", pick(m, "random", "round-robin"))
	add(10, "recloser.io/fail-fast-timeout: %s", pick(m, "100ms", "7s"))
	add(10, "recloser.io/max-waiting-requests: %q", "12")
	add(15, "retry.linkerd.io/http: %q", pick(m, "5xx", "gateway-error,429", "500-504"))
	add(15, "timeout.linkerd.io/request: %q", pick(m, "3s", "150ms"))
	add(10, "timeout.linkerd.io/response: %q", "2s")
	return strings.Join(out, ", ")
}

func (m *maker) virtualService(i int) {
	host := pick(m, "a.one.svc.cluster.local", "b.one.svc.cluster.local", "c.two.svc.cluster.local")
	exportTo := pick(m, "", "", "", "  exportTo: ['.']\n", "  exportTo: [two]\n")
	var rules []string
	for range 1 + m.IntN(3) {
		rules = append(rules, m.istioRule())
	}
	m.doc("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v%d, namespace: %s}\nspec:\n  hosts: [%s]\n%s  http:\n  - %s", i, pick(m, "one", "two"), host, exportTo, strings.Join(rules, "\n  - "))
}

func (m *maker) istioRule() string {
	var parts []string
	add := func(percent int, format string, args ...any) {
		if m.chance(percent) {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(80, "match: [%s]", m.istioMatch())
	add(20, "corsPolicy: {allowOrigins: [%s], allowMethods: [GET]%s}", pick(m, "{exact: 'https://a.example'}", "{prefix: 'https://a'}", "{regex: '.*'}"), pick(m, "", ", maxAge: 60s", ", unmatchedPreflights: IGNORE"))
	add(30, "headers: {request: {set: {x-a: %s}, add: {x-b: c}, remove: [x-c]}, response: {set: {x-d: e}}}", pick(m, "plain", "'100%%'", "'%PROTOCOL%'"))
	if m.chance(15) {
		parts = append(parts, "redirect: "+pick(m, "{uri: /new, authority: else.example}", "{scheme: https, redirectCode: 308}", "{authority: else.example, port: 8443}"))
		return "{" + strings.Join(parts, ", ") + "}"
	}
	if m.chance(10) {
		parts = append(parts, "directResponse: {status: 418, body: {string: tea}}")
		return "{" + strings.Join(parts, ", ") + "}"
	}
	add(25, "rewrite: %s", pick(m, "{uri: /v2}", "{uri: /v2/}", "{authority: other.example}", `{uriRegexRewrite: {match: "^/(.*)$", rewrite: "/z/\\1"}}`))
	add(30, "timeout: %s", pick(m, "2s", "100ms", "0s"))
	add(40, "retries: {attempts: %d, retryOn: '%s'%s}", 1+m.IntN(3), pick(m, "5xx", "connect-failure,refused-stream,reset,503", "gateway-error,unavailable", "retriable-4xx"), pick(m, "", ", perTryTimeout: 200ms", ", backoff: 40ms"))
	add(15, "fault: {delay: {fixedDelay: 10ms, percentage: {value: 5}}, abort: {%s, percentage: {value: 0.5}}}", pick(m, "httpStatus: 503", "grpcStatus: INTERNAL"))
	add(20, "mirrors: [{destination: {host: c.two.svc.cluster.local, port: {number: 80}}, percentage: {value: %s}}]", pick(m, "100", "12.5"))
	route := "{destination: {host: b.one.svc.cluster.local, port: {number: 8080}}, weight: 3%s}"
	header := pick(m, "", ", headers: {request: {set: {x-z: y}}}")
	parts = append(parts, fmt.Sprintf("route: [%s]", pick(m,
		fmt.Sprintf(route, header),
		fmt.Sprintf(route, header)+", {destination: {host: a.one.svc.cluster.local, port: {number: 80}}, weight: 1}",
		fmt.Sprintf(route, header)+", {destination: {host: gone.one.svc.cluster.local}, weight: 1}",
		"{destination: {host: a.one.svc.cluster.local, port: {number: 80}, subset: s1}, weight: 1}, {destination: {host: a.one.svc.cluster.local, port: {number: 80}, subset: s2}, weight: 4}",
	)))
	return "{" + strings.Join(parts, ", ") + "}"
}

func (m *maker) istioMatch() string {
	parts := []string{pick(m, "uri: {prefix: /}", "uri: {prefix: /a}", "uri: {prefix: /a/}", "uri: {exact: /a/b}", `uri: {regex: "/a/[a-c]+"}`, "uri: {prefix: /A}, ignoreUriCase: true", "port: 80")}
	if m.chance(30) {
		parts = append(parts, pick(m, "method: {exact: GET}", "method: {prefix: P}", "authority: {exact: a.one}", "scheme: {exact: http}"))
	}
	if m.chance(30) {
		parts = append(parts, pick(m, "headers: {x-k: {exact: v}}", "headers: {x-k: {prefix: v}}", "headers: {x-k: {}}", "withoutHeaders: {x-k: {exact: v}}", `headers: {x-k: {regex: "v+"}}`))
	}
	if m.chance(20) {
		parts = append(parts, pick(m, "queryParams: {q: {exact: '1'}}", "queryParams: {q: {prefix: '1'}}", "queryParams: {q: {exact: ''}}"))
	}
	if m.chance(10) {
		parts = append(parts, "sourceNamespace: two")
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func (m *maker) httpRoute(i int) {
	name, ns, port := "a", "one", 80
	if m.chance(50) {
		name, port = "b", 8080
	}
	var notes []string
	if m.chance(30) {
		notes = append(notes, "retry.linkerd.io/http: 5xx", "retry.linkerd.io/limit: '2'")
	}
	if m.chance(30) {
		notes = append(notes, "timeout.linkerd.io/response: 900ms", "timeout.linkerd.io/idle: 1m")
	}
	var rules []string
	for range 1 + m.IntN(3) {
		rules = append(rules, m.gatewayRule())
	}
	m.doc("apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r%d, namespace: %s, annotations: {%s}}\nspec:\n  parentRefs: [{group: '', kind: Service, name: %s, namespace: %s%s}]\n  rules:\n  - %s",
		i, pick(m, "one", "two"), strings.Join(notes, ", "), name, ns, pick(m, "", fmt.Sprintf(", port: %d", port)), strings.Join(rules, "\n  - "))
}

func (m *maker) grpcRoute(i int) {
	var rules []string
	for range 1 + m.IntN(3) {
		method := pick(m, "", "matches: [{method: {service: a}}], ", "matches: [{method: {service: a, method: b}}], ", "matches: [{method: {method: b}}], ",
			"matches: [{method: {type: RegularExpression, service: 'a|b', method: '[a-c]'}}], ", "matches: [{method: {service: b}, headers: [{name: x-k, value: v}]}], ")
		rules = append(rules, "{"+method+"backendRefs: ["+pick(m, "{name: a, port: 80}", "{name: gone, port: 80}, {name: b, port: 8080, weight: 2}")+"]}")
	}
	m.doc("apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {name: g%d, namespace: one, annotations: {%s}}\nspec:\n  parentRefs: [{group: '', kind: Service, name: %s}]\n  rules:\n  - %s",
		i, pick(m, "", "retry.linkerd.io/grpc: unavailable", "timeout.linkerd.io/request: 3s"), pick(m, "a", "b"), strings.Join(rules, "\n  - "))
}

func (m *maker) gatewayRule() string {
	var parts, filters []string
	path := pick(m, "{type: PathPrefix, value: /}", "{type: PathPrefix, value: /a}", "{type: PathPrefix, value: /a/b}", "{type: Exact, value: /a}", `{type: RegularExpression, value: "/[ab]/.*"}`)
	more := pick(m, "", "", ", method: POST", ", headers: [{name: x-k, value: v}]", ", queryParams: [{name: q, value: '1'}]", `, headers: [{name: X-K, type: RegularExpression, value: "v|w"}]`)
	parts = append(parts, fmt.Sprintf("matches: [{path: %s%s}]", path, more))
	redirect := m.chance(15)
	if redirect {
		filters = append(filters, "{type: RequestRedirect, requestRedirect: "+pick(m, "{hostname: else.example}", "{scheme: https, port: 8443, statusCode: 301}", "{path: {type: ReplaceFullPath, replaceFullPath: /n}, hostname: e.example}")+"}")
	} else {
		if m.chance(25) && strings.Contains(path, "Prefix") {
			filters = append(filters, "{type: URLRewrite, urlRewrite: "+pick(m, "{path: {type: ReplacePrefixMatch, replacePrefixMatch: /n}}", "{path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}", "{hostname: h.example, path: {type: ReplaceFullPath, replaceFullPath: /f}}")+"}")
		}
		if m.chance(20) {
			filters = append(filters, "{type: RequestMirror, requestMirror: {backendRef: {name: c, namespace: two, port: 80}"+pick(m, "", ", percent: 10", ", fraction: {numerator: 1, denominator: 8}")+"}}")
		}
		parts = append(parts, "backendRefs: ["+pick(m, "{name: a, namespace: one, port: 80}", "{name: a, namespace: one, port: 80, weight: 1}, {name: b, namespace: one, port: 8081, weight: 9}", "{name: gone, namespace: one, port: 80}", "{name: a, namespace: one, port: 80, weight: 0}")+"]")
		if m.chance(25) {
			parts = append(parts, "timeouts: "+pick(m, "{request: 2s}", "{request: 1s, backendRequest: 300ms}", "{backendRequest: 1s}"))
		}
		if m.chance(25) {
			parts = append(parts, "retry: "+pick(m, "{attempts: 2, codes: [500, 503]}", "{codes: [429], backoff: 50ms}"))
		}
	}
	if m.chance(25) {
		filters = append(filters, "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-p, value: '50%'}], remove: [x-r]}}")
	}
	if m.chance(15) {
		filters = append(filters, "{type: CORS, cors: {allowOrigins: ['https://*.example.com'], maxAge: 30}}")
	}
	if len(filters) > 0 {
		parts = append(parts, "filters: ["+strings.Join(filters, ", ")+"]")
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func (m *maker) destinationRule(i int) {
	var parts []string
	add := func(percent int, format string, args ...any) {
		if m.chance(percent) {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(50, "connectionPool: {tcp: {maxConnections: %d, connectTimeout: 250ms}, http: {http1MaxPendingRequests: 3, idleTimeout: 5m}}", 1+m.IntN(9))
	add(50, "outlierDetection: {consecutive5xxErrors: %d, baseEjectionTime: %s%s}", m.IntN(8), pick(m, "15s", "2m"), pick(m, "", ", maxEjectionPercent: 100", ", consecutiveGatewayErrors: 2, interval: 3s"))
	add(40, "loadBalancer: %s", pick(m, "{simple: ROUND_ROBIN}", "{simple: LEAST_REQUEST, warmup: {duration: 30s}}", "{consistentHash: {httpHeaderName: x-u}}", "{consistentHash: {httpCookie: {name: s, ttl: 60s}}}"))
	add(20, "tls: {mode: SIMPLE, sni: x.example}")
	add(100, "retryBudget: {percent: 25}")
	m.doc("apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d%d, namespace: one}\nspec:\n  host: a\n  trafficPolicy: {%s}\n  subsets: [{name: s1, labels: {v: '1'}}, {name: s2, labels: {v: '2'}, trafficPolicy: {connectionPool: {tcp: {maxConnections: 77}}}}]", i, strings.Join(parts, ", "))
}
