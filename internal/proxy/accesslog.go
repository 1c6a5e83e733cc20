package proxy

import (
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/listener"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// log writes the exchange's line to the access log.
func (x *exchange) log(down *listener.Conn, protocol string) {
	took := x.srv.clock() - x.start
	e := telemetry.AccessEntry{
		Start:            time.Now().Add(-took),
		Duration:         took,
		UpstreamTime:     -1,
		Protocol:         protocol,
		Status:           x.status,
		GRPCStatus:       x.grpc,
		Reason:           x.reason,
		Delayed:          x.delayed > 0,
		Untried:          x.tries.limited,
		BytesReceived:    x.received,
		BytesSent:        x.sent,
		DownstreamLocal:  down.LocalAddr().String(),
		DownstreamRemote: down.RemoteAddr().String(),
		ServerName:       down.ServerName(),
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
		x.logRequest(&e)
	}
	x.srv.cfg.AccessLog.Log(&e)
}

func (x *exchange) logRequest(e *telemetry.AccessEntry) {
	e.Method, e.Path, e.Authority = x.req.Method, x.req.Path, x.req.Host
	e.ForwardedFor, _ = http1.Find(x.req.Headers, "x-forwarded-for")
	e.UserAgent, _ = http1.Find(x.req.Headers, "user-agent")
	e.RequestID = x.req.RequestID
	if !x.req.HasRequestID && x.extra[0].Value != nil {
		e.RequestID = x.requestID[:]
	}
}
