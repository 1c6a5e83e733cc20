package http1

import (
	"net/http"
	"slices"
	"testing"
)

// What the checks for messages of other versions accept, Parse accepts too, and
// the other way round.
func FuzzValid(f *testing.F) {
	for _, s := range []string{"a", "/a?b", "/%41", "/%4", "/%", "/?%", "/a b", "a:80", "[::1]:1", "u@a", " a", "a\r\nb", "/a#b", "/\\", "", "/?", "\tx", "x ", "/a?b?c%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var r Request
		parses := func(head string) bool {
			n, err := r.Parse([]byte(head), nil)
			return err == nil && n == len(head)
		}
		if len(s) > 1000 {
			return
		}
		b := []byte(s)
		if got, want := ValidToken(b), parses(s+" / HTTP/1.1\r\nHost: a\r\n\r\n") && string(r.Method) == s && s != "CONNECT"; got != want && s != "CONNECT" {
			t.Errorf("method %q: %v, Parse %v", s, got, want)
		}
		if got, want := ValidPath(b), parses("GET "+s+" HTTP/1.1\r\nHost: a\r\n\r\n") && string(r.Path) == s; got != want {
			t.Errorf("path %q: %v, Parse %v", s, got, want)
		}
		if got, want := ValidAuthority(b), parses("GET / HTTP/1.1\r\nHost: "+s+"\r\n\r\n") && string(r.Host) == s; got != want {
			t.Errorf("authority %q: %v, Parse %v", s, got, want)
		}
		if got, want := ValidValue(b), parses("GET / HTTP/1.1\r\nHost: a\r\nx: "+s+"\r\n\r\n") && string(r.Headers[1].Value) == s; got != want {
			t.Errorf("value %q: %v, Parse %v", s, got, want)
		}
	})
}

func TestEndToEnd(t *testing.T) {
	var r Request
	parse(t, &r, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Mine, Cookie\r\nX-Mine: 1\r\nCookie: a=b\r\nKeep-Alive: 5\r\n"+
		"TE: trailers\r\nTransfer-Encoding: chunked\r\nUpgrade: x\r\nHTTP2-Settings: x\r\nProxy-Connection: x\r\nExpect: 100-continue\r\nX: y\r\n\r\n")
	var got []string
	for i := range r.Headers {
		if r.EndToEnd(&r.Headers[i]) {
			got = append(got, string(r.Headers[i].Name))
		}
	}
	if want := []string{"Cookie", "Expect", "X"}; !slices.Equal(got, want) {
		t.Errorf("a request's fields %q, want %q", got, want)
	}
	if !r.TETrailers {
		t.Error("TE: trailers was not seen")
	}
	made := Request{Minor: 1, Headers: []Header{{Name: []byte("keep-alive")}, {Name: []byte("te")}, {Name: []byte("x")}}}
	for i, want := range []bool{false, false, true} {
		if got := made.EndToEnd(&made.Headers[i]); got != want {
			t.Errorf("made by hand, %s: %v, want %v", made.Headers[i].Name, got, want)
		}
	}
	for status, want := range map[int]bool{103: false, 200: true, 204: false, 304: true} {
		resp := Response{Status: status, Headers: []Header{{Name: []byte("Content-Length"), Value: []byte("0")}}}
		if got := resp.EndToEnd(&resp.Headers[0]); got != want {
			t.Errorf("content-length of %d: %v, want %v", status, got, want)
		}
	}
}

func parse(t *testing.T, r *Request, head string) {
	t.Helper()
	if n, err := r.Parse([]byte(head), nil); err != nil || n != len(head) {
		t.Fatal(n, err)
	}
}

func TestValidTrailer(t *testing.T) {
	for name, want := range map[string]bool{"grpc-status": true, "X": true, "Content-Length": false, "content-md5": false, "Host": false, "set-cookie": false} {
		if got := ValidTrailer([]byte(name)); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestStatusText(t *testing.T) {
	for status := 100; status < 600; status++ {
		want := http.StatusText(status)
		switch got := StatusText(status); {
		case got == "":
			t.Errorf("%d has no text", status)
		case status == 413 || status == 414 || status == 416 || status == 422:
			// RFC 9110 renamed them.
		case want != "" && phrases[status-100] != "" && got != want:
			t.Errorf("%d: %q, want %q", status, got, want)
		}
	}
	if StatusText(99) != "Unknown" || StatusText(999) != "Unknown" || StatusText(599) != "Server Error" {
		t.Error("statuses without a class")
	}
}
