// Package filter holds what a route does to a request and to its answer besides
// sending them somewhere: edits of headers, rewrites of path and host,
// redirects, CORS, and faults.
//
// Each has a definition, which says what is wrong with it, and a compiled form.
// The compiled forms are pure functions of what they are given: no I/O, no
// clock, no randomness of their own. They are immutable and may be used by any
// goroutine. Nothing is allocated where nothing is changed, nor elsewhere once
// the space that the caller lends has grown to its working size. Results hold
// slices of the inputs.
//
// Lists of http1.Header serve HTTP/1 and HTTP/2 alike: names are compared
// without their case, and names that are put in are in lower case.
//
// What is about one connection, the framing of bodies and the pseudo-fields are
// nobody's to edit; the host is changed by a rewrite.
package filter
