// Package h2spec holds the proxy's two HTTP/2 sides to h2spec, a conformance
// suite of others: its 146 cases for servers, strict ones included, against a
// listener, and its cases for clients against the connections that the proxy
// makes to an upstream.
//
// h2spec is of the time of RFC 7540. Where RFC 9113 differs it wins, and such a
// case is named in contradictions with its section; nothing else is excused.
package h2spec
