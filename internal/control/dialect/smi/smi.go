// Package smi reads the Service Mesh Interface's TrafficSplits, with the
// HTTPRouteGroups that they name.
package smi

import "github.com/reclosermesh/recloser/internal/control/routing"

// Routes are the rules of TrafficSplits for a port.
func Routes(routing.Input) routing.Answer { return routing.Answer{} }
