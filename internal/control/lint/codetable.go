package lint

func codesRead() []Code {
	return []Code{
		{"syntax", Error, "a document is not YAML", "mend the line that is named; a fault in one document leaves the others alone"},
		{"unreadable", Error, "a file or folder cannot be read, or a file is empty", "make it readable; its last good objects stay until then"},
		{"not-an-object", Error, "a document is not an object with apiVersion and kind", "write one object in each document"},
		{"no-kind", Error, "an object has no apiVersion or no kind", "write both"},
		{"unknown-kind", Warning, "a kind that is not understood is passed over; of kinds that mean nothing to a mesh it is an info", "look at the spelling, and at the apiVersion that is named"},
		{"no-name", Error, "an object has no name", "give it one"},
		{"bad-name", Error, "a name cannot be part of a host name, or cannot be at that place", "use the letters that are allowed"},
		{"duplicate-object", Error, "an object is defined twice; the first one is used", "delete one of the two"},
		{"duplicate-key", Error, "a key stands twice in an object; one of the two would be lost", "delete one"},
		{"unknown-field", Warning, "there is no such field; it is passed over; an error, for which the object is refused, where it would say which requests something is for", "the nearest known one is named"},
		{"wrong-type", Error, "a value has the wrong type", "write one of the type that is named"},
		{"wrong-value", Error, "there is no such value", "one of those that are allowed"},
		{"invalid-field", Error, "a field has a value that cannot be", "one of those that are allowed"},
		{"missing-field", Error, "something that must be there is not; a warning where the rest works without it", "add it"},
		{"too-large", Error, "a document has too many values or levels, or a list is too long", "divide it"},
		{"no-spec", Error, "an object has no spec", "write one, or delete the object"},
		{"empty-block", Error, "a block that must say something is empty, as Istio refuses it", "write a field, or leave the block out"},
	}
}

func codesServices() []Code {
	return []Code{
		{"no-ports", Error, "a Service has no ports that requests can come to", "add a port"},
		{"bad-port", Error, "this is no port from 1 to 65535", "write another number"},
		{"duplicate-port", Error, "two ports have one number", "change one"},
		{"selects-nothing", Warning, "a selector fits nothing that there is", "compare the labels"},
		{"unknown-target-port", Warning, "the targetPort is the name of a port that no instance has", "name a port of the instances"},
		{"not-supported", Warning, "a field or an annotation is understood and not acted on", "nothing, or do it in another way"},
		{"not-applicable", Info, "something has no meaning on this machine", "nothing"},
		{"wrong-object", Warning, "an annotation is on an object of a kind that it is not read from", "move it to the kind that is named"},
		{"unknown-annotation", Warning, "an annotation looks like one of ours or Linkerd's, and is none", "the nearest known one is named"},
		{"no-effect", Warning, "something is right and does nothing, for the reason that is named; an info where that is likely meant", "delete it, or add what it needs"},
		{"unknown-app-protocol", Warning, "nobody here knows this appProtocol; what holds is named", "the nearest known one is named"},
		{"conflicting-protocol", Warning, "two places say different things of the protocol of a port; which one decides is named", "have both say the same"},
		{"undeclared-grpc", Info, "this looks like gRPC, of which nothing is said; it works", "appProtocol: grpc says it for every mesh"},
		{"grpc-as-http1", Info, "this looks like gRPC, and the port's name says HTTP/1.1; it works here", "appProtocol: grpc says it for every mesh"},
		{"services-disagree", Warning, "two ports lead to one port of the same instances and say different things of it", "have both say the same"},
		{"default-opaque-replaced", Info, "a list of opaque ports takes the place of the well-known ones, of which this is one", "add it to the list"},
		{"bad-opaque-ports", Error, "an item of a list of opaque ports is none", "numbers, ranges and names of ports, with commas"},
		{"no-such-port", Warning, "a port is named that the Service does not have; an error where requests are refused for it", "one of those that are named"},
		{"bad-target", Error, "an annotation or a policy names no service", "write NAME or NAME.NAMESPACE"},
		{"bad-value", Error, "an annotation has a value that cannot be", "one of those that are allowed"},
		{"bad-number", Error, "this is not a number of the allowed range", "one of the range"},
		{"bad-duration", Error, "this is not a duration in the form that the dialect has", "the form that is named"},
	}
}

