// Package websocket has two WebSocket libraries that know nothing of each other
// talk through the proxy, either as client and either as server: by the upgrade
// of HTTP/1.1, by HTTP/2's extended CONNECT (RFC 8441), and across both.
package websocket
