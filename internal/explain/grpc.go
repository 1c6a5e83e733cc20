package explain

import (
	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/telemetry"
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
	if !http1.GRPC(e.request.Headers) {
		return
	}
	status := telemetry.GRPCOf(o.Status)
	o.GRPCStatus = &status
}
