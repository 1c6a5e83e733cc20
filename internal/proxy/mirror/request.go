package mirror

import (
	"bytes"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// Request is a whole request that is nobody else's.
type Request struct {
	method, path, host []byte
	headers            []http1.Header
	teTrailers         bool
	body               []byte
	trailers           []http1.Header
	http2              bool // as the request came
	key                upstream.Key
	shadow             bool // the host is not the caller's
	timeout            time.Duration
}

// NewRequest copies the head of a request, which is given as fields of HTTP/2:
// pseudo-fields first, then the end-to-end ones with names in lower case. http2
// tells whether it came by HTTP/2, for clusters whose endpoints are spoken to as
// the caller speaks. key is what an endpoint is chosen by.
func NewRequest(fields []http1.Header, http2 bool, key upstream.Key) *Request {
	size := 0
	for i := range fields {
		size += len(fields[i].Name) + len(fields[i].Value)
	}
	mem := make([]byte, 0, size)
	keep := func(b []byte) []byte {
		mem = append(mem, b...)
		return mem[len(mem)-len(b) : len(mem) : len(mem)]
	}
	r := &Request{http2: http2, key: key, headers: make([]http1.Header, 0, len(fields))}
	for i := range fields {
		f := &fields[i]
		switch string(f.Name) {
		case ":method":
			r.method = keep(f.Value)
		case ":path":
			r.path = keep(f.Value)
		case ":authority":
			r.host = keep(f.Value)
		case ":scheme", ":protocol", "expect": // nobody is there to wait for a 100
		case "te":
			r.teTrailers = true
		case "content-length": // that of the body, below
		default:
			r.headers = append(r.headers, http1.Header{Name: keep(f.Name), Value: keep(f.Value), Sensitive: f.Sensitive})
		}
	}
	http1.Identify(r.headers)
	return r
}

// SetBody gives the request its body, which must not be changed any more, and
// the trailers behind it.
func (r *Request) SetBody(body []byte, trailers []http1.Header) {
	r.body, r.trailers = body, trailers
}

// SetTimeout bounds the copy in place of Config.Timeout, if that is longer. 0:
// it does not.
func (r *Request) SetTimeout(d time.Duration) { r.timeout = d }

// Shadow is the same request with a host that says that it is a copy: "-shadow"
// behind the name, before the port (Envoy).
func (r *Request) Shadow() *Request {
	if len(r.host) == 0 || r.shadow {
		return r
	}
	host, port := http1.SplitPort(r.host)
	other := *r
	other.shadow = true
	other.host = append(bytes.Clone(host), "-shadow"...)
	if len(port) > 0 {
		other.host = append(append(other.host, ':'), port...)
	}
	return &other
}

// grpc tells whether it is a call of gRPC, which needs HTTP/2.
func (r *Request) grpc() bool {
	ct, _ := http1.Find(r.headers, "content-type")
	return bytes.HasPrefix(ct, []byte("application/grpc")) && !bytes.HasPrefix(ct, []byte("application/grpc-web"))
}

// view is the request in the terms of package http1. Its Headers are shared.
func (r *Request) view() http1.Request {
	v := http1.Request{
		Method: r.method, Target: r.path, Path: r.path, Host: r.host, Minor: 1,
		Headers: r.headers, KeepAlive: true, TETrailers: r.teTrailers, Head: string(r.method) == "HEAD",
	}
	switch {
	case len(r.trailers) > 0:
		v.Body.Kind = http1.BodyChunked
	case len(r.body) > 0:
		v.Body = http1.Body{Kind: http1.BodyLength, Length: int64(len(r.body))}
	}
	return v
}
