package explain

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/translate"
	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/snapshot"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// Caller is who sends a request.
type Caller struct {
	model.Client
	// Locality is where it runs; zero: as the labels of its instances say.
	Locality model.Locality
}

// Explain follows a request of a caller. breakers may be nil: nothing is known
// of them.
func Explain(v translate.View, from Caller, r *Request, breakers Breakers) *Answer {
	if breakers == nil {
		breakers = func(string, string) (state, cause string, ok bool) { return "", "", false }
	}
	if from.Locality.IsZero() {
		from.Locality = model.LocalityOf(v.World.LabelsOf(from.Client))
	}
	e := &explainer{
		view: v, client: from.Client, node: translate.Node{Client: from.Client, Locality: from.Locality},
		breakers: breakers, request: r.parsed(),
		answer: &Answer{Request: *r, Caller: from.Client.String(), Rule: -1},
	}
	if !from.Locality.IsZero() {
		e.answer.Locality = from.Locality.String()
	}
	e.run()
	e.speakGRPC()
	return e.answer
}

// explainer gathers an Answer.
type explainer struct {
	view     translate.View
	client   model.Client
	node     translate.Node // a proxy of the caller, for whom resources are made
	breakers Breakers
	request  *http1.Request
	answer   *Answer

	port   *model.Port
	routes *policy.Routes
	cfg    *route.Config // as the proxy has it
	table  *route.Table
}

func (e *explainer) run() {
	a := e.answer
	if !e.resolve() {
		a.Outcome = Outcome{
			Kind: Refused, Status: 404, Near: e.near(),
			Reason: "the mesh has no host " + a.Request.Authority + ", asked from " + e.client.String(),
		}
		return
	}
	a.Dialect, a.Losers = e.routes.Dialect, e.routes.Losers
	if len(e.routes.Rules) > 0 {
		a.Governor = e.routes.Rules[0].Origin.Object
	}
	if err := e.compile(); err != nil {
		a.Outcome = Outcome{Kind: Refused, Reason: "the proxy would refuse these routes and keep the last good ones: " + err.Error()}
		return
	}
	e.judge()
	switch {
	case e.port != nil && e.port.Protocol.Protocol == model.TCP && a.Request.Method != "CONNECT":
		e.bytes()
		return
	case a.Rule < 0:
		a.Outcome = Outcome{Kind: Refused, Status: 404, Reason: "no rule of this port matches the request"}
		return
	}
	e.treat(&e.routes.Rules[a.Rule], e.table.Actions()[a.Rule])
}

// resolve finds what the host means, and the rules for it.
func (e *explainer) resolve() bool {
	a := e.answer
	if to, ok := model.ParseAuthority(a.Request.Authority, e.client.Namespace); ok {
		if s, p := e.view.World.Resolve(to); s != nil {
			r, err := e.view.Policy.Routes(e.client, s.Name, p.Number)
			if err != nil {
				return false
			}
			a.Service, a.Namespace, a.Port = s.Name.Name, s.Namespace, p.Number
			e.routes, e.port = r, p
			e.protocol(s.Name, p.Number)
			return true
		}
	}
	host, port, ok := model.SplitAuthority(a.Request.Authority)
	if !ok {
		return false
	}
	r, speaks := e.view.Policy.HostRoutes(e.client, host, port)
	if e.routes = r; speaks {
		a.Service, a.Port = host, port
	}
	return speaks
}

func (e *explainer) protocol(s model.Name, port uint16) {
	eff, err := e.view.Policy.Effective(e.client, s, port, "")
	if err != nil {
		return
	}
	for _, l := range eff.Leaves() {
		if l.Path == "protocol" {
			e.answer.Protocol = &Setting{l.Path, l.Value, l.Origin}
		}
	}
}

