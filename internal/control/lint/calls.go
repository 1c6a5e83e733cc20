package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// maxAmplification is how many requests at the end of a chain of calls one
// request at its begin may become before it is told of. Three layers of three
// tries are 27: the end is busy with repetitions when it needs rest.
const maxAmplification = 10

// maxChain bounds the length of chains, maxChains how many are followed.
const (
	maxChain  = 16
	maxChains = 100_000
)

// call is a workload's call to a service.
type call struct {
	from    *runner
	service *model.Service
	// tries of one request: the first and those after it.
	tries uint32
}

// amplification follows calls from workload to workload and multiplies the tries
// on the way. Who calls whom is known from CallsAnnotation, and from addresses
// of services in arguments and values of the environment; what a program finds
// out in other ways is not seen. A retry budget does not help the first requests
// of a storm, so it is not counted in.
func (e *effective) amplification() {
	calls := e.calls()
	if len(calls) == 0 || len(e.attempts) == 0 {
		return
	}
	g := &chains{e: e, calls: calls, left: maxChains, told: map[string]bool{}}
	// Where nobody calls, chains begin; what is left goes round in circles.
	called := map[*runner]bool{}
	for _, list := range calls {
		for _, c := range list {
			for _, r := range e.answering(c.service) {
				called[r] = true
			}
		}
	}
	for _, begins := range []bool{true, false} {
		for i := range e.runners().list {
			if r := &e.runners().list[i]; called[r] != begins {
				g.follow(r, nil, 1)
			}
		}
	}
}

// calls are those of each workload.
func (e *effective) calls() map[*runner][]call {
	out := map[*runner][]call{}
	list := e.runners().list
	for i := range list {
		r := &list[i]
		var names []*model.Service
		for item := range strings.SplitSeq(r.calls, ",") {
			if item = strings.TrimSpace(item); item == "" {
				continue
			}
			a, ok := model.ParseAuthority(item, r.namespace)
			s := e.world.Service(a.Service.Namespace, a.Service.Name)
			if !ok || s == nil {
				e.find(origin.Of(*r.object, source.AnnotationPath(CallsAnnotation)), Warning, "unknown-host", item, "NAME or NAME.NAMESPACE of a Service", "there is no such service, so this call is not followed", "")
				continue
			}
			names = append(names, s)
		}
		for _, text := range r.texts {
			names = append(names, e.addresses(text, r.namespace)...)
		}
		for _, s := range names {
			if !slices.ContainsFunc(out[r], func(c call) bool { return c.service == s }) {
				out[r] = append(out[r], call{from: r, service: s, tries: e.attempts[s.Name] + 1})
			}
		}
	}
	return out
}

// addresses are the services that a text names as http://HOST or HOST:PORT.
func (e *effective) addresses(text, namespace string) []*model.Service {
	var out []*model.Service
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(" ,;=\"'()[]{}<>|", r) }) {
		scheme, rest, isURL := strings.Cut(word, "://")
		if !isURL {
			scheme, rest = "", word
		}
		host, _, _ := strings.Cut(rest, "/")
		if i := strings.LastIndexByte(host, '@'); i >= 0 {
			host = host[i+1:]
		}
		if !isURL && !strings.Contains(host, ":") {
			continue
		}
		a, ok := model.ParseAuthority(host, namespace)
		if !ok || a.Service == (model.Name{}) {
			continue
		}
		s := e.world.Service(a.Service.Namespace, a.Service.Name)
		if s == nil {
			continue
		}
		if a.Port == 80 && scheme == "https" {
			a.Port = 443
		}
		if s.Port(a.Port) != nil {
			out = append(out, s)
		}
	}
	return out
}

// chains follows calls.
type chains struct {
	e     *effective
	calls map[*runner][]call
	left  int
	told  map[string]bool // by the services of a chain
}

// follow goes on from a workload to which a chain of calls leads. A chain that
// comes round in a circle ends there.
func (g *chains) follow(r *runner, chain []call, product uint64) {
	if len(chain) >= maxChain || g.left <= 0 {
		return
	}
	for _, c := range g.calls[r] {
		if slices.ContainsFunc(chain, func(have call) bool { return have.service == c.service }) {
			continue
		}
		g.left--
		next := append(slices.Clone(chain), c)
		times := product * uint64(c.tries)
		if times > maxAmplification && c.tries > 1 && len(next) > 1 {
			g.tell(next, times)
			continue // what comes after is only more of it
		}
		for _, behind := range g.e.answering(c.service) {
			g.follow(behind, next, times)
		}
	}
}

// tell tells of a chain, at the retries of its last call. Chains that differ in
// what comes before the first retries are one.
func (g *chains) tell(chain []call, times uint64) {
	for len(chain) > 0 && chain[0].tries == 1 {
		chain = chain[1:]
	}
	if len(chain) < 2 {
		return
	}
	names, factors := []string{chain[0].from.name}, []string{}
	for _, c := range chain {
		names = append(names, c.service.Object.String())
		factors = append(factors, fmt.Sprint(c.tries))
	}
	path := strings.Join(names, " → ")
	key := strings.Join(names[1:], " ")
	if g.told[key] {
		return
	}
	g.told[key] = true
	last := chain[len(chain)-1].service
	g.e.find(g.e.retryAt(last), Warning, "retry-amplification", fmt.Sprint(times), fmt.Sprintf("at most %d", maxAmplification),
		fmt.Sprintf("one request may become %d at the end of %s (%s tries)", times, path, strings.Join(factors, " × ")),
		"try again in one layer only, the one nearest to the fault")
}

// retryAt is where the retries of requests to a service are written: a rule of
// which requests lead to it, or else the service itself.
func (e *effective) retryAt(s *model.Service) origin.Origin {
	if o, ok := e.retryOrigin[s.Name]; ok && e.objects[o.Object] != nil {
		return o
	}
	return origin.Of(s.Object, "")
}

// answering are the workloads that requests for a service may come to.
func (e *effective) answering(s *model.Service) []*runner {
	leads := e.leads[s.Name]
	if len(leads) == 0 {
		return e.runners().behind(s)
	}
	var out []*runner
	for _, name := range leads {
		to := e.world.Service(name.Namespace, name.Name)
		if to == nil {
			continue
		}
		for _, r := range e.runners().behind(to) {
			if !slices.Contains(out, r) {
				out = append(out, r)
			}
		}
	}
	return out
}
