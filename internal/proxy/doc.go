// Package proxy is the data plane: it carries requests from a workload's
// callers to the workload (inbound) and from the workload to others
// (outbound).
//
// The path of one request stands in request.go, from top to bottom. A Server
// serves one listener, one goroutine per downstream connection; that goroutine
// reads a head, finds route, endpoint and connection, sends the request,
// and sends the answer back, all on raw connections and without allocating.
// Only what takes long gets help: an uploader for a body that did not come
// with its head, a watcher for a caller that may go away.
package proxy
