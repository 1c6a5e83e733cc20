package explain

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// Request is the request that is followed.
type Request struct {
	Method string `json:"method"`
	Scheme string `json:"scheme"`
	// Authority is the host as the caller writes it, with a port where one was
	// written.
	Authority string `json:"authority"`
	// Path with the query.
	Path    string   `json:"path"`
	Headers []Header `json:"headers,omitempty"`
	GRPC    bool     `json:"grpc,omitempty"`
}

// Header is one field.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// ParseRequest reads what people write:
//
//	GET http://bb:8080/x?y=1    method and URL
//	http://bb:8080/x            GET
//	bb:8080/x                   the same
//	grpc://bb:8080/pkg.Service/Method
//	pkg.Service/Method          gRPC, with the host in a header "Host: bb:8080"
//
// Headers are "name: value". Host and the pseudo-header :authority stand for the
// authority.
func ParseRequest(line string, headers []string) (*Request, error) {
	r := &Request{Method: "GET", Scheme: "http"}
	host, err := r.readHeaders(headers)
	if err != nil {
		return nil, err
	}
	words := strings.Fields(line)
	var target string
	switch len(words) {
	case 1:
		target = words[0]
	case 2:
		if r.Method, target = words[0], words[1]; !http1.ValidToken([]byte(r.Method)) {
			return nil, fmt.Errorf("%q is no method", r.Method)
		}
	default:
		return nil, fmt.Errorf("%q: write a method and a URL, as 'GET http://bb:8080/x'", line)
	}
	if err := r.readTarget(target, host, len(words) == 1); err != nil {
		return nil, err
	}
	if r.GRPC {
		r.Method = "POST"
		r.addHeader("content-type", "application/grpc")
		r.addHeader("te", "trailers")
	}
	if host != "" {
		r.Authority = host
	}
	return r, r.check()
}

func (r *Request) readHeaders(headers []string) (host string, err error) {
	for _, h := range headers {
		colon := strings.Index(strings.TrimPrefix(h, ":"), ":")
		if colon < 0 {
			return "", fmt.Errorf("header %q: write it as 'name: value'", h)
		}
		colon += len(h) - len(strings.TrimPrefix(h, ":"))
		name, value := strings.TrimSpace(h[:colon]), strings.TrimSpace(h[colon+1:])
		switch strings.ToLower(name) {
		case "host", ":authority":
			host = value
			continue
		}
		if !http1.ValidToken([]byte(name)) || !http1.ValidValue([]byte(value)) {
			return "", fmt.Errorf("header %q: is none that a request can have", h)
		}
		r.Headers = append(r.Headers, Header{name, value})
	}
	return host, nil
}

// readTarget reads a URL, or the name of a method of gRPC.
func (r *Request) readTarget(target, host string, bare bool) error {
	if bare && isGRPCMethod(target) && (host != "" || !strings.Contains(target, ":")) {
		if host == "" {
			return fmt.Errorf("%q names a method of gRPC; say of which host: -H 'Host: bb:8080', or grpc://bb:8080/%s", target, target)
		}
		r.GRPC, r.Path = true, "/"+target
		return nil
	}
	switch {
	case strings.HasPrefix(target, "/"):
	case !strings.Contains(target, "://"):
		target = "http://" + target
	}
	u, err := url.Parse(target)
	if err != nil {
		return fmt.Errorf("%q is no URL: %w", target, errors.Unwrap(err))
	}
	r.Authority = u.Host
	switch u.Scheme {
	case "grpc":
		r.GRPC = true
	case "", "http", "https":
		if u.Scheme != "" {
			r.Scheme = u.Scheme
		}
	default:
		return fmt.Errorf("%q: scheme %q is none of http, https and grpc", target, u.Scheme)
	}
	if r.Path = u.EscapedPath(); r.Path == "" {
		r.Path = "/"
	}
	if u.RawQuery != "" || u.ForceQuery {
		r.Path += "?" + u.RawQuery
	}
	return nil
}

// isGRPCMethod tells "package.Service/Method" from a host with a path: the last
// part of a service's name begins with a capital letter, a host has none.
func isGRPCMethod(s string) bool {
	service, method, ok := strings.Cut(s, "/")
	last := service[strings.LastIndexByte(service, '.')+1:]
	return ok && method != "" && !strings.ContainsAny(method, "/?") && last != "" && last[0] >= 'A' && last[0] <= 'Z'
}

func (r *Request) addHeader(name, value string) {
	if !slices.ContainsFunc(r.Headers, func(h Header) bool { return strings.EqualFold(h.Name, name) }) {
		r.Headers = append(r.Headers, Header{name, value})
	}
}

func (r *Request) check() error {
	switch {
	case r.Authority == "":
		return errors.New("the request names no host: write it as http://bb:8080/x, or give -H 'Host: bb:8080'")
	case !http1.ValidAuthority([]byte(r.Authority)):
		return fmt.Errorf("host %q: a proxy refuses it with 400", r.Authority)
	case !http1.ValidPath([]byte(r.Path)):
		return fmt.Errorf("path %q: a proxy refuses it with 400", r.Path)
	}
	return nil
}

// parsed is the request as a proxy sees it.
func (r *Request) parsed() *http1.Request {
	out := &http1.Request{
		Method: []byte(r.Method), Host: []byte(r.Authority), Path: []byte(r.Path), Target: []byte(r.Path), Minor: 1,
		Connect: r.Method == "CONNECT", Head: r.Method == "HEAD", Secure: r.Scheme == "https",
	}
	for _, h := range r.Headers {
		out.Headers = append(out.Headers, http1.Header{Name: []byte(h.Name), Value: []byte(h.Value)})
	}
	http1.Identify(out.Headers)
	return out
}
