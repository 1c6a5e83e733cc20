package explain

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
)

// object is a Kubernetes object as JSON has it.
type object = map[string]any

type list = []any

// generator makes meshes of all dialects, and requests that often meet their
// rules. What is made depends on the seed alone.
type generator struct {
	*rand.Rand
	objects []object
	slices  int
}

const namespace = "shop"

func pick[T any](g *generator, of ...T) T { return of[g.IntN(len(of))] }

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

func (g *generator) add(apiVersion, kind, name string, spec object) {
	g.objects = append(g.objects, object{
		"apiVersion": apiVersion, "kind": kind, "metadata": object{"name": name, "namespace": namespace}, "spec": spec,
	})
}

// service adds a Service with one endpoint.
func (g *generator) service(name string, annotations object, address string) {
	host, port, _ := net.SplitHostPort(address)
	number, _ := strconv.Atoi(port)
	g.objects = append(g.objects, object{
		"apiVersion": "v1", "kind": "Service", "metadata": object{"name": name, "namespace": namespace, "annotations": annotations},
		"spec": object{"ports": list{object{"name": "http", "port": 80, "appProtocol": "http"}}},
	}, object{
		"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
		"metadata":  object{"name": name + "-1", "namespace": namespace, "labels": object{"kubernetes.io/service-name": name}},
		"endpoints": list{object{"addresses": list{host}, "conditions": object{"ready": true}}},
		"ports":     list{object{"name": "http", "port": number}},
	})
}

// documents are all objects in one file.
func (g *generator) documents() []byte {
	var out strings.Builder
	for _, o := range g.objects {
		raw, err := json.Marshal(o)
		if err != nil {
			panic(err) // maps and lists of plain values
		}
		out.Write(raw)
		out.WriteString("\n---\n")
	}
	return []byte(out.String())
}

// subject adds a service with rules of one dialect or of several.
func (g *generator) subject(name, address string) {
	annotations := object{}
	if g.chance(15) {
		annotations["recloser.io/stack-routes"] = "true"
	}
	if g.chance(8) {
		annotations["recloser.io/route-to"] = g.backend(name)
	}
	if g.chance(20) {
		annotations["balancer.linkerd.io/failure-accrual"] = "consecutive"
	}
	if g.chance(20) {
		annotations["timeout.linkerd.io/request"] = "20s"
	}
	if g.chance(20) {
		annotations["retry.linkerd.io/http"] = "5xx"
	}
	g.service(name, annotations, address)
	kinds := []func(string){g.httpRoute, g.httpRoute, g.httpRoute, g.grpcRoute, g.virtualService, g.virtualService, g.split, g.profile, func(string) {}}
	pick(g, kinds...)(name)
	if g.chance(15) {
		pick(g, kinds...)(name)
	}
}

// backend names a service to send to.
func (g *generator) backend(self string) string {
	return pick(g, self, "b0", "b1", "b2", "b3", "b4", "b5")
}

func (g *generator) path() string {
	return pick(g, "/", "/a", "/a/b", "/a/", "/ab", "/api/v1", "/api", "/x%20y", "/A")
}

func (g *generator) httpRoute(name string) {
	g.slices++
	var rules list
	for range 1 + g.IntN(4) {
		rules = append(rules, g.httpRule(name))
	}
	version := "gateway.networking.k8s.io/v1"
	g.add(version, "HTTPRoute", fmt.Sprintf("%s-%d", name, g.slices), object{
		"parentRefs": list{object{"group": "", "kind": "Service", "name": name}}, "rules": rules,
	})
}

func (g *generator) httpRule(name string) object {
	prefix := g.path()
	rule, rewrites := object{}, g.chance(25)
	switch {
	case rewrites:
		rule["matches"] = list{object{"path": object{"type": "PathPrefix", "value": prefix}}}
	case g.chance(80):
		var matches list
		for range 1 + g.IntN(2) {
			matches = append(matches, g.httpMatch())
		}
		rule["matches"] = matches
	}
	var filters list
	if g.chance(40) {
		filters = append(filters, object{"type": "RequestHeaderModifier", "requestHeaderModifier": g.modifier("x-req")})
	}
	if g.chance(30) {
		filters = append(filters, object{"type": "ResponseHeaderModifier", "responseHeaderModifier": g.modifier("x-resp")})
	}
	if g.chance(20) {
		filters = append(filters, object{"type": "CORS", "cors": object{
			"allowOrigins": list{pick(g, "*", "https://good.example")}, "allowMethods": list{"GET", "PUT"}, "allowCredentials": g.chance(50),
		}})
	}
	switch {
	case g.chance(15):
		redirect := object{"statusCode": pick(g, 301, 302, 303, 307, 308)}
		if g.chance(50) {
			redirect["hostname"] = "other.example"
		}
		if g.chance(30) {
			redirect["scheme"] = "https"
		}
		if g.chance(30) {
			redirect["port"] = pick(g, 80, 443, 8443)
		}
		if g.chance(50) {
			redirect["path"] = g.pathModifier(rewrites)
		}
		rule["filters"] = append(filters, object{"type": "RequestRedirect", "requestRedirect": redirect})
		return rule
	case rewrites:
		rewrite := object{"path": g.pathModifier(true)}
		if g.chance(40) {
			rewrite["hostname"] = "rewritten.example"
		}
		filters = append(filters, object{"type": "URLRewrite", "urlRewrite": rewrite})
	}
	if len(filters) > 0 {
		rule["filters"] = filters
	}
	var refs list
	for range 1 + g.IntN(3) {
		ref := object{"name": g.backend(name), "port": 80, "weight": g.IntN(4)}
		if g.chance(6) {
			ref["name"] = "gone"
		}
		if g.chance(25) {
			ref["filters"] = list{object{"type": "RequestHeaderModifier", "requestHeaderModifier": g.modifier("x-backend")}}
		}
		refs = append(refs, ref)
	}
	rule["backendRefs"] = refs
	return rule
}

