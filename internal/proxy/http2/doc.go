// Package http2 is one HTTP/2 connection of either role (RFC 9113, HPACK RFC
// 7541, extended CONNECT RFC 8441), made for a proxy: what comes in on a
// stream is told to a Sink as it comes, what goes out is queued by calls that
// never block, and flow control joins the two.
//
// One goroutine per connection reads (Serve). There is none per stream; one
// that writes exists only while the peer does not take what is written at
// once. A connection without streams holds no buffers where its transport can
// wait without one (see ReadInto).
//
// # Who calls what
//
// A Sink, accept and onRoom are called with no lock of the engine held, and
// only by goroutines of the engine: the reader of the connection, its writer,
// or the reader of another connection that flushes this one (FlushAfter). No
// method of Stream, and neither Open, Flush, Close, Shutdown nor Sweep, calls
// them before it returns; so the caller may hold locks that its Sinks take.
//
// # What it refuses
//
// It is a security boundary, like package http1: what two parsers could read
// in two ways is refused, never repaired. A request that reaches accept has
// one method, one authority, one path and one length. Server push, priorities
// and the upgrade from HTTP/1.1 are not offered: the first two are obsolete or
// optional, RFC 9113 section 3.1 dropped the last.
//
// It does not decide: what a request is answered, when it has taken too long,
// or when an idle connection is closed is up to its owner, who calls Sweep.
package http2
