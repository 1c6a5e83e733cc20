package filter

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// RedirectConfig answers with a Location. What is empty is as in the request.
type RedirectConfig struct {
	Scheme string
	// Host without a port.
	Host string
	// Port 0: the request's, if Host is empty too; else none. The request's is
	// left out where it is the usual one of the scheme that the request came by
	// and Scheme is another.
	Port uint16
	// Path is nil where it stays.
	Path *PathConfig
	// StripQuery leaves the query away.
	StripQuery bool
	// Status is 301, 302, 303, 307 or 308.
	Status int
}

// Validate says everything that is wrong with c.
func (c *RedirectConfig) Validate(at string) error {
	var errs []error
	if !slices.Contains([]int{301, 302, 303, 307, 308}, c.Status) {
		errs = append(errs, fmt.Errorf("%s.response_code %d: must be 301, 302, 303, 307 or 308", at, c.Status))
	}
	if c.Scheme != "" && !http1.ValidToken([]byte(c.Scheme)) {
		errs = append(errs, fmt.Errorf("%s.scheme_redirect %q: is no scheme", at, c.Scheme))
	}
	if c.Host != "" {
		errs = append(errs, ValidHost(at+".host_redirect", c.Host))
	}
	if c.Path != nil {
		errs = append(errs, c.Path.Validate(at+".path"))
	}
	return errors.Join(errs...)
}

// Redirect is a compiled RedirectConfig.
type Redirect struct {
	cfg  RedirectConfig
	path *Path
}

// NewRedirect compiles a valid definition; nil for nil.
func NewRedirect(c *RedirectConfig) *Redirect {
	if c == nil {
		return nil
	}
	return &Redirect{cfg: *c, path: NewPath(c.Path)}
}

// Status is the status of the answer.
func (r *Redirect) Status() int { return r.cfg.Status }

// AppendLocation appends the value of Location for a request that came by
// scheme. False: the path that would come out is none.
func (r *Redirect) AppendLocation(dst []byte, scheme string, req *http1.Request) ([]byte, bool) {
	to := r.cfg.Scheme
	if to == "" {
		to = scheme
	}
	dst = append(dst, to...)
	dst = append(dst, "://"...)
	dst = r.appendAuthority(dst, to, scheme, req.Host)
	path := req.Path
	if i := bytes.IndexByte(path, '?'); i >= 0 && r.cfg.StripQuery {
		path = path[:i]
	}
	if r.path == nil {
		return append(dst, path...), true
	}
	return r.path.Append(dst, path)
}

func (r *Redirect) appendAuthority(dst []byte, to, scheme string, authority []byte) []byte {
	host, port := http1.SplitPort(authority)
	if r.cfg.Host != "" {
		host, port = nil, nil
		dst = append(dst, r.cfg.Host...)
	}
	dst = append(dst, host...)
	switch {
	case r.cfg.Port != 0:
		// Nobody says the usual one (Gateway API, HTTPRequestRedirectFilter).
		if n := strconv.Itoa(int(r.cfg.Port)); n != usualPort(to) {
			dst = append(append(dst, ':'), n...)
		}
	case len(port) > 0 && (to == scheme || string(port) != usualPort(scheme)):
		dst = append(append(dst, ':'), port...)
	}
	return dst
}

func usualPort(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "https":
		return "443"
	}
	return ""
}
