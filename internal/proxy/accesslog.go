package proxy

import (
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// log writes the exchange's line to the access log.
func (c *conn) log() {
	x := &c.x
	took := c.srv.clock() - x.start
	e := telemetry.AccessEntry{
		Start:            time.Now().Add(-took),
		Duration:         took,
		UpstreamTime:     -1,
		Protocol:         "HTTP/1.1",
		Status:           x.status,
		Reason:           x.reason,
		BytesReceived:    x.received,
		BytesSent:        x.sent,
		DownstreamLocal:  c.down.LocalAddr().String(),
		DownstreamRemote: c.down.RemoteAddr().String(),
	}
	if x.headAt != 0 {
		e.UpstreamTime = x.headAt - x.start
	}
	if x.failure != nil {
		e.UpstreamFailure = x.failure.Error()
	}
	if x.action != nil {
		e.RouteName = x.action.RouteName
	}
	if x.cluster != nil {
		e.UpstreamCluster = x.cluster.Name()
	}
	if x.endpoint != nil {
		e.UpstreamHost = x.endpoint.Address()
	}
	if !x.malformed {
		c.logRequest(&e)
	}
	c.srv.cfg.AccessLog.Log(&e)
}

func (c *conn) logRequest(e *telemetry.AccessEntry) {
	e.Method, e.Path, e.Authority = c.req.Method, c.req.Path, c.req.Host
	if c.req.Minor == 0 {
		e.Protocol = "HTTP/1.0"
	}
	e.ForwardedFor, _ = http1.Find(c.req.Headers, "x-forwarded-for")
	e.UserAgent, _ = http1.Find(c.req.Headers, "user-agent")
	e.RequestID = c.req.RequestID
	if !c.req.HasRequestID && c.x.extra[0].Value != nil {
		e.RequestID = c.x.requestID[:]
	}
}
