package proxy

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/filter"
	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// This file is what a route does with a request besides sending it somewhere,
// the same for every protocol: answers of its own, faults, and edits. A request
// whose route asks for none of it pays for a few comparisons with nil.

// ownAnswer is an answer that a route gives in place of an endpoint's.
type ownAnswer struct {
	status  int
	headers []http1.Header
	body    []byte
}

// edited is a request as it is sent on, where that is not as it came, and room
// for the fields of its answer. It is reused for one exchange after the other.
type edited struct {
	req     http1.Request
	headers []http1.Header
	arena   []byte
	answer  []http1.Header
	fields  []http1.Header // of an answer, between two edits
	scratch []byte
}

func (s *Server) newEdited() *edited {
	e := s.edits.Get().(*edited)
	e.headers, e.arena = e.headers[:0], e.arena[:0]
	return e
}

// forget gives back what was used for edits.
func (x *exchange) forget() {
	if x.edits == nil {
		return
	}
	x.edits.req = http1.Request{} // it holds buffers that are others' soon
	clear(x.edits.headers)
	clear(x.edits.answer)
	clear(x.edits.fields)
	x.srv.edits.Put(x.edits)
	x.edits, x.fwd = nil, x.req
}

// treat gives the answer that the route has by itself, if it has one, and casts
// the dice for its faults.
func (x *exchange) treat() telemetry.Reason {
	a := x.action
	if x.req.Connect {
		return telemetry.ViaUpstream
	}
	if fields, ok := a.CORS.Preflight(nil, x.req); ok {
		x.ours = &ownAnswer{200, fields, nil}
		return telemetry.DirectResponse
	}
	x.delay = a.Fault.DelayOf(rand.Uint32())
	if status, grpc, ok := a.Fault.Abort(rand.Uint32()); ok {
		x.abort(status, grpc)
		if x.delay == 0 {
			return telemetry.FaultAborted
		}
		return telemetry.ViaUpstream // it is answered after its delay
	}
	switch {
	case a.Redirect != nil:
		location, ok := a.Redirect.AppendLocation(nil, x.scheme(), x.req)
		if !ok {
			x.detail = "the path that it is redirected to is none"
			return telemetry.ClusterNotFound
		}
		return x.own(a.Redirect.Status(), []http1.Header{{Name: locationName, Value: location}}, nil)
	case a.Direct != nil:
		return x.own(a.Direct.Status, nil, a.Direct.Body)
	}
	return telemetry.ViaUpstream
}

var locationName = []byte("location")

// own notes an answer of the route's own. A caller of gRPC gets it as a status,
// in trailers only, unless it is a redirect.
func (x *exchange) own(status int, fields []http1.Header, body []byte) telemetry.Reason {
	if h := x.action.ResponseHeaders; h != nil {
		var arena []byte
		v := x.vars()
		v.Status, v.Answer = status, fields
		fields = h.Apply(nil, &arena, fields, &v)
	}
	if status/100 != 3 && x.isGRPC() {
		x.grpc = telemetry.GRPCOf(status)
		fields = slices.DeleteFunc(fields, func(h http1.Header) bool { return http1.EqualFold(h.Name, "content-type") })
		status, fields, body = 200, append(fields, grpcFields(x.grpc, body)...), nil
	}
	if status == 204 || status == 304 { // they have no content (RFC 9110 section 6.4.1)
		body = nil
	}
	if x.action.CORS.Concerns(x.req) {
		fields = x.action.CORS.Answer(nil, fields, x.req)
	}
	x.ours = &ownAnswer{status, fields, body}
	return telemetry.DirectResponse
}

// abort notes the answer of a fault: the text is Envoy's.
func (x *exchange) abort(status, grpc int) {
	body := []byte("fault filter abort")
	x.ours = &ownAnswer{status: status, body: body}
	switch {
	case status == 0 && !x.isGRPC():
		x.ours.status = statusOfGRPC(grpc)
	case status != 0 && x.isGRPC():
		grpc = telemetry.GRPCOf(status)
		fallthrough
	case status == 0:
		x.grpc = grpc
		x.ours = &ownAnswer{status: 200, headers: grpcFields(grpc, body)}
	}
}