// near are the names of services that are like the one asked for, and the ports
// of the one that was meant.
func (e *explainer) near() []string {
	to, ok := model.ParseAuthority(e.answer.Request.Authority, e.client.Namespace)
	if !ok || to.IP != "" {
		return nil
	}
	var out []string
	authority := func(s *model.Service, port uint16) string {
		name := s.Name.Name
		if s.Namespace != e.client.Namespace {
			name += "." + s.Namespace
		}
		return net.JoinHostPort(name, strconv.Itoa(int(port)))
	}
	if s := e.view.World.Service(to.Service.Namespace, to.Service.Name); s != nil { // it has no such port
		for i := range s.Ports {
			out = append(out, authority(s, s.Ports[i].Number))
		}
		return out
	}
	for _, s := range e.view.World.Services() {
		sameName := s.Name.Name == to.Service.Name
		close := source.Nearest(to.Service.Name, []string{s.Name.Name}) != "" && s.Namespace == to.Service.Namespace
		if (sameName || close) && len(s.Ports) > 0 {
			port := s.Ports[0].Number
			if s.Port(to.Port) != nil {
				port = to.Port
			}
			out = append(out, authority(s, port))
		}
	}
	return out
}

// compile makes the table that a proxy of the client has for the host.
func (e *explainer) compile() error {
	host, ok := e.generate(translate.HostType, translate.OutboundListener+"/"+e.answer.Request.Authority).(*routev3.VirtualHost)
	if !ok {
		return errors.New("there is no VirtualHost for it")
	}
	around, _ := e.generate(translate.RouteType, translate.OutboundListener).(*routev3.RouteConfiguration)
	common, err := snapshot.CompileCommon(around)
	if err != nil {
		return err
	}
	if e.cfg, err = snapshot.CompileHost(host); err != nil {
		return err
	}
	if len(e.cfg.Rules) != len(e.routes.Rules) {
		return fmt.Errorf("%d routes were made of %d rules", len(e.cfg.Rules), len(e.routes.Rules))
	}
	e.table = route.New(e.cfg, common, func(string) *upstream.Cluster { return nil })
	return nil
}

// generate makes the resource that a proxy of the caller gets under a name, nil
// where there is none.
func (e *explainer) generate(typeURL, name string) proto.Message {
	r := translate.Generate(e.view, translate.KeyFor(typeURL, name, e.node))
	if len(r.Resources) != 1 {
		return nil
	}
	return r.Resources[0].Message
}

// judge gives each rule its verdict.
func (e *explainer) judge() {
	a := e.answer
	for i, s := range e.table.Explain(e.request) {
		r := &e.routes.Rules[i]
		out := Rule{Name: r.Name, Dialect: r.Dialect, Origin: r.Origin, Also: r.Also, Verdict: Failed, Part: s.Part, Want: s.Want}
		if s.Present {
			out.Got = &s.Got
		}
		switch {
		case s.Matches && a.Rule < 0:
			out.Verdict, a.Rule = Chosen, i
		case s.Matches:
			out.Verdict = Later
		}
		a.Rules = append(a.Rules, out)
	}
}

// treat tells what a rule does.
func (e *explainer) treat(r *routing.Rule, action *route.Action) {
	a := e.answer
	a.RequestHeaders, a.ResponseHeaders = ordered(r.RequestHeaders), ordered(r.ResponseHeaders)
	a.Settings = settings(r)
	a.Outcome = e.outcome(action)
	if a.Outcome.Kind != Forwarded && a.Outcome.Kind != Aborted && a.Outcome.Kind != Refused {
		return
	}
	if r.Redirect == nil && r.Direct == nil {
		e.backends(r, action)
	}
	for i := range r.Mirrors {
		m := &r.Mirrors[i]
		a.Mirrors = append(a.Mirrors, Mirror{
			Origin: m.Origin, Service: m.Service.Name, Namespace: m.Service.Namespace, Port: m.Port, Subset: m.Subset,
			Percent: m.Percent, Invalid: m.Invalid,
		})
	}
}

// ordered are edits as proxies do them: removals first.
func ordered(edits []routing.HeaderEdit) []routing.HeaderEdit {
	out := slices.Clone(edits)
	slices.SortStableFunc(out, func(a, b routing.HeaderEdit) int {
		rank := func(e routing.HeaderEdit) int {
			if e.Op == routing.Remove {
				return 0
			}
			return 1
		}
		return rank(a) - rank(b)
	})
	return out
}