func codesRoutes() []Code {
	return []Code{
		{"shadowed-rule", Warning, "a rule never gets a request, because an earlier one takes all that it matches", "make its match narrower than the other's, or put it first"},
		{"two-match-all", Warning, "two rules match every request; the second never gets one", "give it a match, or delete one"},
		{"routes-not-stacked", Warning, "a backend has routes of its own, which do not hold for what comes by way of another service", `set recloser.io/stack-routes: "true" on the backend`},
		{"has-no-effect", Info, "something was written about requests and holds for none of them, whoever asks; a warning where another dialect decides", "the reason names what comes first"},
		{"zero-weights", Warning, "the weights of all backends are 0; an error where the dialect refuses that", "give one a weight"},
		{"bad-weight", Error, "this is no weight", "a whole number from 0"},
		{"port-and-weight-swapped", Warning, "a backend's service has no such port, but one of the number that is its weight", "swap the two"},
		{"no-such-backend", Error, "a backend is a service that is not there; a warning where it is left out", "create it, or mend the name"},
		{"unknown-host", Warning, "a host resolves to nothing, so the object has no effect", "the nearest known one is named"},
		{"unsafe-retries", Warning, "requests that are not idempotent (POST, PATCH) are sent again, which may do twice what they do", "have retries for routes that match safe methods"},
		{"retry-over-timeout", Warning, "one try may take as long as the whole exchange, so a slow one is never tried again", "make the try's bound shorter than the request's"},
		{"retries-cut-short", Info, "not all tries fit into the bound of the whole exchange", "lower the bound of a try, or their number"},
		{"retry-amplification", Warning, "tries of several layers multiply: one request may become more than ten at the end of a chain of calls", "try again in one layer only"},
		{"retry-storm", Warning, "more retries than requests are allowed", "a share of 0.2"},
		{"timeout-order", Warning, "a bound is longer than one that always comes before it", "make it shorter"},
		{"probe-before-breaker", Info, "a readiness probe takes a failing endpoint away before the breaker acts", "make the breaker quicker, or leave it to the probe"},
		{"deprecated-version", Info, "an API version has a successor; it is read all the same", "write the successor"},
		{"deprecated-field", Info, "a field has a successor; it is read all the same", "write the successor"},
		{"ignored-field", Warning, "a field is not read", "the place that is read is named"},
		{"bad-regex", Error, "this is no regular expression of RE2", "mend it"},
		{"bad-method", Error, "this is no method", "GET, POST and so on"},
		{"bad-header", Error, "this is not the name of a header", "letters, digits and dashes"},
		{"bad-status", Error, "this is no status of HTTP, or no range of them", "100 to 599"},
		{"bad-host", Error, "this is not the name of a host, or of a service", "the form that is named"},
		{"bad-percentage", Error, "this is no percentage", "0 to 100"},
		{"header-not-changed", Error, "a header cannot be changed, because the proxy itself writes it, or its value cannot be sent", "leave it out"},
		{"opaque-port", Warning, "routes are for a port whose bytes are not looked at", "say that the port speaks HTTP"},
	}
}

func codesFailover() []Code {
	return []Code{
		{"unknown-target", Error, "a service that is to stand in for another, or its port, is not there; it is passed over", "one that there is"},
		{"failover-loop", Error, "a service is to stand in for itself", "remove it from the list"},
		{"repeated-target", Warning, "a service is there twice in a list", "remove one of them"},
		{"too-many-targets", Error, "more services are to stand in for one than there can be priorities", "fewer of them"},
		{"bad-factor", Error, "the factor by which requests overflow to other services is not one", "a percentage from 100 on; 140 is Envoy's"},
		{"failover-without-breaker", Warning, "others are to stand in for a service of which nothing finds out that it fails", "add balancer.linkerd.io/failure-accrual, or a DestinationRule with outlierDetection"},
	}
}

