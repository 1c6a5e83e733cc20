package proxy

import (
	"sync"

	"github.com/reclosermesh/recloser/internal/proxy/bridge"
	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// This file joins a stream of HTTP/2 with a connection of bytes: after an upgrade
// (RFC 8441), or for CONNECT.

// switched joins both sides after a 101: the caller's stream has become a
// tunnel (RFC 8441).
func (k *carrier) switched() telemetry.Reason {
	if !bridge.WebSocketAccepted(k.out, &k.resp) {
		k.x.detail = "Sec-WebSocket-Accept does not fit the key"
		return telemetry.UpstreamProtocol
	}
	k.reply(false)
	return k.tunnel()
}

// tunnel moves bytes both ways until both sides have ended.
func (k *carrier) tunnel() telemetry.Reason {
	st := k.st
	st.mu.Lock()
	st.settleTunnel()
	st.in.end = st.in.end || st.gone
	st.mu.Unlock()
	var up sync.WaitGroup
	up.Go(k.pumpUp)
	why := k.pumpDown()
	if why != telemetry.ViaUpstream {
		st.mu.Lock()
		st.answered = true // nothing more is taken
		st.interrupt()
		st.mu.Unlock()
	}
	up.Wait()
	return why
}

// pumpUp moves what the caller sends.
func (k *carrier) pumpUp() {
	st := k.st
	buf := st.conn.srv.buffers.Get().(*buffer)
	defer st.conn.srv.buffers.Put(buf)
	for {
		n, end, _, ok := st.take(buf.b)
		if !ok {
			k.conn.Interrupt()
			return
		}
		if n > 0 {
			wrote, err := k.conn.Write(buf.b[:n])
			k.x.endpoint.Metrics().BytesWritten(wrote)
			if err != nil {
				k.conn.Interrupt()
				return
			}
			st.credited(n)
		}
		if end {
			half, ok := k.conn.Conn.(interface{ CloseWrite() error })
			if !ok || half.CloseWrite() != nil || k.interrupted() != telemetry.ViaUpstream {
				k.conn.Interrupt() // nobody hears what the endpoint still says
			}
			return
		}
	}
}

// pumpDown moves what the endpoint sends.
func (k *carrier) pumpDown() telemetry.Reason {
	if why := k.openBody(); why != telemetry.ViaUpstream {
		return why
	}
	k.st.conn.h2.Flush()
	return telemetry.ViaUpstream
}

// carryBytes is a CONNECT: a connection to the endpoint, and bytes both ways.
func (st *stream) carryBytes() {
	k := st.conn.srv.carriers.Get().(*carrier)
	k.begin(st)
	why := k.connectBytes()
	if why == telemetry.ViaUpstream {
		why = k.tunnel()
	}
	k.end(why)
}

func (k *carrier) connectBytes() telemetry.Reason {
	st, x := k.st, k.x
	var err error
	if k.conn, err = x.endpoint.Connect(x.connectBefore()); err != nil {
		return x.connectFailure(err)
	}
	k.whole = true
	st.use(k.conn)
	if why := k.interrupted(); why != telemetry.ViaUpstream {
		return why
	}
	x.headAt = x.srv.clock()
	x.status = 200
	k.resp.Tunnel = true
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.gone {
		st.x.headSent = true
		st.down.SendHead([]http1.Header{{Name: statusName, Value: []byte("200")}}, false)
		st.conn.h2.Flush()
	}
	return telemetry.ViaUpstream
}
