// Package h2spec holds the proxy's two HTTP/2 sides to h2spec, a conformance
// suite of others: its 146 cases for servers, strict ones included, against a
// listener, and its cases for clients against the connections that the proxy
// makes to an upstream.
//
// h2spec is of the time of RFC 7540. Where RFC 9113 has it otherwise a case is
// excused by name, with the section; no other is.
package h2spec
