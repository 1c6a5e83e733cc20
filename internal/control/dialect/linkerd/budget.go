package linkerd

import "github.com/reclosermesh/recloser/internal/control/routing"

// Budget is the bound of retries that the ServiceProfile for a service sets, nil
// where there is none.
func Budget(routing.Input) (*routing.Budget, []routing.Loser) { return nil, nil }
