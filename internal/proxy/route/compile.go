package route

import (
	"slices"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/filter"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// compiler makes the actions of one Config.
type compiler struct {
	cfg     *Config
	outer   *Common
	resolve func(string) *upstream.Cluster
}

func (c *compiler) action(r *Rule) *Action {
	var backends []Backend
	for i := range r.Backends {
		if b := &r.Backends[i]; b.Weight > 0 {
			backends = append(backends, c.backend(r, b))
		}
	}
	a := NewAction(r.Name, r.Timeout, backends...)
	a.Origin, a.MissingStatus = r.Origin, r.MissingStatus
	a.Redirect, a.Direct = filter.NewRedirect(r.Redirect), r.Direct
	a.ResponseHeaders = c.headers(filter.OfAnswer, nil, r.ResponseHeaders, c.cfg.Common.ResponseHeaders, c.outer.ResponseHeaders)
	a.Path = filter.NewPath(r.Path)
	for _, m := range r.Mirrors {
		a.Mirrors = append(a.Mirrors, Mirror{
			Cluster: c.resolve(m.Cluster), Name: m.Cluster, Fraction: m.Fraction, ShadowHost: m.ShadowHost,
		})
	}
	a.CORS = newCORS(first(r.CORS, c.cfg.Common.CORS, c.outer.CORS))
	a.Fault = first(r.Fault, c.cfg.Common.Fault, c.outer.Fault)
	a.IdleTimeout, a.ResponseTimeout, a.MaxStream = r.IdleTimeout, r.ResponseTimeout, r.MaxStream
	a.Retry = r.Retry.compiled()
	if len(r.Failures) > 0 {
		a.Classification = &breaker.Classification{Failures: r.Failures}
	}
	for _, h := range r.Hash {
		a.hash = append(a.hash, newHashPolicy(h))
	}
	return a
}

func (c *compiler) backend(r *Rule, b *WeightedCluster) Backend {
	host := b.Host
	if host == "" {
		host = r.Host
	}
	return Backend{
		Cluster: c.resolve(b.Cluster), Name: b.Cluster, Weight: b.Weight, Host: bytesOf(host),
		RequestHeaders:  c.headers(filter.OfRequest, b.RequestHeaders, r.RequestHeaders, c.cfg.Common.RequestHeaders, c.outer.RequestHeaders),
		ResponseHeaders: c.headers(filter.OfAnswer, b.ResponseHeaders, r.ResponseHeaders, c.cfg.Common.ResponseHeaders, c.outer.ResponseHeaders),
	}
}

// headers compiles edits that are given from the innermost outwards.
func (c *compiler) headers(side filter.Side, stages ...[]filter.Edit) *filter.Headers {
	if c.outer.InnerLast {
		slices.Reverse(stages)
	}
	return filter.NewHeaders(side, stages...)
}

func newCORS(c *CORS) *filter.CORS {
	if c == nil {
		return nil
	}
	var origins []valueMatcher
	for _, o := range c.Origins {
		if o.Kind == ValueExact && o.Value == "*" {
			o = ValueMatch{Kind: ValuePresent}
		}
		origins = append(origins, newValueMatcher(o))
	}
	return filter.NewCORS(c.CORSConfig, func(origin []byte) bool {
		for i := range origins {
			if origins[i].matchValue(origin) {
				return true
			}
		}
		return false
	})
}

// first is the first that is not nil.
func first[T any](list ...*T) *T {
	for _, p := range list {
		if p != nil {
			return p
		}
	}
	return nil
}

func bytesOf(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}
