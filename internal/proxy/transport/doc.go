// Package transport is TLS around the byte streams of the proxy: to endpoints
// (Client) and from callers (Server), on crypto/tls.
//
// A Client or a Server is made of a Config whose certificates and authorities
// are files or inline PEM. Files are read again when they have changed: no
// goroutine watches them, but a handshake looks at most once in Config.Reread.
// What is read and is wrong leaves the last good state in use, and is logged
// once.
//
// What is verified follows Envoy's CertificateValidationContext: the chain up
// to the trusted authorities, and the subject alternative names if any are
// given; the name that is sent as SNI is not compared by itself. A resumed
// session is verified as a new one is. Nothing is left unverified unless the
// configuration says so in a word of its own (Verify.Insecure).
//
// Conn is the resulting stream. It does what the request path asks of a socket
// beyond reading and writing (waiting without a buffer, noticing that the peer
// went away, ending without waiting), which crypto/tls by itself does not.
//
// Concurrency: Client and Server are safe for concurrent use; the rules of Conn
// are those of net.Conn, and its doc comments name the exceptions. The package
// knows nothing of HTTP, clusters and listeners but their names.
package transport