func (g *generator) grpcRoute(name string) {
	g.slices++
	var rules list
	for range 1 + g.IntN(3) {
		rule := object{"backendRefs": list{object{"name": g.backend(name), "port": 80, "weight": 1 + g.IntN(3)}}}
		if g.chance(80) {
			m := object{}
			if g.chance(70) {
				m["method"] = object{"type": "Exact", "service": "shop.v1." + pick(g, "Cart", "Order"), "method": pick(g, "Get", "Put")}
			}
			if g.chance(40) || len(m) == 0 {
				m["headers"] = list{object{"name": "x-user", "value": pick(g, "alice", "bob")}}
			}
			rule["matches"] = list{m}
		}
		if g.chance(30) {
			rule["filters"] = list{object{"type": "RequestHeaderModifier", "requestHeaderModifier": g.modifier("x-req")}}
		}
		rules = append(rules, rule)
	}
	g.add("gateway.networking.k8s.io/v1", "GRPCRoute", fmt.Sprintf("%s-%d", name, g.slices), object{
		"parentRefs": list{object{"group": "", "kind": "Service", "name": name}}, "rules": rules,
	})
}

// pathModifier may replace a prefix where the rule has one prefix.
func (g *generator) pathModifier(prefix bool) object {
	if prefix && g.chance(70) {
		return object{"type": "ReplacePrefixMatch", "replacePrefixMatch": pick(g, "/", "/new", "/new/", "")}
	}
	return object{"type": "ReplaceFullPath", "replaceFullPath": pick(g, "/full", "/full/path")}
}

func (g *generator) modifier(name string) object {
	m := object{}
	if g.chance(60) {
		m["set"] = list{object{"name": name, "value": pick(g, "set", "100%", "%REQ(x)%")}}
	}
	if g.chance(40) {
		m["add"] = list{object{"name": "X-More", "value": "added"}}
	}
	if g.chance(40) || len(m) == 0 {
		m["remove"] = list{pick(g, "x-user", "X-Debug")}
	}
	return m
}

func (g *generator) httpMatch() object {
	m := object{}
	switch g.IntN(4) {
	case 0:
		m["path"] = object{"type": "Exact", "value": g.path()}
	case 1:
		m["path"] = object{"type": "RegularExpression", "value": pick(g, "/a.*", "/(api|x).*", "/[a-z]+/b")}
	case 2:
		m["path"] = object{"type": "PathPrefix", "value": g.path()}
	}
	if g.chance(20) {
		m["method"] = pick(g, "GET", "POST")
	}
	if g.chance(30) {
		m["headers"] = list{object{"type": pick(g, "Exact", "RegularExpression"), "name": pick(g, "x-user", "X-Debug"), "value": pick(g, "alice", "bob", "1")}}
	}
	if g.chance(20) {
		m["queryParams"] = list{object{"name": "q", "value": pick(g, "1", "2")}}
	}
	return m
}

func (g *generator) virtualService(name string) {
	var http list
	for i := range 1 + g.IntN(4) {
		http = append(http, g.istioRule(name, i))
	}
	g.slices++
	g.add("networking.istio.io/v1", "VirtualService", fmt.Sprintf("%s-%d", name, g.slices), object{"hosts": list{name}, "http": http})
}

func (g *generator) istioRule(name string, i int) object {
	rule := object{"name": fmt.Sprint("rule-", i)}
	if g.chance(85) {
		var matches list
		for range 1 + g.IntN(2) {
			matches = append(matches, g.istioMatch())
		}
		rule["match"] = matches
	}
	if g.chance(35) {
		rule["headers"] = object{
			"request": object{"set": object{"x-req": pick(g, "set", "%REQ(x-user)%")}, "remove": list{"x-debug"}}, "response": object{"add": object{"x-resp": "added"}},
		}
	}
	if g.chance(15) {
		rule["corsPolicy"] = object{
			"allowOrigins": list{object{pick(g, "exact", "prefix"): "https://good.example"}}, "allowMethods": list{"GET"},
			"unmatchedPreflights": pick(g, "FORWARD", "IGNORE"),
		}
	}
	switch {
	case g.chance(10):
		rule["redirect"] = object{"uri": "/moved", "redirectCode": pick(g, 301, 307)}
		return rule
	case g.chance(10):
		rule["directResponse"] = object{"status": pick(g, 200, 418, 503), "body": object{"string": "direct"}}
		return rule
	}
	var to list
	for range 1 + g.IntN(3) {
		d := object{"destination": object{"host": g.backend(name)}, "weight": 1 + g.IntN(9)}
		if g.chance(5) {
			d["destination"] = object{"host": "gone"}
		}
		if g.chance(20) {
			d["headers"] = object{"request": object{"set": object{"x-backend": "set"}}}
		}
		to = append(to, d)
	}
	rule["route"] = to
	if g.chance(25) {
		rule["rewrite"] = object{"uri": pick(g, "/", "/new", "/new/")}
		if g.chance(50) {
			rule["rewrite"].(object)["authority"] = "rewritten.example"
		}
	}
	if g.chance(20) {
		rule["fault"] = object{"abort": object{"httpStatus": pick(g, 429, 555), "percentage": object{"value": 100}}}
	}
	return rule
}

