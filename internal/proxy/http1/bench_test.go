package http1

import "testing"

const (
	wrkRequest = "GET /hello HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n"

	appRequest = "GET /api/v1/items/42?fields=name,price HTTP/1.1\r\n" +
		"Host: catalog.shop.svc.cluster.local:8080\r\n" +
		"User-Agent: Go-http-client/1.1\r\n" +
		"Accept: application/json\r\n" +
		"Accept-Encoding: gzip\r\n" +
		"Authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.ZRrHA1JJJW8opsbCGfG_HACGpVUMN_a9IV7pAx_Zmeo\r\n" +
		"X-Request-Id: 6f2c1f0e-3c5f-4f0e-8b1e-2d7a1c9e7b11\r\n" +
		"Connection: keep-alive\r\n\r\n"

	okResponse = "HTTP/1.1 200 OK\r\n" +
		"Server: app\r\n" +
		"Date: Sat, 21 Nov 2026 21:59:00 GMT\r\n" +
		"Content-Type: text/plain\r\n" +
		"Content-Length: 12\r\n" +
		"Connection: keep-alive\r\n\r\n"
)

func BenchmarkRequestParse(b *testing.B) {
	for _, c := range []struct{ name, head string }{{"wrk", wrkRequest}, {"app", appRequest}} {
		b.Run(c.name, func(b *testing.B) {
			buf := []byte(c.head)
			var r Request
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				if n, err := r.Parse(buf, nil); err != nil || n != len(buf) {
					b.Fatal(n, err)
				}
			}
		})
	}
}

func BenchmarkRequestForward(b *testing.B) {
	for _, c := range []struct{ name, head string }{{"wrk", wrkRequest}, {"app", appRequest}} {
		b.Run(c.name, func(b *testing.B) {
			buf := []byte(c.head)
			var r Request
			if _, err := r.Parse(buf, nil); err != nil {
				b.Fatal(err)
			}
			dst := make([]byte, 0, 4096)
			opts := ForwardOptions{Extra: []Header{{Name: []byte("x-request-id"), Value: []byte("6f2c1f0e-3c5f-4f0e-8b1e-2d7a1c9e7b11")}}}
			b.ReportAllocs()
			for b.Loop() {
				dst = r.AppendForward(dst[:0], opts)
			}
		})
	}
}

func BenchmarkResponseParse(b *testing.B) {
	buf := []byte(okResponse)
	var r Response
	b.ReportAllocs()
	for b.Loop() {
		if n, err := r.Parse(buf, false, false, nil); err != nil || n != len(buf) {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkResponseForward(b *testing.B) {
	buf := []byte(okResponse)
	var r Response
	if _, err := r.Parse(buf, false, false, nil); err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		dst = r.AppendForward(dst[:0], ForwardOptions{})
	}
}

func BenchmarkChunkScan(b *testing.B) {
	body := []byte("400\r\n" + string(make([]byte, 1024)) + "\r\n3;a=b\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
	var c ChunkReader
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		c.Reset(nil)
		if n, done, err := c.Scan(body); n != len(body) || !done || err != nil {
			b.Fatal(n, done, err)
		}
	}
}