func codesGateway() []Code {
	return []Code{
		{"no-parent", Warning, "a route has no parent of which it could be the route", "name a Service in parentRefs"},
		{"no-matching-parent", Error, "a parent is a Service or port that is not there, or cannot have routes", "mend the reference"},
		{"other-parent", Info, "a parent is not a Service (a Gateway), and is passed over", "nothing"},
		{"core-group", Info, `a reference says group "core"; Services are of the group ""`, `write group: ""`},
		{"conflicted", Warning, "another object has the say: a GRPCRoute over HTTPRoutes of a port, an older policy for the Service", "give the two different ports, or delete one"},
		{"no-backends", Info, "a rule without backends leads to its parent", "nothing"},
		{"no-rules", Warning, "there are no rules", "add one"},
		{"bad-backend", Error, "a backend cannot be: its share of the requests is answered with 500, and a mirror is left out", "mend the reference"},
		{"unsupported-value", Error, "a value of this kind is not known; the rule answers 500", "one of those that are allowed"},
		{"incompatible-filters", Error, "two filters of a rule exclude each other; the rule answers 500", "leave one out"},
		{"unsupported-filter", Error, "a filter cannot be done; the rule answers 500", "leave it out"},
		{"mesh-hostnames", Info, "hostnames are matched against what the request names, which in a mesh is the service", "nothing"},
		{"hostname-address", Warning, "a hostname is an address", "write a name"},
		{"repeated-name", Warning, "a name stands twice, and the second is passed over", "rename one"},
		{"not-in-linkerd", Warning, "HTTPRoute of policy.linkerd.io has no such field; it works here", "use gateway.networking.k8s.io"},
	}
}

func codesLinkerd() []Code {
	return []Code{
		{"linkerd-differs", Info, "Linkerd itself would do otherwise: a ServiceProfile switches routes and breakers off there; how is named", "nothing; or do not mix them where Linkerd reads them too"},
		{"bad-profile-name", Error, "a ServiceProfile's name is not the full host name of a service", "NAME.NAMESPACE.svc.cluster.local"},
		{"route-without-name", Warning, "a route of a ServiceProfile has no name, which Linkerd refuses", "name it"},
		{"empty-condition", Error, "a condition says nothing", "one of method, pathRegex, status, all, any and not"},
		{"condition-too-deep", Error, "a condition has too many levels", "write it flatter"},
		{"too-many-alternatives", Error, "written out, a condition has too many alternatives", "one pathRegex for several paths, or several routes"},
		{"half-anchored-regex", Warning, "alternatives at the top of a pathRegex are anchored at one end only", "put them in brackets"},
		{"bad-retry-budget", Error, "a value of a retry budget cannot be; the default holds", "one of the range"},
		{"bad-retry-condition", Error, "there is no such condition of retries; it is left out", "one of those that are allowed"},
		{"bad-authority", Error, "an authority of dstOverrides is not the name of a service", "NAME.NAMESPACE.svc.cluster.local, with an optional :PORT"},
		{"unknown-mode", Error, "there is no such mode of failure accrual", "consecutive or unified"},
		{"unknown-balancer", Error, "there is no such balancer", "one of those that are allowed"},
		{"zero-penalty", Error, "a breaker that stays open for no time does nothing", "more than 0"},
		{"min-over-max", Error, "the shortest penalty is longer than the longest", "raise the one or lower the other"},
		{"window-too-short", Error, "nothing can be counted in so short a window", "10ms or more"},
		{"too-many-requests", Error, "so many requests would never be in the window", "at most 1000000"},
		{"never-trips", Warning, "a breaker with these values never opens", "set a threshold, or take the breaker away"},
	}
}

func codesSmi() []Code {
	return []Code{
		{"bad-reference", Error, "a match names nothing that it could match", "an HTTPRouteGroup"},
		{"no-such-group", Error, "there is no such HTTPRouteGroup; it matches nothing", "create it, or mend the name"},
		{"matches-nothing", Warning, "no match of a TrafficSplit is left", "mend the matches"},
		{"wrong-namespace", Error, "a TrafficSplit is for services of its own namespace", "move it there"},
	}
}

