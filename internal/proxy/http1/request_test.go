package http1

import "testing"

// A request of each target form is read as RFC 9112 section 3.2 has it.
func TestRequestForms(t *testing.T) {
	for _, c := range []struct{ head, method, host, path string }{
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "a", "/"},
		{"\r\nGET /x?y=%zz|{} HTTP/1.1\r\nHost:a:8080\r\n\r\n", "GET", "a:8080", "/x?y=%zz|{}"},
		{"GET http://A.b/c HTTP/1.1\r\nHost: a.b:80 \r\n\r\n", "GET", "A.b", "/c"},
		{"GET hTTp://a HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "a", "/"},
		{"GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "a", "/?q"},
		{"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS", "a", "*"},
		{"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS", "a", "*"},
		{"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "CONNECT", "a:443", ""},
		{"CONNECT a:443 HTTP/1.1\r\nHost: A\r\n\r\n", "CONNECT", "a:443", ""},
		{"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET", "[::1]:80", "/"},
		{"GET / HTTP/1.0\r\n\r\n", "GET", "", "/"},
	} {
		var r Request
		n, err := r.Parse([]byte(c.head), nil)
		if err != nil || n != len(c.head) {
			t.Errorf("%q: n=%d err=%v", c.head, n, err)
			continue
		}
		if string(r.Method) != c.method || string(r.Host) != c.host || string(r.Path) != c.path {
			t.Errorf("%q: method %q host %q path %q", c.head, r.Method, r.Host, r.Path)
		}
	}
}
