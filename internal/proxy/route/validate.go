package route

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/filter"
)

// Validate says everything that is wrong with c.
func (c *Config) Validate() error {
	errs := []error{c.Common.validate("")}
	for i := range c.Rules {
		errs = append(errs, c.Rules[i].validate(fmt.Sprintf("routes[%d]", i)))
	}
	return errors.Join(errs...)
}

// Validate says everything that is wrong with what a RouteConfiguration says for
// all of its hosts.
func (c *Common) Validate() error { return c.validate("") }

func (c *Common) validate(at string) error {
	return errors.Join(
		filter.ValidateEdits(at+"request_headers", c.RequestHeaders, filter.OfRequest),
		filter.ValidateEdits(at+"response_headers", c.ResponseHeaders, filter.OfAnswer),
		c.CORS.validate(at+"cors"), validFault(at+"fault", c.Fault),
	)
}

func validFault(at string, f *filter.Fault) error {
	if f == nil {
		return nil
	}
	return f.Validate(at)
}

func (c *CORS) validate(at string) error {
	if c == nil {
		return nil
	}
	errs := []error{c.CORSConfig.Validate(at)}
	for i := range c.Origins {
		errs = append(errs, c.Origins[i].validate(fmt.Sprintf("%s.allow_origin_string_match[%d]", at, i), "origin"))
	}
	return errors.Join(errs...)
}

func (r *Rule) validate(at string) error {
	errs := []error{
		r.Match.validate(at + ".match"),
		filter.ValidateEdits(at+".request_headers", r.RequestHeaders, filter.OfRequest),
		filter.ValidateEdits(at+".response_headers", r.ResponseHeaders, filter.OfAnswer),
		r.CORS.validate(at + ".cors"), validFault(at+".fault", r.Fault),
		r.validateTimes(at), r.validateBackends(at), r.validateRetry(at + ".retry_policy"),
	}
	if r.Redirect != nil {
		errs = append(errs, r.Redirect.Validate(at+".redirect"))
	}
	if r.Direct != nil && (r.Direct.Status < 200 || r.Direct.Status > 599) {
		errs = append(errs, fmt.Errorf("%s.direct_response.status %d: must be from 200 to 599", at, r.Direct.Status))
	}
	if r.Path != nil {
		errs = append(errs, r.Path.Validate(at+".path_rewrite"))
	}
	if r.Host != "" {
		errs = append(errs, filter.ValidHost(at+".host_rewrite", r.Host))
	}
	for i := range r.Hash {
		errs = append(errs, r.Hash[i].validate(fmt.Sprintf("%s.hash_policy[%d]", at, i)))
	}
	return errors.Join(errs...)
}

func (r *Rule) validateTimes(at string) error {
	var errs []error
	for _, t := range [...]struct {
		name string
		d    time.Duration
	}{
		{"timeout", r.Timeout},
		{"response_timeout", r.ResponseTimeout},
		{"max_stream_duration", r.MaxStream},
		{"idle_timeout", r.IdleTimeout},
	} {
		if t.d < 0 && (t.name != "idle_timeout" || t.d != NoTimeout) {
			errs = append(errs, fmt.Errorf("%s.%s %v: must not be negative", at, t.name, t.d))
		}
	}
	return errors.Join(errs...)
}

func (r *Rule) validateRetry(at string) error {
	if r.Retry == nil {
		return nil
	}
	if err := r.Retry.Validate(); err != nil {
		return fmt.Errorf("%s.%w", at, err)
	}
	return nil
}

func (r *Rule) validateBackends(at string) error {
	var errs []error
	kinds := 0
	for _, has := range [...]bool{len(r.Backends) > 0, r.Redirect != nil, r.Direct != nil} {
		if has {
			kinds++
		}
	}
	if kinds > 1 {
		errs = append(errs, fmt.Errorf("%s: has two of route, redirect and direct_response", at))
	}
	total := uint64(0)
	for j := range r.Backends {
		b := &r.Backends[j]
		name := fmt.Sprintf("%s.backends[%d]", at, j)
		if b.Cluster == "" {
			errs = append(errs, fmt.Errorf("%s.cluster: must not be empty", name))
		}
		if b.Host != "" {
			errs = append(errs, filter.ValidHost(name+".host_rewrite_literal", b.Host))
		}
		errs = append(errs,
			filter.ValidateEdits(name+".request_headers", b.RequestHeaders, filter.OfRequest),
			filter.ValidateEdits(name+".response_headers", b.ResponseHeaders, filter.OfAnswer))
		total += uint64(b.Weight)
	}
	if total > math.MaxUint32 {
		errs = append(errs, fmt.Errorf("%s.backends: weights sum to %d: at most %d", at, total, uint32(math.MaxUint32)))
	}
	for j, m := range r.Mirrors {
		if m.Cluster == "" || m.Fraction > Million {
			errs = append(errs, fmt.Errorf("%s.request_mirror_policies[%d]: needs a cluster, and a fraction of at most 1", at, j))
		}
	}
	return errors.Join(errs...)
}

// Clusters lists the clusters that the rules name, each once, in order.
func (c *Config) Clusters() []string {
	var names []string
	seen := map[string]bool{}
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	for i := range c.Rules {
		for j := range c.Rules[i].Backends {
			add(c.Rules[i].Backends[j].Cluster)
		}
		for _, m := range c.Rules[i].Mirrors {
			add(m.Cluster)
		}
	}
	return names
}