func (g *generator) istioMatch() object {
	m := object{}
	if g.chance(75) {
		m["uri"] = object{pick(g, "exact", "prefix", "regex"): g.path()}
		if _, regex := m["uri"].(object)["regex"]; !regex {
			m["ignoreUriCase"] = g.chance(25)
		}
	}
	if g.chance(20) {
		m["method"] = object{"exact": pick(g, "GET", "POST")}
	}
	if g.chance(25) {
		m["headers"] = object{pick(g, "x-user", "x-debug"): object{pick(g, "exact", "prefix", "regex"): pick(g, "alice", "bob", "1")}}
	}
	if g.chance(8) {
		m["scheme"] = object{"exact": pick(g, "http", "https")}
	}
	if g.chance(15) {
		m["withoutHeaders"] = object{"x-user": object{"exact": "bob"}}
	}
	if g.chance(15) || len(m) == 0 {
		m["queryParams"] = object{"q": object{"exact": "1"}}
	}
	return m
}

func (g *generator) split(name string) {
	spec := object{"service": name, "backends": list{
		object{"service": g.backend(name), "weight": g.IntN(5)}, object{"service": pick(g, "b6", "b7"), "weight": 1 + g.IntN(5)},
	}}
	version := "split.smi-spec.io/v1alpha2"
	g.slices++
	if g.chance(50) {
		version = "split.smi-spec.io/v1alpha4"
		group := fmt.Sprintf("%s-%d", name, g.slices)
		g.add("specs.smi-spec.io/v1alpha4", "HTTPRouteGroup", group, object{"matches": list{
			object{"name": "one", "pathRegex": pick(g, "/a.*", ".*"), "methods": list{pick(g, "GET", "*")}},
		}})
		spec["matches"] = list{object{"kind": "HTTPRouteGroup", "name": group}}
	}
	g.add(version, "TrafficSplit", fmt.Sprintf("%s-%d", name, g.slices), spec)
}

func (g *generator) profile(name string) {
	spec := object{"routes": list{
		object{"name": "reads", "condition": object{"method": "GET", "pathRegex": pick(g, "/a.*", "/api/[^/]*")}, "isRetryable": true, "timeout": "10s"},
		object{"name": "rest", "condition": object{"pathRegex": "/.*"}},
	}}
	if g.chance(50) {
		spec["dstOverrides"] = list{
			object{"authority": g.backend(name) + "." + namespace + ".svc.cluster.local:80", "weight": 1 + g.IntN(3)},
			object{"authority": "b1." + namespace + ".svc.cluster.local:80", "weight": g.IntN(3)},
		}
	}
	g.add("linkerd.io/v1alpha2", "ServiceProfile", name+"."+namespace+".svc.cluster.local", spec)
}

// request makes one for a service.
func (g *generator) request(service string) *Request {
	r := &Request{Method: pick(g, "GET", "GET", "POST", "PUT"), Scheme: "http", Authority: service + pick(g, "", ":80", "."+namespace, "."+namespace+".svc.cluster.local:80")}
	r.Path = g.path() + pick(g, "", "", "/", "/b", "c", "/b/c") + pick(g, "", "?q=1", "?q=2&p", "?")
	if g.chance(15) {
		r.GRPC, r.Method, r.Path = true, "POST", "/shop.v1."+pick(g, "Cart", "Order")+"/"+pick(g, "Get", "Put")
		r.Headers = []Header{{"content-type", "application/grpc"}}
	}
	if g.chance(40) {
		r.Headers = append(r.Headers, Header{pick(g, "X-User", "x-user"), pick(g, "alice", "bob")})
	}
	if g.chance(40) {
		r.Headers = append(r.Headers, Header{"x-debug", "1"})
	}
	if g.chance(15) {
		r.Headers = append(r.Headers, Header{"X-More", "mine"})
	}
	if g.chance(20) {
		r.Headers = append(r.Headers, Header{"Origin", pick(g, "https://good.example", "https://bad.example")})
		if g.chance(50) && !r.GRPC {
			r.Method = "OPTIONS"
			r.Headers = append(r.Headers, Header{"Access-Control-Request-Method", "PUT"})
		}
	}
	return r
}
