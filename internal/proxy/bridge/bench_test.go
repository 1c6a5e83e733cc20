package bridge

import (
	"testing"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

const appRequest2 = ":method: GET\n:scheme: http\n:authority: catalog.shop.svc.cluster.local:8080\n:path: /api/v1/items/42?fields=name,price\n" +
	"user-agent: h2load nghttp2/1.52.0\naccept: application/json\naccept-encoding: gzip\n" +
	"authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.ZRrHA1JJJW8opsbCGfG_HACGpVUMN_a9IV7pAx_Zmeo\n" +
	"x-request-id: 6f2c1f0e-3c5f-4f0e-8b1e-2d7a1c9e7b11\n"

func BenchmarkRequestTo1(b *testing.B) {
	h := head2(appRequest2)
	var r http1.Request
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if err := RequestView(&r, h, true); err != nil {
			b.Fatal(err)
		}
		dst = AppendRequest1(dst[:0], &r, nil)
	}
}

func BenchmarkRequestTo2(b *testing.B) {
	var r http1.Request
	if _, err := r.Parse([]byte("GET /api/v1/items/42 HTTP/1.1\r\nHost: catalog.shop:8080\r\nUser-Agent: x\r\nAccept: application/json\r\n"+
		"Accept-Encoding: gzip\r\nAuthorization: Bearer x\r\nX-Request-Id: 6f2c1f0e-3c5f-4f0e-8b1e-2d7a1c9e7b11\r\nConnection: keep-alive\r\n\r\n"), nil); err != nil {
		b.Fatal(err)
	}
	var arena []byte
	var dst []http1.Header
	b.ReportAllocs()
	for b.Loop() {
		arena = arena[:0]
		dst = AppendRequest2(dst[:0], &arena, &r, "http", nil)
	}
}

func BenchmarkResponseTo1(b *testing.B) {
	h := head2(":status: 200\nserver: app\ndate: Sat, 21 Nov 2026 21:59:00 GMT\ncontent-type: text/plain\ncontent-length: 12\n")
	var req http1.Request
	var r http1.Response
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		ResponseView(&r, h, false, &req)
		dst = AppendResponse1(dst[:0], &r, &req, http1.ForwardOptions{})
	}
}

func BenchmarkResponseTo2(b *testing.B) {
	var r http1.Response
	if _, err := r.Parse([]byte("HTTP/1.1 200 OK\r\nServer: app\r\nDate: Sat, 21 Nov 2026 21:59:00 GMT\r\nContent-Type: text/plain\r\n"+
		"Content-Length: 12\r\nConnection: keep-alive\r\n\r\n"), false, false, nil); err != nil {
		b.Fatal(err)
	}
	var req http1.Request
	var arena []byte
	var dst []http1.Header
	b.ReportAllocs()
	for b.Loop() {
		arena = arena[:0]
		dst = AppendResponse2(dst[:0], &arena, &r, &req)
	}
}
