package translate

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/routing"
)

// hashPolicy is by what of a request its endpoint is chosen, nil where the
// backends are not balanced so.
func hashPolicy(View, model.Client, *routing.Rule) []*routev3.RouteAction_HashPolicy { return nil }
