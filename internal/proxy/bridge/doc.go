// Package bridge translates the heads and trailers of messages between
// HTTP/1.x and HTTP/2, in both directions (RFC 9110, RFC 9112, RFC 9113 section
// 8, RFC 8441 for WebSockets).
//
// The types of http1 are the common tongue: a message of HTTP/2 is looked at
// through RequestView or ResponseView, and whatever is held in those types,
// parsed or viewed, can be written as HTTP/2. Only views are written as HTTP/1.1
// here; what was parsed has http1's own AppendForward.
//
// It keeps the promise of http1 across the versions: one method, one target,
// one authority and one length, the same on both sides, and nothing in a field
// that the next recipient could read as anything else. What is about one
// connection (RFC 9110 section 7.6.1) stays behind, framing is stated anew, and
// a field that HTTP/1.1 could not say is not written.
//
// All functions are pure but for the nonce of a WebSocket's key. They keep
// nothing, and allocate nothing once the space that they are given has grown to
// its working size. Results hold slices of their inputs.
package bridge
