package cli

import (
	"testing"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/observe/breakers"
)

func TestStatesOf(t *testing.T) {
	web := breakers.Client{Namespace: "demo", Workload: "web", Kind: "Deployment"}
	other := breakers.Client{Namespace: "demo", Workload: "other", Kind: "Deployment"}
	of := func(c breakers.Client, state breakers.State, cause string) breakers.Breaker {
		return breakers.Breaker{Client: c, Cluster: "c", Endpoint: breakers.Endpoint{Address: "a"}, State: state, Cause: cause}
	}
	list := &breakers.List{Breakers: []breakers.Breaker{
		of(web, breakers.Closed, ""), of(web, breakers.Open, "7 failures in a row"), of(web, breakers.Closed, ""), of(other, breakers.HalfOpen, "x"),
	}}
	for _, tt := range []struct {
		from model.Client
		want string
	}{
		{model.Client{Namespace: "demo", Workload: "web", Kind: "Deployment"}, "open"},
		{model.Client{Namespace: "demo", Workload: "other", Kind: "Deployment"}, "half-open"},
		{model.Client{Namespace: "demo", Workload: "other", Kind: "Workload"}, ""},
		{model.Client{Namespace: "demo"}, "open"},
		{model.Client{Namespace: "shop"}, ""},
	} {
		states := statesOf(list, tt.from)
		if state, _, ok := states("c", "a"); state != tt.want || ok != (tt.want != "") {
			t.Errorf("%v: %q, want %q", tt.from, state, tt.want)
		}
		if _, _, ok := states("c", "b"); ok {
			t.Errorf("%v: an endpoint that nobody has told of has a state", tt.from)
		}
	}
}
