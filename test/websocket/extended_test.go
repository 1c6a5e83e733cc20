package websocket

import (
	"crypto/sha1" //nolint:gosec // RFC 6455 has it so
	"encoding/base64"
	"net/http"

	"github.com/reclosermesh/recloser/test/peer"
)

// extended is the way of RFC 8441 for a library that knows HTTP/1.1's alone: it
// makes an extended CONNECT of the upgrade, and of its answer a 101.
type extended struct{}

func (extended) RoundTrip(req *http.Request) (*http.Response, error) {
	t, err := peer.OpenTunnel(req.Context(), req.URL.Host, "websocket", req.URL.RequestURI(), "sec-websocket-version", "13", "origin", "http://peer.test")
	if err != nil {
		return nil, err
	}
	accept := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above
	return &http.Response{
		Status: "101 Switching Protocols", StatusCode: http.StatusSwitchingProtocols,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req, Body: t,
		Header: http.Header{
			"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
			"Sec-Websocket-Accept": {base64.StdEncoding.EncodeToString(accept[:])},
		},
	}, nil
}