func codesVirtualservice() []Code {
	return []Code{
		{"no-action", Error, "a rule does nothing: it has no route, redirect, direct response or delegate", "add one"},
		{"two-actions", Error, "a rule has two actions that exclude each other", "leave one out"},
		{"empty-match", Error, "a match says nothing", "leave it out, or write what it matches"},
		{"no-prefix", Error, "something needs a prefix to be matched", "match by prefix"},
		{"two-mirrors", Error, "a rule has mirror and mirrors", "write mirrors"},
		{"two-authorities", Error, "the authority is set in two ways", "leave one out"},
		{"retries-off", Error, "retries have settings and no attempts", "write attempts, or leave the rest out"},
		{"bad-retry-on", Error, "there is no such condition of retries", "one of Envoy's"},
		{"delegate-with-gateways", Error, "a delegate has gateways", "leave them out"},
		{"delegate-with-tcp", Error, "a delegate has rules of TCP", "move them to the root"},
		{"nested-delegate", Error, "a delegate has delegates", "name them in the root"},
		{"bad-delegate", Error, "a delegate is not there, or cannot be used", "mend the name"},
		{"unused-delegate", Warning, "nothing delegates to this", "name it in a root, or give it hosts"},
		{"duplicate-host", Warning, "a host stands twice", "delete one"},
		{"same-host", Warning, "two VirtualServices are for one host; one holds", "put them into one"},
		{"gateways-only", Info, "this is for gateways only, and not for the mesh", `add "mesh" to its gateways`},
		{"no-service", Info, "a host is no Service; it is known to callers by this rule", "nothing"},
		{"unknown-destination", Error, "a destination is not there; its share is answered with 500", "create it, or mend the name"},
		{"unknown-port", Warning, "a destination has no such port", "one of those that are named"},
		{"wrong-protocol", Warning, "rules are for a protocol that the port does not speak", "declare the port's protocol"},
		{"claims-match", Warning, "something is matched that nothing here knows: claims of a token", "leave it out"},
		{"fault-keeps-retries", Info, "a fault is answered before retries, which do not help", "nothing"},
		{"fault-without-share", Warning, "a fault has no percentage, so it holds for nothing", "write one"},
		{"rewrite-slash", Warning, "a rewritten path gets two slashes, or none", "write both prefixes with or without a slash"},
		{"no-default-retries", Info, "Istio tries twice again where nothing is said; here nothing is", "write retries"},
	}
}

func codesDestinationrule() []Code {
	return []Code{
		{"no-host", Error, "a rule has no host, and nothing inherits from it", "write host"},
		{"nobody-sees", Warning, "a rule is in a namespace in which nobody sees it", "move it to the client's, the service's or the root namespace"},
		{"shadowed", Warning, "another rule is for the same and comes first", "put them into one"},
		{"duplicate-subset", Error, "a subset stands twice", "rename one"},
		{"empty-subset", Warning, "no endpoint has the labels of a subset; such requests are answered with 503", "compare the labels"},
		{"whole-subset", Info, "a subset without labels is all endpoints", "nothing"},
		{"never-ejects", Warning, "maxEjectionPercent is less than one endpoint", "raise it"},
		{"gateway-above-5xx", Warning, "consecutiveGatewayErrors is above consecutive5xxErrors, which counts those too and acts first", "make it lower"},
		{"zero-is-unset", Warning, "0 means what leaving it out means", "leave it out"},
		{"annotation-wins", Warning, "the Service's own breaker comes before outlierDetection", "leave one out"},
		{"differs-from-istio", Info, "Istio would do otherwise; how is named", "nothing"},
		{"rounded", Info, "a value is rounded to what can be done", "nothing"},
		{"no-outlier-detection", Info, "locality failover needs outlierDetection to find out that endpoints fail", "add outlierDetection"},
		{"contradiction", Error, "two fields exclude each other", "leave one out"},
		{"insecure", Warning, "certificates of endpoints are not verified", "name an authority"},
	}
}

func codesRunning() []Code {
	return []Code{
		{"refused-by-proxy", Error, "a proxy has refused what it was sent, and keeps what it had", "look at the reason; tell us if the configuration is right"},
	}
}
