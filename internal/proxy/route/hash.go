package route

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// HashKind is what of a request is hashed.
type HashKind uint8

// HashHeader is the values of a header, HashCookie of a cookie, HashSourceIP the
// caller's address, HashQuery the first query parameter of a name.
const (
	HashHeader HashKind = iota
	HashCookie
	HashSourceIP
	HashQuery
)

// HashConfig is one thing of a request that chooses its endpoint.
type HashConfig struct {
	Kind HashKind
	// Name of the header, cookie or query parameter.
	Name string
	// Generate gives a caller without the cookie one that lives for TTL, 0: as
	// long as the browser's session.
	Generate bool
	TTL      time.Duration
	// Path and Attributes of such a cookie.
	Path       string
	Attributes []CookieAttribute
	// Terminal ends the list where this one is there.
	Terminal bool
}

// CookieAttribute is a further attribute of a cookie. An empty Value stands
// alone: "HttpOnly".
type CookieAttribute struct{ Name, Value string }

func (h *HashConfig) validate(at string) error {
	switch {
	case h.Kind > HashQuery:
		return fmt.Errorf("%s: kind %d is not known", at, h.Kind)
	case h.Kind == HashSourceIP:
		return nil
	case h.Name == "":
		return fmt.Errorf("%s: a name is needed", at)
	case h.Kind != HashQuery && !http1.ValidToken([]byte(h.Name)):
		return fmt.Errorf("%s %q: is no name", at, h.Name)
	}
	var errs []error
	if h.TTL < 0 {
		errs = append(errs, fmt.Errorf("%s.cookie.ttl %v: must not be negative", at, h.TTL))
	}
	for _, a := range append([]CookieAttribute{{"Path", h.Path}}, h.Attributes...) {
		if !http1.ValidToken([]byte(a.Name)) || !http1.ValidValue([]byte(a.Value)) || strings.ContainsAny(a.Value, ";,") {
			errs = append(errs, fmt.Errorf("%s.cookie: attribute %s %q cannot be sent", at, a.Name, a.Value))
		}
	}
	return errors.Join(errs...)
}

// Hash chooses a request's endpoint.
type Hash struct {
	// Sum counts where Set is true: something of the request was there.
	Sum uint64
	Set bool

	cookie *hashPolicy // that the caller is to get; nil: none
	value  uint64
}

type hashPolicy struct {
	kind     HashKind
	name     string // lower case, of a header
	generate bool
	terminal bool
	before   string // "NAME=" of a cookie that is made
	after    string // its attributes
}

func newHashPolicy(c HashConfig) hashPolicy {
	p := hashPolicy{kind: c.Kind, name: c.Name, generate: c.Generate, terminal: c.Terminal}
	if c.Kind == HashHeader {
		p.name = strings.ToLower(c.Name)
	}
	if c.Generate {
		p.before = c.Name + "="
		if c.TTL > 0 {
			p.after += "; Max-Age=" + strconv.FormatInt(int64(c.TTL/time.Second), 10)
		}
		if c.Path != "" {
			p.after += "; Path=" + c.Path
		}
		httpOnly := false
		for _, a := range c.Attributes {
			p.after += "; " + a.Name
			if a.Value != "" {
				p.after += "=" + a.Value
			}
			httpOnly = httpOnly || strings.EqualFold(a.Name, "HttpOnly")
		}
		if !httpOnly {
			p.after += "; HttpOnly"
		}
	}
	return p
}

// Hashes tells whether Hash looks at anything.
func (a *Action) Hashes() bool { return len(a.hash) > 0 }

// Hash hashes what the rule's policies say, in their order (Envoy). source is
// the caller's address, and random makes the value of a cookie that it gets.
func (a *Action) Hash(r *http1.Request, source netip.Addr, random uint64) Hash {
	var h Hash
	for i := range a.hash {
		p := &a.hash[i]
		sum, ok := p.of(r, source)
		if !ok && p.generate && h.cookie == nil {
			h.cookie, h.value = p, random
			var text [16]byte
			sum, ok = hashBytes(appendHex(text[:0], random)), true
		}
		if !ok {
			continue
		}
		h.Sum = bits.RotateLeft64(h.Sum, 1) ^ sum
		h.Set = true
		if p.terminal {
			break
		}
	}
	return h
}

func (p *hashPolicy) of(r *http1.Request, source netip.Addr) (sum uint64, ok bool) {
	switch p.kind {
	case HashHeader:
		h := headerMatcher{name: p.name}
		value, ok := h.find(r)
		return hashBytes(value), ok
	case HashCookie:
		value, ok := cookie(r.Headers, p.name)
		return hashBytes(value), ok
	case HashSourceIP:
		if !source.IsValid() {
			return 0, false
		}
		return HashAddress(source), true
	default:
		_, query := splitPath(r.Path)
		value, ok := parameter(query, p.name)
		return hashBytes(value), ok
	}
}

// HashAddress is the hash of a caller's address.
func HashAddress(source netip.Addr) uint64 {
	b := source.Unmap().As16()
	return hashBytes(b[:])
}

// cookie finds the value of a cookie (RFC 6265 section 4.2).
func cookie(hs []http1.Header, name string) (value []byte, ok bool) {
	for i := range hs {
		if !http1.EqualFold(hs[i].Name, "cookie") {
			continue
		}
		for rest := hs[i].Value; len(rest) > 0; {
			var pair []byte
			pair, rest = cut(rest, ';')
			for len(pair) > 0 && pair[0] == ' ' {
				pair = pair[1:]
			}
			if len(pair) > len(name) && pair[len(name)] == '=' && string(pair[:len(name)]) == name {
				return unquoted(pair[len(name)+1:]), true
			}
		}
	}
	return nil, false
}

func unquoted(b []byte) []byte {
	if len(b) >= 2 && b[0] == '"' && b[len(b)-1] == '"' {
		return b[1 : len(b)-1]
	}
	return b
}

// SetCookie tells whether the caller is to be given a cookie, and appends its
// value of Set-Cookie (RFC 6265 section 4.1).
func (h *Hash) SetCookie(dst []byte) (value []byte, ok bool) {
	if h.cookie == nil {
		return dst, false
	}
	dst = append(dst, h.cookie.before...)
	dst = appendHex(dst, h.value)
	return append(dst, h.cookie.after...), true
}

func appendHex(dst []byte, n uint64) []byte {
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, digits[n>>shift&15])
	}
	return dst
}

// hashBytes is FNV-1a with a finish that spreads its low bits over all: which
// endpoint a value belongs to must be the same in every proxy and release.
func hashBytes(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	h ^= h >> 32
	h *= 0x9fb21c651e98df25
	h ^= h >> 28
	return h
}
