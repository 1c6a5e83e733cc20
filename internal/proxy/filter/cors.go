package filter

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// CORSConfig says which answers scripts of other origins may read (WHATWG
// Fetch, section 3.2). Which origins those are is told apart from it.
type CORSConfig struct {
	// Methods, Headers and Expose are lists as they are sent, "*" among them;
	// empty: the field is not sent. Where Credentials are allowed, "*" means
	// nothing to a browser: what the preflight asks for is then sent for it.
	Methods, Headers, Expose string
	// MaxAge in seconds as it is sent; empty: the field is not sent.
	MaxAge string
	// Credentials lets requests carry cookies and the like.
	Credentials bool
	// PrivateNetwork lets pages of public addresses in, where they ask.
	PrivateNetwork bool
	// ForwardPreflights lets preflight requests of origins that are not allowed
	// through to the backend; else they are answered without a field of CORS.
	ForwardPreflights bool
}

// Validate says everything that is wrong with c.
func (c *CORSConfig) Validate(at string) error {
	var errs []error
	for _, f := range [...]struct{ name, value string }{
		{"allow_methods", c.Methods}, {"allow_headers", c.Headers}, {"expose_headers", c.Expose}, {"max_age", c.MaxAge},
	} {
		if !http1.ValidValue([]byte(f.value)) {
			errs = append(errs, fmt.Errorf("%s.%s %q: is no value of a header", at, f.name, f.value))
		}
	}
	if strings.Trim(c.MaxAge, "0123456789") != "" {
		errs = append(errs, fmt.Errorf("%s.max_age %q: must be a number of seconds", at, c.MaxAge))
	}
	return errors.Join(errs...)
}

// CORS is a compiled policy.
type CORS struct {
	allowed         func(origin []byte) bool
	methods         []byte
	headers         []byte
	expose          []byte
	maxAge          []byte
	anyMethod       bool
	anyHeader       bool
	credentials     bool
	privateNetwork  bool
	forwardUnknowns bool
}

// NewCORS compiles a valid policy. allowed tells whether an origin, as a browser
// sends it, is let in; it must be pure.
func NewCORS(c CORSConfig, allowed func(origin []byte) bool) *CORS {
	p := &CORS{
		allowed: allowed, methods: []byte(c.Methods), headers: []byte(c.Headers), expose: []byte(c.Expose), maxAge: []byte(c.MaxAge),
		credentials: c.Credentials, privateNetwork: c.PrivateNetwork, forwardUnknowns: c.ForwardPreflights,
	}
	p.anyMethod = c.Credentials && hasWildcard(c.Methods)
	p.anyHeader = c.Credentials && hasWildcard(c.Headers)
	if c.Credentials && hasWildcard(c.Expose) {
		p.expose = nil // it would name a header "*"
	}
	return p
}

func hasWildcard(list string) bool {
	for item := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(item) == "*" {
			return true
		}
	}
	return false
}

// The fields of CORS.
var (
	nameVary           = []byte("vary")
	nameAllowOrigin    = []byte("access-control-allow-origin")
	nameCredentials    = []byte("access-control-allow-credentials")
	nameMethods        = []byte("access-control-allow-methods")
	nameHeaders        = []byte("access-control-allow-headers")
	nameMaxAge         = []byte("access-control-max-age")
	nameExpose         = []byte("access-control-expose-headers")
	namePrivateNetwork = []byte("access-control-allow-private-network")

	valueOrigin = []byte("origin")
	valueTrue   = []byte("true")
)

// Preflight tells whether a request is a preflight that is answered here, with
// 200 and no content, and appends the fields of that answer: none where the
// origin is not allowed. A nil CORS answers none.
func (c *CORS) Preflight(dst []http1.Header, r *http1.Request) (answer []http1.Header, ok bool) {
	if c == nil || string(r.Method) != "OPTIONS" {
		return dst, false
	}
	origin, fromPage := http1.Find(r.Headers, "origin")
	method, asks := http1.Find(r.Headers, "access-control-request-method")
	if !fromPage || !asks || len(origin) == 0 || len(method) == 0 {
		return dst, false
	}
	if !c.allowed(origin) {
		return dst, !c.forwardUnknowns
	}
	dst = c.allow(dst, origin)
	dst = append1(dst, nameMethods, choose(c.anyMethod, method, c.methods))
	wanted, _ := http1.Find(r.Headers, "access-control-request-headers")
	dst = append1(dst, nameHeaders, choose(c.anyHeader, wanted, c.headers))
	dst = append1(dst, nameMaxAge, c.maxAge)
	if v, asks := http1.Find(r.Headers, "access-control-request-private-network"); asks && string(v) == "true" && c.privateNetwork {
		dst = append1(dst, namePrivateNetwork, valueTrue)
	}
	return dst, true
}

// Answer appends the fields of an answer as a page of another origin gets them:
// what src says of CORS is replaced, as in Envoy, if the origin is allowed, and
// src is taken as it is if not. dst must not share memory with src, and r must
// still be what was asked. A nil CORS changes nothing.
func (c *CORS) Answer(dst, src []http1.Header, r *http1.Request) []http1.Header {
	if !c.Concerns(r) {
		return append(dst, src...)
	}
	origin, _ := http1.Find(r.Headers, "origin")
	varies := false
	for i := range src {
		switch name := src[i].Name; {
		case http1.EqualFold(name, "access-control-allow-origin"),
			c.credentials && http1.EqualFold(name, "access-control-allow-credentials"),
			len(c.expose) > 0 && http1.EqualFold(name, "access-control-expose-headers"):
			continue
		case http1.EqualFold(name, "vary"):
			varies = varies || listHas(src[i].Value, "origin") || listHas(src[i].Value, "*")
		}
		dst = append(dst, src[i])
	}
	if !varies {
		dst = append1(dst, nameVary, valueOrigin)
	}
	dst = append1(dst, nameAllowOrigin, origin)
	if c.credentials {
		dst = append1(dst, nameCredentials, valueTrue)
	}
	return append1(dst, nameExpose, c.expose)
}

// Concerns tells whether Answer changes the answers to r.
func (c *CORS) Concerns(r *http1.Request) bool {
	if c == nil {
		return false
	}
	origin, ok := http1.Find(r.Headers, "origin")
	return ok && len(origin) > 0 && c.allowed(origin)
}

// allow appends what lets an origin read an answer. The origin itself is said,
// never "*", so the answer varies with it.
func (c *CORS) allow(dst []http1.Header, origin []byte) []http1.Header {
	dst = append1(dst, nameVary, valueOrigin)
	dst = append1(dst, nameAllowOrigin, origin)
	if c.credentials {
		dst = append1(dst, nameCredentials, valueTrue)
	}
	return dst
}

func append1(dst []http1.Header, name, value []byte) []http1.Header {
	if len(value) == 0 {
		return dst
	}
	return append(dst, http1.Header{Name: name, Value: value})
}

func choose(first bool, a, b []byte) []byte {
	if first {
		return a
	}
	return b
}

// listHas tells whether a comma-separated list has a token, given in lower case.
func listHas(list []byte, token string) bool {
	for len(list) > 0 {
		item := list
		if i := bytes.IndexByte(list, ','); i >= 0 {
			item, list = list[:i], list[i+1:]
		} else {
			list = nil
		}
		if http1.EqualFold(trimmed(item), token) {
			return true
		}
	}
	return false
}
