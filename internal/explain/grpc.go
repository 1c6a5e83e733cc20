package explain

import (
	"bytes"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// speakGRPC gives an answer of the proxy's own the grpc-status that a caller of
// gRPC gets for it.
func (e *explainer) speakGRPC() {
	o := &e.answer.Outcome
	if o.GRPCStatus != nil || o.Status == 0 || o.Kind == Direct && o.Status/100 == 3 { // which goes as it is
		return
	}
	switch o.Kind {
	case Direct, Aborted, Refused:
	default:
		return
	}
	ct, _ := http1.Find(e.request.Headers, "content-type")
	if !bytes.HasPrefix(ct, []byte("application/grpc")) || bytes.HasPrefix(ct, []byte("application/grpc-web")) {
		return
	}
	status := grpcOf(o.Status)
	o.GRPCStatus = &status
}

// grpcOf is what a client of gRPC takes a status of HTTP for (gRPC,
// http-grpc-status-mapping).
func grpcOf(status int) int {
	switch status {
	case 200:
		return 0
	case 400:
		return 13
	case 401:
		return 16
	case 403:
		return 7
	case 404:
		return 12
	case 429, 502, 503, 504:
		return 14
	default:
		return 2
	}
}