// hold keeps a request back for the time that a fault says.
func (x *exchange) hold(done <-chan struct{}) telemetry.Reason {
	if x.delay == 0 {
		return telemetry.ViaUpstream
	}
	for x.delay, x.delayed = 0, x.delay; ; {
		left := x.start + x.delayed - x.srv.clock()
		if x.deadline != 0 {
			left = min(left, x.deadline-x.srv.clock())
		}
		if left <= 0 {
			break
		}
		t := time.NewTimer(left)
		select {
		case <-t.C:
		case <-done:
			t.Stop()
			return telemetry.DownstreamGone
		}
	}
	x.asked = x.srv.clock()
	switch {
	case x.late():
		x.ours = nil
		return telemetry.RequestTimeout
	case x.ours != nil:
		return telemetry.FaultAborted
	}
	return telemetry.ViaUpstream
}

// place says by what of the request its endpoint is chosen.
func (x *exchange) place() {
	if !x.action.Hashes() {
		return
	}
	x.hash = x.action.Hash(x.req, x.remote().Addr(), rand.Uint64())
	x.key = upstream.Key{Hash: x.hash.Sum, Hashed: x.hash.Set}
}

// edit makes what is sent on of what came, where the route says so.
func (x *exchange) edit() telemetry.Reason {
	b, path := x.backend, x.action.Path
	if b.RequestHeaders == nil && b.Host == nil && path == nil || x.req.Connect {
		return telemetry.ViaUpstream
	}
	e := x.srv.newEdited()
	x.edits = e
	e.req = *x.req
	x.fwd = &e.req
	if path != nil {
		from := len(e.arena)
		var ok bool
		if e.arena, ok = path.Append(e.arena, x.req.Path); !ok {
			x.detail = "the path that it is rewritten to is none"
			return telemetry.ClusterNotFound
		}
		e.req.Path = e.arena[from:len(e.arena):len(e.arena)]
		e.req.Target = e.req.Path
	}
	if b.Host != nil {
		e.req.Host = b.Host
	}
	if h := b.RequestHeaders; h != nil {
		e.headers = h.Apply(e.headers, &e.arena, x.req.Headers, x.varsIf(h))
		e.req.Headers = e.headers
		e.req.RequestID, e.req.HasRequestID = http1.Find(e.headers, "x-request-id")
	}
	return telemetry.ViaUpstream
}

// editAnswer gives the fields of an endpoint's answer as the caller gets them.
// The result is good until the next call.
func (x *exchange) editAnswer(status int, src []http1.Header) []http1.Header {
	if status < 200 || x.backend == nil {
		return src
	}
	h, cors := x.backend.ResponseHeaders, x.action.CORS
	cookie, sets := x.hash.SetCookie(nil)
	if h == nil && !sets && !cors.Concerns(x.req) {
		return src
	}
	if x.edits == nil {
		x.edits = x.srv.newEdited()
	}
	e := x.edits
	e.scratch = e.scratch[:0]
	e.fields = e.fields[:0]
	if h != nil {
		v := x.varsIf(h)
		if v != nil {
			v.Status, v.Answer = status, src
		}
		e.fields = h.Apply(e.fields, &e.scratch, src, v)
	} else {
		e.fields = append(e.fields, src...)
	}
	if sets {
		e.fields = append(e.fields, http1.Header{Name: setCookieName, Value: cookie})
	}
	e.answer = cors.Answer(e.answer[:0], e.fields, x.req)
	return e.answer
}

var setCookieName = []byte("set-cookie")

// varsIf are the variables where they are looked at.
func (x *exchange) varsIf(h *filter.Headers) *filter.Vars {
	if !h.NeedsVars() {
		return nil
	}
	v := x.vars()
	return &v
}

func (x *exchange) vars() filter.Vars {
	v := filter.Vars{
		Request: x.req, Protocol: x.protocol, Remote: x.remote(), Local: addrPort(x.down.LocalAddr()),
		Start: time.Now().Add(x.start - x.srv.clock()), Route: x.action.RouteName,
	}
	if x.backend != nil {
		v.Cluster = x.backend.Name
	}
	if x.endpoint != nil {
		v.Upstream = x.endpoint.Address()
	}
	return v
}

func (x *exchange) remote() netip.AddrPort { return addrPort(x.down.RemoteAddr()) }

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort()
	}
	return netip.AddrPort{}
}

// scheme is how the caller came.
func (x *exchange) scheme() string {
	if x.down.Plain() {
		return "http"
	}
	return "https"
}
