package proxy

import (
	"math/rand/v2"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/mirror"
	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// This file is what mirrors get of a request: a copy of it as its first endpoint
// gets it. The copy is made while the request goes on, and sent when all of the
// body has come, be that before the answer or after. Upgrades and CONNECT are
// not mirrored.

// copies is a request on its way to mirrors. Who reads the request's body owns
// it.
type copies struct {
	to    []*route.Mirror
	req   *mirror.Request
	body  []byte
	chunk *http1.ChunkReader // of a body that comes in chunks; nil: it does not
}

// beginCopies casts the dice for each mirror, and copies the head if any is to
// have one.
func (x *exchange) beginCopies(http2 bool) {
	if len(x.action.Mirrors) == 0 || x.req.Connect || x.req.Upgrade != nil {
		return
	}
	var to []*route.Mirror
	for i := range x.action.Mirrors {
		m := &x.action.Mirrors[i]
		switch {
		case !m.Chosen(rand.Uint32()):
		case m.Cluster == nil:
			x.srv.cfg.Metrics.Mirrored(telemetry.MirrorNoCluster)
		default:
			to = append(to, m)
		}
	}
	if len(to) == 0 {
		return
	}
	x.copies = &copies{to: to}
	if x.req.Body.Length > int64(x.srv.maxKept()) {
		x.dropCopies(telemetry.MirrorTooLarge)
		return
	}
	space := x.srv.fields.Get().(*fieldSpace)
	defer space.free(x.srv)
	x.copies.req = mirror.NewRequest(x.requestFields(space), http2, x.key)
}

// copyBody adds a piece of the body to the copy, and sends it if that is the
// last.
func (x *exchange) copyBody(b []byte, end bool, trailers []http1.Header) {
	c := x.copies
	if c == nil {
		return
	}
	if c.chunk != nil {
		c.body, _, _, _ = c.chunk.Decode(c.body, b) // who sends it on finds what is wrong with it
		trailers = c.chunk.Trailers()
	} else {
		c.body = append(c.body, b...)
	}
	switch {
	case len(c.body) > x.srv.maxKept():
		x.dropCopies(telemetry.MirrorTooLarge)
	case end:
		x.sendCopies(trailers)
	}
}

// sendCopies sends the copy, which is complete.
func (x *exchange) sendCopies(trailers []http1.Header) {
	c := x.copies
	x.copies = nil
	c.req.SetBody(c.body, trailers)
	c.req.SetTimeout(x.action.Timeout)
	for _, m := range c.to {
		r := c.req
		if m.ShadowHost {
			r = r.Shadow()
		}
		x.srv.mirrors.Send(m.Cluster, r)
	}
}

// dropCopies counts a copy that is not sent.
func (x *exchange) dropCopies(why telemetry.MirrorResult) {
	if x.copies == nil {
		return
	}
	for _, m := range x.copies.to {
		m.Cluster.Metrics().Mirrored(why)
	}
	x.copies = nil
}

// copyFirst gives the copy what came of the body with the head, which was just
// composed.
func (c *conn) copyFirst() {
	x := &c.x
	if x.tries.n != 1 {
		return
	}
	if x.beginCopies(false); x.copies == nil {
		return
	}
	if c.req.Body.Kind == http1.BodyChunked {
		x.copies.chunk = new(http1.ChunkReader)
		x.copies.chunk.Reset(&c.srv.cfg.HTTP1)
	}
	x.copyBody(c.in.b[c.r-int(x.received):c.r], x.whole, nil)
}

// copyFirst gives the copy what has come of the body. mu is held.
func (st *stream) copyFirst() {
	if st.x.tries.n != 1 {
		return
	}
	st.x.beginCopies(true)
	st.x.copyBody(st.in.data, st.in.end, st.in.trailers)
}
