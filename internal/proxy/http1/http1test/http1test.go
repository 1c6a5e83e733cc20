// Package http1test holds messages that a strict HTTP/1.x parser must refuse, for
// the tests of the codec and of what is built on it.
package http1test

import "strings"

// Bad is a message, or a part of one, that must be refused.
type Bad struct {
	// Rule is whose rule it breaks (RFC and section), and how.
	Rule string
	// Bytes are what is sent.
	Bytes string
	// Reason is the ParseError's.
	Reason string
}

// The bounds that the messages overstep: the codec's defaults.
const (
	maxHeadBytes     = 64 << 10
	maxHeaders       = 100
	maxOptions       = 16
	maxChunkExtBytes = 1 << 10
	maxTrailerBytes  = 8 << 10
)

// Requests are all ambiguities of a request's head that we know. Each would be
// accepted by some parser somewhere.
func Requests() []Bad {
	line := func(l string) string { return l + "\r\nHost: a\r\n\r\n" }
	field := func(f string) string { return "POST / HTTP/1.1\r\nHost: a\r\n" + f + "\r\n\r\n" }
	first := func(f string) string { return "POST / HTTP/1.1\r\n" + f + "\r\n\r\n" }
	old := func(f string) string { return "POST / HTTP/1.0\r\nHost: a\r\n" + f + "\r\n\r\n" }
	return []Bad{
		// The request line.
		{"9112/2.2 two empty lines before", "\r\n\r\n" + line("GET / HTTP/1.1"), "invalid method"},
		{"9112/2.2 bare CR before", "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", "CR without LF"},
		{"9112/2.2 bare LF before", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "invalid method"},
		{"9112/3 white space before", " " + line("GET / HTTP/1.1"), "invalid method"},
		{"9112/3 no method", line(" / HTTP/1.1"), "invalid method"},
		{"9110/9.1 method is no token", line("G(T / HTTP/1.1"), "invalid method"},
		{"9110/9.1 NUL in method", line("G\x00T / HTTP/1.1"), "invalid method"},
		{"9110/9.1 quoted method", line("\"GET\" / HTTP/1.1"), "invalid method"},
		{"9110/9.1 8-bit method", line("G\xc9T / HTTP/1.1"), "invalid method"},
		{"9112/3 HTAB behind method", line("GET\t/ HTTP/1.1"), "invalid method"},
		{"9112/3 two SP behind method", line("GET  / HTTP/1.1"), "invalid request target"},
		{"9112/3 two SP behind target", line("GET /  HTTP/1.1"), "unsupported HTTP version"},
		{"9112/3.2 SP in target", line("GET /a b HTTP/1.1"), "unsupported HTTP version"},
		{"9112/3.2 HTAB in target", line("GET /a\tb HTTP/1.1"), "invalid request target"},
		{"9112/3.2 NUL in target", line("GET /a\x00b HTTP/1.1"), "invalid request target"},
		{"9112/3.2 DEL in target", line("GET /a\x7fb HTTP/1.1"), "invalid request target"},
		{"9112/3.2 8-bit target", line("GET /\xc3\xa9 HTTP/1.1"), "invalid request target"},
		{"9112/3.2 control in query", line("GET /?\x01 HTTP/1.1"), "invalid request target"},
		{"9112/3.2 8-bit query", line("GET /?\xff HTTP/1.1"), "invalid request target"},
		{"9112/3.2 backslash in path", line("GET /..\\admin HTTP/1.1"), "invalid request target"},
		{"9112/3.2 fragment", line("GET /a#b HTTP/1.1"), "fragment in request target"},
		{"9112/3.2 fragment in query", line("GET /a?b#c HTTP/1.1"), "fragment in request target"},
		{"3986/2.1 bad percent-encoding", line("GET /%4z HTTP/1.1"), "invalid percent-encoding in request target"},
		{"3986/2.1 cut percent-encoding", line("GET /%4 HTTP/1.1"), "invalid percent-encoding in request target"},
		{"3986/2.1 bare percent", line("GET /% HTTP/1.1"), "invalid percent-encoding in request target"},
		{"9112/3.2 relative target", line("GET a HTTP/1.1"), "request target scheme is not http"},
		{"9112/3.2 query alone", line("GET ?a HTTP/1.1"), "request target scheme is not http"},
		{"9112/3.2 no target", line("GET HTTP/1.1"), "request target scheme is not http"},
		{"9112/3.2.3 authority-form", line("GET a:80 HTTP/1.1"), "request target scheme is not http"},
		{"9112/3.2.3 CONNECT with a path", line("CONNECT /a HTTP/1.1"), "CONNECT target is not host:port"},
		{"9112/3.2.3 CONNECT with a URI", line("CONNECT http://a:80/ HTTP/1.1"), "CONNECT target is not host:port"},
		{"9110/9.3.6 CONNECT without port", line("CONNECT a HTTP/1.1"), "CONNECT target is not host:port"},
		{"9110/9.3.6 CONNECT with empty port", line("CONNECT a: HTTP/1.1"), "CONNECT target is not host:port"},
		{"9110/9.3.6 CONNECT to port 0", line("CONNECT a:0 HTTP/1.1"), "CONNECT target is not host:port"},
		{"9110/9.3.6 CONNECT to port 65536", line("CONNECT a:65536 HTTP/1.1"), "CONNECT target is not host:port"},
		{"9112/3.2.4 asterisk with GET", line("GET * HTTP/1.1"), "asterisk-form with a method other than OPTIONS"},
		{"9112/3.2.4 more than the asterisk", line("OPTIONS *a HTTP/1.1"), "invalid request target"},
		{"9112/3.2.2 other scheme", line("GET https://a/ HTTP/1.1"), "request target scheme is not http"},
		{"9112/3.2.2 no authority", line("GET http:/// HTTP/1.1"), "invalid authority in request target"},
		{"9112/3.2.2 bad port", line("GET http://a:b/ HTTP/1.1"), "invalid authority in request target"},
		{"9112/3.2.2 port too large", line("GET http://a:70000/ HTTP/1.1"), "invalid authority in request target"},
		{"9112/3.2.2 bad host", line("GET http://a,b/ HTTP/1.1"), "invalid authority in request target"},
		{"9112/3.2.2 encoded host", line("GET http://%61/ HTTP/1.1"), "invalid authority in request target"},
		{"9110/4.2.4 userinfo", line("GET http://u@a/ HTTP/1.1"), "user information in request target"},
		{"9110/4.2.4 userinfo with password", line("GET http://u:p@a/ HTTP/1.1"), "user information in request target"},
		{"9112/3 HTTP/0.9", "GET /\r\n\r\n", "invalid request target"},
		{"9112/2.3 HTTP/2.0", line("GET / HTTP/2.0"), "unsupported HTTP version"},
		{"9113/3.4 HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "asterisk-form with a method other than OPTIONS"},
		{"9112/2.3 HTTP/1.2", line("GET / HTTP/1.2"), "unsupported HTTP version"},
		{"9112/2.3 HTTP/1.10", line("GET / HTTP/1.10"), "unsupported HTTP version"},
		{"9112/2.3 HTTP/01.1", line("GET / HTTP/01.1"), "unsupported HTTP version"},
		{"9112/2.3 lower case", line("GET / http/1.1"), "unsupported HTTP version"},
		{"9112/2.3 other name", line("GET / HTCPCP/1.1"), "unsupported HTTP version"},
		{"9112/3 SP behind version", line("GET / HTTP/1.1 "), "unsupported HTTP version"},
		{"9112/2.2 LF ends the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", "LF without CR"},
		{"9112/2.2 CR ends the request line", "GET / HTTP/1.1\rHost: a\r\n\r\n", "CR without LF"},
		{"9112/2.2 LF in target", line("GET /\n HTTP/1.1"), "LF without CR"},

		// Field lines.
		{"9112/5.2 folded line", field("A: b\r\n c"), "folded header line"},
		{"9112/5.2 folded by HTAB", field("A: b\r\n\tc"), "folded header line"},
		{"9112/2.2 white space before the first field", first(" Host: a"), "folded header line"},
		{"9112/5.1 SP before colon", field("A : b"), "white space before the colon of a header"},
		{"9112/5.1 HTAB before colon", field("A\t: b"), "white space before the colon of a header"},
		{"9112/5.1 SP before colon of a length", field("Content-Length : 1"), "white space before the colon of a header"},
		{"9112/5 no colon", field("A"), "invalid header name"},
		{"9112/5 no name", field(": b"), "invalid header name"},
		{"9110/5.1 invalid name", field("A(b): c"), "invalid header name"},
		{"9110/5.1 NUL in name", field("A\x00: b"), "invalid header name"},
		{"9110/5.1 8-bit name", field("\xc3\xa9: b"), "invalid header name"},
		{"9110/5.1 VT before name", field("\x0bTransfer-Encoding: chunked"), "invalid header name"},
		{"9110/5.5 NUL in value", field("A: b\x00c"), "invalid header value"},
		{"9110/5.5 BEL in value", field("A: b\x07c"), "invalid header value"},
		{"9110/5.5 DEL in value", field("A: 1234567\x7f"), "invalid header value"},
		{"9110/5.5 VT around a value", field("Transfer-Encoding: \x0bchunked"), "invalid header value"},
		{"9112/2.2 bare CR in value", field("A: b\rc"), "CR without LF"},
		{"9112/2.2 bare LF in value", field("A: b\nB: c"), "LF without CR"},
		{"9112/2.2 bare LF ends a line", field("A: b\n"), "LF without CR"},
		{"9112/2.2 CR CR LF", field("A: b\r"), "CR without LF"},
		{"9112/2.2 LF ends the head", "GET / HTTP/1.1\r\nHost: a\r\n\n", "LF without CR"},
		{"9112/2.2 CR ends the head", "GET / HTTP/1.1\r\nHost: a\r\n\rX", "CR without LF"},
		{"9112/2.2 LF alone throughout", "GET / HTTP/1.1\nHost: a\n\n", "LF without CR"},

		// Host.
		{"9112/3.2 no Host", "GET / HTTP/1.1\r\n\r\n", "missing Host header"},
		{"9112/3.2 no Host with absolute-form", "GET http://a/ HTTP/1.1\r\n\r\n", "missing Host header"},
		{"9112/3.2 two Hosts", field("Host: b"), "repeated Host header"},
		{"9112/3.2 two equal Hosts", field("Host: a"), "repeated Host header"},
		{"9112/3.2 two Hosts in HTTP/1.0", old("Host: a"), "repeated Host header"},
		{"9112/3.2 empty Host", first("Host:"), "invalid Host header"},
		{"9110/7.2 Host with a path", first("Host: a/b"), "invalid Host header"},
		{"9110/7.2 Host with a space", first("Host: a b"), "invalid Host header"},
		{"9110/7.2 Host is a list", first("Host: a, b"), "invalid Host header"},
		{"9110/7.2 Host with userinfo", first("Host: u@a"), "invalid Host header"},
		{"9110/7.2 Host with empty port", first("Host: a:"), "invalid Host header"},
		{"9110/7.2 Host is a port", first("Host: :80"), "invalid Host header"},
		{"9110/7.2 Host with two ports", first("Host: a:80:81"), "invalid Host header"},
		{"9110/7.2 Host with signed port", first("Host: a:+80"), "invalid Host header"},
		{"9110/7.2 Host with octal port", first("Host: a:080"), "invalid Host header"},
		{"9110/7.2 Host is encoded", first("Host: %61"), "invalid Host header"},
		{"9110/7.2 Host is 8-bit", first("Host: \xe9"), "invalid Host header"},
		{"3986/3.2.2 open bracket", first("Host: [::1"), "invalid Host header"},
		{"3986/3.2.2 no address", first("Host: []"), "invalid Host header"},
		{"3986/3.2.2 zone", first("Host: [fe80::1%25eth0]"), "invalid Host header"},
		{"3986/3.2.2 behind the bracket", first("Host: [::1]a"), "invalid Host header"},
		{"9112/3.2.2 Host differs", line("GET http://b/ HTTP/1.1"), "Host header differs from the request target"},
		{"9112/3.2.2 port differs", line("GET http://a:81/ HTTP/1.1"), "Host header differs from the request target"},
		{"9112/3.2.3 CONNECT Host differs", line("CONNECT b:80 HTTP/1.1"), "Host header differs from the request target"},
		{"9112/3.2.3 CONNECT port differs", "CONNECT a:80 HTTP/1.1\r\nHost: a:81\r\n\r\n", "Host header differs from the request target"},

		// Framing.
		{"9112/6.1 length and coding", field("Content-Length: 1\r\nTransfer-Encoding: chunked"), "both Content-Length and Transfer-Encoding"},
		{"9112/6.1 coding and length", field("Transfer-Encoding: chunked\r\nContent-Length: 0"), "both Content-Length and Transfer-Encoding"},
		{"9112/6.3 two lengths", field("Content-Length: 1\r\nContent-Length: 2"), "repeated Content-Length"},
		{"9112/6.3 two equal lengths", field("Content-Length: 1\r\ncontent-length: 1"), "repeated Content-Length"},
		{"9110/8.6 list of lengths", field("Content-Length: 1,1"), "invalid Content-Length"},
		{"9110/8.6 empty length", field("Content-Length:"), "invalid Content-Length"},
		{"9110/8.6 plus", field("Content-Length: +1"), "invalid Content-Length"},
		{"9110/8.6 minus", field("Content-Length: -1"), "invalid Content-Length"},
		{"9110/8.6 hexadecimal", field("Content-Length: 0x1"), "invalid Content-Length"},
		{"9110/8.6 space inside", field("Content-Length: 1 1"), "invalid Content-Length"},
		{"9110/8.6 fraction", field("Content-Length: 1.0"), "invalid Content-Length"},
		{"9110/8.6 exponent", field("Content-Length: 1e1"), "invalid Content-Length"},
		{"9110/8.6 underscore", field("Content-Length: 1_0"), "invalid Content-Length"},
		{"9110/8.6 quoted", field("Content-Length: \"1\""), "invalid Content-Length"},
		{"9110/8.6 parameter", field("Content-Length: 1;a"), "invalid Content-Length"},
		{"9110/8.6 2^63", field("Content-Length: 9223372036854775808"), "invalid Content-Length"},
		{"9110/8.6 2^64+1", field("Content-Length: 18446744073709551617"), "invalid Content-Length"},
		{"9112/6.1 other coding", field("Transfer-Encoding: gzip"), "Transfer-Encoding is not chunked"},
		{"9112/6.1 coding before chunked", field("Transfer-Encoding: gzip, chunked"), "Transfer-Encoding is not chunked"},
		{"9112/6.1 chunked not final", field("Transfer-Encoding: chunked, gzip"), "Transfer-Encoding is not chunked"},
		{"9112/6.1 chunked twice", field("Transfer-Encoding: chunked, chunked"), "Transfer-Encoding is not chunked"},
		{"9112/6.1 chunked twice in two lines", field("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), "repeated Transfer-Encoding"},
		{"9112/6.1 chunked and identity", field("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"), "repeated Transfer-Encoding"},
		{"9112/6.1 identity", field("Transfer-Encoding: identity"), "Transfer-Encoding is not chunked"},
		{"9112/6.1 empty coding", field("Transfer-Encoding:"), "Transfer-Encoding is not chunked"},
		{"9112/6.1 empty element", field("Transfer-Encoding: ,chunked"), "Transfer-Encoding is not chunked"},
		{"9112/6.1 parameter", field("Transfer-Encoding: chunked;q=1"), "Transfer-Encoding is not chunked"},
		{"9112/6.1 quoted", field("Transfer-Encoding: \"chunked\""), "Transfer-Encoding is not chunked"},
		{"9112/6.1 prefix", field("Transfer-Encoding: xchunked"), "Transfer-Encoding is not chunked"},
		{"9112/6.1 coding in HTTP/1.0", old("Transfer-Encoding: chunked"), "Transfer-Encoding in HTTP/1.0"},
		{"9110/9.3.6 CONNECT with content", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 1\r\n\r\n", "body where the message can have none"},
		{"9110/9.3.6 CONNECT with coding", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nTransfer-Encoding: chunked\r\n\r\n", "body where the message can have none"},
		{"9110/6.5.1 length announced as trailer", field("Transfer-Encoding: chunked\r\nTrailer: A, content-length"), "field not allowed in trailers"},

		// The connection.
		{"9110/7.6.1 option is no token", field("Connection: a b"), "invalid Connection header"},
		{"9110/7.6.1 too many options", field("Connection: " + strings.Repeat("a,", maxOptions+1)), "too many Connection options"},
		{"9110/7.6.1 too many options in lines", field(strings.TrimSuffix(strings.Repeat("Connection: a\r\n", maxOptions+1), "\r\n")), "too many Connection options"},
		{"9110/7.8 two Upgrades", field("Upgrade: a\r\nUpgrade: b"), "invalid Upgrade header"},
		{"9110/7.8 empty Upgrade", field("Upgrade:"), "invalid Upgrade header"},

		// Bounds.
		{"9112/3 request line too long", line("GET /" + strings.Repeat("a", maxHeadBytes) + " HTTP/1.1"), "message head too large"},
		{"9112/5 fields too long", field("A: " + strings.Repeat("a", maxHeadBytes)), "message head too large"},
		{"9112/5 too many fields", field(strings.TrimSuffix(strings.Repeat("A: b\r\n", maxHeaders), "\r\n")), "too many header fields"},
	}
}

// Responses are answers to GET that must not reach a client.
func Responses() []Bad {
	line := func(l string) string { return l + "\r\nContent-Length: 0\r\n\r\n" }
	field := func(f string) string { return "HTTP/1.1 200 OK\r\n" + f + "\r\n\r\n" }
	return []Bad{
		{"9112/4 empty line before", "\r\n" + line("HTTP/1.1 200 OK"), "unsupported HTTP version"},
		{"9112/4 no status", line("HTTP/1.1"), "malformed status line"},
		{"9112/4 two SP", line("HTTP/1.1  200 OK"), "invalid status code"},
		{"9112/4 HTAB", line("HTTP/1.1\t200 OK"), "malformed status line"},
		{"9110/15 two digits", line("HTTP/1.1 20 OK"), "invalid status code"},
		{"9110/15 four digits", line("HTTP/1.1 2000 OK"), "invalid status code"},
		{"9110/15 below 100", line("HTTP/1.1 099 OK"), "invalid status code"},
		{"9110/15 sign", line("HTTP/1.1 +20 OK"), "invalid status code"},
		{"9112/4 NUL in reason", line("HTTP/1.1 200 O\x00K"), "malformed status line"},
		{"9112/2.3 HTTP/2.0", line("HTTP/2.0 200 OK"), "unsupported HTTP version"},
		{"9112/2.3 HTTP/1.2", line("HTTP/1.2 200 OK"), "unsupported HTTP version"},
		{"9112/2.3 not HTTP", line("ICY 200 OK"), "unsupported HTTP version"},
		{"9112/2.2 LF", "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", "LF without CR"},
		{"9112/2.2 LF without reason", "HTTP/1.1 200\nContent-Length: 0\r\n\r\n", "LF without CR"},
		{"9112/2.2 CR in reason", line("HTTP/1.1 200 O\rK"), "CR without LF"},
		{"9112/5.2 folded line", field("A: b\r\n c"), "folded header line"},
		{"9112/5.1 SP before colon", field("Content-Length : 1"), "white space before the colon of a header"},
		{"9110/5.5 NUL in value", field("A: b\x00"), "invalid header value"},
		{"9112/2.2 LF in value", field("A: b\nSet-Cookie: c"), "LF without CR"},
		{"9112/6.1 length and coding", field("Content-Length: 1\r\nTransfer-Encoding: chunked"), "both Content-Length and Transfer-Encoding"},
		{"9112/6.3 two lengths", field("Content-Length: 1\r\nContent-Length: 1"), "repeated Content-Length"},
		{"9112/6.3 list of lengths", field("Content-Length: 1, 1"), "invalid Content-Length"},
		{"9110/8.6 negative", field("Content-Length: -1"), "invalid Content-Length"},
		{"9112/6.1 other coding", field("Transfer-Encoding: gzip, chunked"), "Transfer-Encoding is not chunked"},
		{"9112/6.1 coding in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding in HTTP/1.0"},
		{"9110/8.6 204 with length", "HTTP/1.1 204 No\r\nContent-Length: 1\r\n\r\n", "body where the message can have none"},
		{"9112/6.1 204 with coding", "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", "body where the message can have none"},
		{"9110/8.6 100 with length", "HTTP/1.1 100 Go\r\nContent-Length: 1\r\n\r\n", "body where the message can have none"},
		{"9112/6.1 103 with coding", "HTTP/1.1 103 Go\r\nTransfer-Encoding: chunked\r\n\r\n", "body where the message can have none"},
		{"9112/6.1 101 with coding", "HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: a\r\nTransfer-Encoding: chunked\r\n\r\n", "body where the message can have none"},
		{"9110/15.2.2 101 without Upgrade", "HTTP/1.1 101 Go\r\nConnection: upgrade\r\n\r\n", "101 without Upgrade"},
		{"9110/7.8 101 without the option", "HTTP/1.1 101 Go\r\nUpgrade: a\r\n\r\n", "101 without Upgrade"},
		{"9110/7.8 101 in HTTP/1.0", "HTTP/1.0 101 Go\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n", "101 without Upgrade"},
		{"9112/5 too long", field("A: " + strings.Repeat("a", maxHeadBytes)), "message head too large"},
		{"9112/5 too many", field(strings.Repeat("A: b\r\n", maxHeaders+1)), "too many header fields"},
	}
}

// ChunkedBodies are chunked bodies whose end, or meaning, parsers differ over.
func ChunkedBodies() []Bad {
	return []Bad{
		{"9112/7.1 no size", "\r\n\r\n", "invalid chunk size"},
		{"9112/7.1 extension without size", ";a\r\n\r\n", "invalid chunk size"},
		{"9112/7.1 no hexadecimal", "g\r\n", "invalid chunk size"},
		{"9112/7.1 plus", "+1\r\na\r\n", "invalid chunk size"},
		{"9112/7.1 minus", "-1\r\na\r\n", "invalid chunk size"},
		{"9112/7.1 0x", "0x1\r\na\r\n", "invalid chunk size"},
		{"9112/7.1 underscore", "1_0\r\na\r\n", "invalid chunk size"},
		{"9112/7.1 SP before", " 1\r\na\r\n", "invalid chunk size"},
		{"9112/7.1 SP behind", "1 \r\na\r\n", "invalid chunk size"},
		{"9112/7.1 HTAB behind", "1\t\r\na\r\n", "invalid chunk size"},
		{"9112/7.1 SP before extension", "1 ;a\r\na\r\n", "invalid chunk size"},
		{"9112/7.1 2^63", "8000000000000000\r\n", "invalid chunk size"},
		{"9112/7.1 2^64", "10000000000000000\r\n", "invalid chunk size"},
		{"9112/7.1 2^64+1", "10000000000000001\r\n", "invalid chunk size"},
		{"9112/7.1 many zeros", strings.Repeat("0", 17) + "\r\n\r\n", "invalid chunk size"},
		{"9112/2.2 LF behind size", "1\na\r\n", "LF without CR"},
		{"9112/2.2 CR behind size", "1\ra\r\n", "CR without LF"},
		{"9112/7.1 no CRLF behind data", "1\r\nab\r\n", "chunk data not ended by CRLF"},
		{"9112/7.1 LF behind data", "1\r\na\n0\r\n\r\n", "chunk data not ended by CRLF"},
		{"9112/7.1 CR behind data", "1\r\na\r0\r\n\r\n", "chunk data not ended by CRLF"},
		{"9112/7.1.1 no name", "1;\r\na\r\n", "invalid chunk extension"},
		{"9112/7.1.1 no name before value", "1;=a\r\na\r\n", "invalid chunk extension"},
		{"9112/7.1.1 no value", "1;a=\r\na\r\n", "invalid chunk extension"},
		{"9112/7.1.1 SP", "1; a\r\na\r\n", "invalid chunk extension"},
		{"9112/7.1.1 SP in value", "1;a=b c\r\na\r\n", "invalid chunk extension"},
		{"9112/7.1.1 LF in name", "1;a\n0\r\n\r\n", "LF without CR"},
		{"9112/7.1.1 LF in value", "1;a=b\n0\r\n\r\n", "LF without CR"},
		{"9112/7.1.1 CR in extension", "1;a\rb\r\n", "CR without LF"},
		{"9112/7.1.1 CRLF in quotes", "1;a=\"\r\n\"\r\na\r\n", "invalid chunk extension"},
		{"9112/7.1.1 behind quotes", "1;a=\"b\"c\r\na\r\n", "invalid chunk extension"},
		{"9112/7.1.1 control escaped", "1;a=\"\\\x01\"\r\na\r\n", "invalid chunk extension"},
		{"9112/7.1.1 NUL", "1;a\x00\r\na\r\n", "invalid chunk extension"},
		{"9112/7.1.1 too long", "1;" + strings.Repeat("a", maxChunkExtBytes) + "\r\na\r\n", "chunk extensions too long"},
		{"9112/7.1.2 LF ends trailers", "0\r\nA: b\r\n\n", "LF without CR"},
		{"9112/7.1.2 LF ends body", "0\r\n\n", "LF without CR"},
		{"9112/7.1.2 CR ends body", "0\r\n\rX\n", "CR without LF"},
		{"9112/7.1.2 folded trailer", "0\r\nA: b\r\n c\r\n\r\n", "folded header line"},
		{"9112/7.1.2 SP before colon", "0\r\nA : b\r\n\r\n", "white space before the colon of a header"},
		{"9112/7.1.2 no colon", "0\r\nA\r\n\r\n", "invalid header name"},
		{"9112/7.1.2 a request for trailers", "0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "white space before the colon of a header"},
		{"9110/5.5 NUL in trailer", "0\r\nA: \x00\r\n\r\n", "invalid header value"},
		{"9110/6.5.1 Transfer-Encoding", "0\r\nTransfer-Encoding: chunked\r\n\r\n", "field not allowed in trailers"},
		{"9110/6.5.1 Content-Length", "0\r\ncontent-length: 1\r\n\r\n", "field not allowed in trailers"},
		{"9110/6.5.1 Host", "0\r\nHost: a\r\n\r\n", "field not allowed in trailers"},
		{"9110/6.5.1 Connection", "0\r\nConnection: close\r\n\r\n", "field not allowed in trailers"},
		{"9110/6.5.1 Trailer", "0\r\nTrailer: a\r\n\r\n", "field not allowed in trailers"},
		{"9110/6.5.1 TE", "0\r\nTE: trailers\r\n\r\n", "field not allowed in trailers"},
		{"9110/6.5.1 Upgrade", "0\r\nUpgrade: a\r\n\r\n", "field not allowed in trailers"},
		{"9110/6.5.1 Expect", "0\r\nExpect: 100-continue\r\n\r\n", "field not allowed in trailers"},
		{"9110/6.5.1 Content-Encoding", "0\r\nContent-Encoding: gzip\r\n\r\n", "field not allowed in trailers"},
		{"9110/6.5.1 Authorization", "0\r\nAuthorization: a\r\n\r\n", "field not allowed in trailers"},
		{"9112/7.1.2 too large", "0\r\nA: " + strings.Repeat("a", maxTrailerBytes) + "\r\n\r\n", "trailer section too large"},
		{"9112/7.1.2 too large without a line end", "0\r\n" + strings.Repeat("a", maxTrailerBytes+1), "trailer section too large"},
		{"9112/7.1.2 too many", "0\r\n" + strings.Repeat("A: b\r\n", maxHeaders+1) + "\r\n", "too many header fields"},
	}
}
