package model

import (
	"fmt"
	"strings"
)

// Protocol is what is spoken on a port, as far as a proxy must know it.
type Protocol uint8

// The protocols. Detect is the zero value: nobody has said anything, and each
// connection is looked at.
const (
	// Detect looks at the first bytes of each connection: HTTP/1.x, HTTP/2 by
	// its preface, else it is opaque.
	Detect Protocol = iota
	// HTTP1 is HTTP/1.1, WebSocket included.
	HTTP1
	// HTTP2 is HTTP/2 with prior knowledge, gRPC included.
	HTTP2
	// TLS is a connection that the two ends encrypt themselves. It is passed on
	// as it is.
	TLS
	// TCP is any other protocol, one in which the server speaks first included.
	// Its bytes are passed on as they are.
	TCP
)

// String is the protocol as people read it.
func (p Protocol) String() string {
	switch p {
	case HTTP1:
		return "http/1.1"
	case HTTP2:
		return "http/2"
	case TLS:
		return "tls"
	case TCP:
		return "tcp"
	default:
		return "detect"
	}
}

// MarshalText writes it as String does.
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText wrote, and nothing else.
func (p *Protocol) UnmarshalText(text []byte) error {
	for q := Detect; q <= TCP; q++ {
		if q.String() == string(text) {
			*p = q
			return nil
		}
	}
	return fmt.Errorf("protocol %q: allowed are detect, http/1.1, http/2, tls and tcp", text)
}

// Opaque says that the proxy passes bytes on without looking at them.
func (p Protocol) Opaque() bool { return p == TLS || p == TCP }

// HTTP says that all connections are HTTP.
func (p Protocol) HTTP() bool { return p == HTTP1 || p == HTTP2 }

// appProtocols are the values of appProtocol that are understood: those that
// Kubernetes defines (KEP-3726), Istio's and Linkerd's names, and the IANA
// service names that are met in manifests. It is not changed.
var appProtocols = map[string]Protocol{
	"kubernetes.io/h2c": HTTP2,
	"kubernetes.io/ws":  HTTP1,
	"kubernetes.io/wss": TLS,

	"linkerd.io/opaque": TCP,
	"linkerd.io/tcp":    TCP,

	// Istio's.
	"http": HTTP1, "http2": HTTP2, "grpc": HTTP2,
	"https": TLS, "tls": TLS, "tcp": TCP,
	"mongo": TCP, "mysql": TCP, "redis": TCP,
	// gRPC-Web is made to pass where HTTP/1.1 does.
	"grpc-web": HTTP1,

	// IANA's, of RFC 6335's registry.
	"www": HTTP1, "www-http": HTTP1, "http-alt": HTTP1,
	"https-alt": TLS, "imaps": TLS, "pop3s": TLS, "ldaps": TLS, "amqps": TLS,
	"ftps": TLS, "telnets": TLS, "secure-mqtt": TLS, "submissions": TLS, "domain-s": TLS,
	"smtp": TCP, "submission": TCP, "imap": TCP, "pop3": TCP, "ldap": TCP, "amqp": TCP,
	"ftp": TCP, "ftp-data": TCP, "ssh": TCP, "telnet": TCP, "domain": TCP, "mqtt": TCP,
	"postgresql": TCP, "ms-sql-s": TCP, "mongodb": TCP, "memcache": TCP, "nfs": TCP,
	"kerberos": TCP, "xmpp-client": TCP, "xmpp-server": TCP, "irc": TCP, "nats": TCP,
	"stomp": TCP, "epmd": TCP, "rsync": TCP, "microsoft-ds": TCP, "syslog": TCP,
}

// AppProtocols are the values of appProtocol that are understood, those first
// that a message should name.
func AppProtocols() []string {
	return []string{
		"http", "http2", "grpc", "grpc-web", "https", "tls", "tcp", "mongo", "mysql", "redis",
		"kubernetes.io/h2c", "kubernetes.io/ws", "kubernetes.io/wss", "linkerd.io/opaque", "linkerd.io/tcp",
	}
}

// ParseAppProtocol is the protocol of an appProtocol, in any case of letters as
// Linkerd and Istio read it. It is not ok for a value that nobody here knows.
func ParseAppProtocol(s string) (p Protocol, ok bool) {
	p, ok = appProtocols[strings.ToLower(s)]
	return p, ok
}

// prefixes are what the names of ports may begin with: Istio's list. It is not
// changed.
var prefixes = map[string]Protocol{
	"http": HTTP1, "http2": HTTP2, "grpc": HTTP2, "https": TLS, "tls": TLS,
	"tcp": TCP, "mongo": TCP, "mysql": TCP, "redis": TCP,
}

// ParsePortName is the protocol that the name of a port says, as Istio reads
// it: PROTOCOL or PROTOCOL-SUFFIX.
func ParsePortName(name string) (p Protocol, ok bool) {
	name = strings.ToLower(name)
	if name == "grpc-web" || strings.HasPrefix(name, "grpc-web-") {
		return HTTP1, true
	}
	name, _, _ = strings.Cut(name, "-")
	p, ok = prefixes[name]
	return p, ok
}

// DefaultOpaquePorts are well-known ports of protocols in which the server
// speaks first: Linkerd's list, which holds where no annotation has another.
func DefaultOpaquePorts() []uint16 {
	return []uint16{25, 587, 3306, 4444, 5432, 6379, 9300, 11211}
}
