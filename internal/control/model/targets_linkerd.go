package model

// profileTargets is the service that a ServiceProfile is about: its name is the
// service's host.
func profileTargets(name, namespace string) targets {
	if service, ok := RuleHost(name, namespace); ok {
		return targets{services: []Name{service}}
	}
	return targets{}
}

// splitTargets is the root service of a TrafficSplit.
func splitTargets(service, namespace string) targets {
	if name, ok := RuleHost(service, namespace); ok {
		return targets{services: []Name{name}}
	}
	return targets{}
}
